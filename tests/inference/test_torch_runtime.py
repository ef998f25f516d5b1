import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch  # noqa: TID253
from safetensors.torch import save_file

from medseg import ResourceError, Resources, UsageError
from medseg.builtin.network.unet import Unet
from medseg.inference.torch_runtime import torch_device, torch_runtime


def test_auto_is_a_gpu_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert torch_device(Resources(device="auto")).type == expected
    assert torch_device(Resources(device="cpu")).type == "cpu"


def test_a_device_that_is_none_or_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="'gpu' is none of auto, cpu"):
        torch_device(Resources(device="gpu"))
    with pytest.raises(ResourceError, match="--device cpu") as refusal:
        torch_device(Resources(device="cuda:93"))
    assert "\n" not in str(refusal.value)


def test_the_seed_decides_what_is_drawn_and_nothing_stays_behind() -> None:
    def drawn(seed: int) -> list[float]:
        with torch_runtime(Resources(seed=seed)):
            return torch.rand(3).tolist()

    before = torch.random.get_rng_state()
    assert drawn(1) == drawn(1) != drawn(2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_has_no_deterministic_form_is_refused_if_asked() -> None:
    def not_deterministic() -> None:
        torch.zeros(4).put_(torch.tensor([1]), torch.tensor([1.0]))

    with torch_runtime(Resources()):
        not_deterministic()
    refused = pytest.raises(UsageError, match="leave --deterministic out")
    with refused as refusal, torch_runtime(Resources(deterministic=True)):
        not_deterministic()
    assert "\n" not in str(refusal.value)
    assert not torch.are_deterministic_algorithms_enabled()


def test_memory_that_is_not_there_is_a_memory_error() -> None:
    with pytest.raises(MemoryError), torch_runtime(Resources()):
        torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match="size"), torch_runtime(Resources()):
        torch.zeros(2) + torch.zeros(3)


def test_gradients_are_off_and_threads_as_told() -> None:
    before = torch.get_num_threads()
    with torch_runtime(Resources(threads=1)) as device:
        assert device.type == "cpu"
        assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
PIPELINE = """\
labels: {{1: {{name: liver}}}}
segment:
  network:
    architecture: {{unet: {{channels: [4, 8]}}}}
    head: softmax
    weights: [{{path: w.safetensors, sha256: {digest}}}]
    window: {{patch: [8, 8, 8]}}
"""
RUN = """\
import os, sys
import numpy as np
import medseg
image = medseg.Volume(np.zeros((1, 8, 8, 8), np.float32), medseg.Grid((8, 8, 8), np.eye(4)))
medseg.segment(image, model=sys.argv[1], resources=medseg.Resources(device="cpu", threads=1))
assert "torch._dynamo" in sys.modules  # what makes the folder
assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
"""


def test_a_run_leaves_nothing_among_temporary_files(tmp_path: Path) -> None:
    weights, temporary = tmp_path / "w.safetensors", tmp_path / "temporary"
    temporary.mkdir()
    save_file(Unet(channels=(4, 8)).build(dims=3, inputs=1, outputs=2).state_dict(), weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(digest=digest))
    places = {
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }  # none kept: it is exported
    subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "pipeline.yaml")],
        check=True,
        timeout=300,
        env={name: value for name, value in os.environ.items() if name != VARIABLE} | places,
    )
    assert list(temporary.iterdir()) == []


def test_only_an_empty_folder_that_pytorch_made_just_now_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = tmp_path / "torchinductor_somebody"

    def left(*, inside: str = "") -> bool:
        with torch_runtime(Resources()):
            folder.mkdir(exist_ok=True)  # as PyTorch does
            monkeypatch.setenv(VARIABLE, str(folder))
            if inside:
                (folder / inside).touch()
        assert VARIABLE not in os.environ
        return folder.exists()

    assert not left()
    assert left(inside="kernel")
    (folder / "kernel").unlink()
    assert left()  # it was there before
    monkeypatch.setenv(VARIABLE, str(folder))
    with torch_runtime(Resources()):
        pass
    assert folder.exists()
    assert os.environ[VARIABLE] == str(folder)
