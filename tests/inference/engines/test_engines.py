"""Every engine against PyTorch in single precision, on random weights."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253

from medseg import ModelError, PipelineError, PluginError, ResourceError, Resources, UsageError
from medseg.builtin.network.attention_unet import AttentionUnet
from medseg.builtin.network.dynunet import DynUnet
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.zoomed import Zoomed
from medseg.inference.engines import Engine, Recipe, automatic_engine, open_engine
from medseg.inference.engines.cache import GraphCache, user_cache
from medseg.inference.engines.export import (
    NotExportable,
    Shape,
    exported,
    graph_key,
    own_logits,
    require_same,
)
from medseg.inference.engines.installed import missing
from medseg.inference.processors import processors_compute
from medseg.memory import peak_bytes, reset_peak, resident_bytes
from medseg.steps import Network

SHA = "c" * 64
RECIPE = Recipe("medseg.builtin.network.unet", "Unet(channels=(4, 8))", 3)
NETWORKS = {
    "unet": (Unet(channels=(4, 8, 16), residual_units=1), 3, 1),
    "unet, 2-D": (Unet(channels=(4, 8, 16)), 2, 3),
    "attention-unet": (AttentionUnet(channels=(4, 8)), 3, 2),
    "attention-unet, 2-D": (AttentionUnet(channels=(4, 8)), 2, 1),
    "dynunet": (DynUnet(channels=(4, 8, 16)), 3, 1),
    "dynunet, residual, 2-D": (DynUnet(channels=(4, 8, 16), residual=True), 2, 2),
}
SIDE = 16
graphs = pytest.mark.skipif(
    missing("openvino", "onnxruntime", "onnx", "onnxscript") is not None, reason="needs medseg[engines]"
)


def built(network: Network, dims: int, channels: int, *, seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network.build(dims=2 if dims == 2 else 3, inputs=channels, outputs=3).eval()


def opened(
    member: torch.nn.Module,
    engine: str,
    *,
    dims: int,
    channels: int,
    precision: str = "fp32",
    batch: int = 3,
    sha256: str = SHA,
    device: str = "cpu",
    limit: int | None = None,
) -> Engine:
    return open_engine(
        member,
        recipe=RECIPE,
        sha256=sha256,
        batch=batch,
        channels=channels,
        patch=(SIDE,) * dims,
        resources=Resources(engine=engine, device=device, threads=1, max_memory_bytes=limit),
        precision=precision,
    )


def windows(dims: int, channels: int, count: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (count, channels, *(SIDE,) * dims)
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


@graphs
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_pytorch(name: str) -> None:
    network, dims, channels = NETWORKS[name]
    member, images = built(network, dims, channels), windows(dims, channels)
    with torch.inference_mode():
        wanted = member(torch.from_numpy(images)).numpy()
        wrong = built(network, dims, channels, seed=1)(torch.from_numpy(images)).numpy()
    for engine in ("torch", "openvino", "onnx"):
        ready = opened(member, engine, dims=dims, channels=channels)
        assert (ready.name, ready.device, ready.precision, ready.notes) == (engine, "cpu", "fp32", ())
        logits = ready(images)
        assert logits.dtype == np.float32
        assert np.abs(logits - wanted).max() <= 1e-3  # measured: 7e-5 at most
        assert np.abs(logits - wrong).max() > 0.1  # other weights differ: the check can fail
        assert ready.pass_bytes == 0, "without a limit nobody asks"
    off = {}
    for engine in ("torch", "openvino") if processors_compute("bf16") else ("torch",):
        ready = opened(member, engine, dims=dims, channels=channels, precision="bf16")
        assert ready.precision == "bf16"
        off[engine] = np.sqrt(np.mean((ready(images) - wanted) ** 2) / np.mean(wanted**2))
    assert all(0 < each < 0.05 for each in off.values()), off  # it is bf16, and no more off than bf16 is


@graphs
@pytest.mark.parametrize("engine", ["openvino", "onnx", "torch"])
def test_fewer_windows_than_the_batch_and_results_that_stay(engine: str) -> None:
    network, dims, channels = NETWORKS["unet, 2-D"]
    ready = opened(built(network, dims, channels), engine, dims=dims, channels=channels)
    images = windows(dims, channels)
    all_three = ready(images)
    kept = all_three.copy()
    alone = ready(images[1:2])
    assert alone.shape == (1, 3, SIDE, SIDE)
    np.testing.assert_allclose(alone[0], all_three[1], atol=1e-5)
    np.testing.assert_array_equal(all_three, kept)  # a later call does not write into an earlier result
    np.testing.assert_array_equal(ready(images), kept)
    strided = np.asfortranarray(images)
    np.testing.assert_array_equal(ready(strided), kept)


def test_pytorch_needs_no_settings_of_the_thread_it_is_called_from() -> None:
    network, dims, channels = NETWORKS["unet, 2-D"]
    ready = opened(built(network, dims, channels), "torch", dims=dims, channels=channels)
    images, found = windows(dims, channels), []
    thread = threading.Thread(target=lambda: found.append(ready(images)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], ready(images))


@graphs
def test_auto_is_openvino_on_the_cpu() -> None:
    network, dims, channels = NETWORKS["unet, 2-D"]
    ready = opened(built(network, dims, channels), "auto", dims=dims, channels=channels)
    assert (ready.name, ready.notes) == ("openvino", ())
    assert automatic_engine(Resources(device="cpu")) == ("openvino", "cpu")
    assert automatic_engine(Resources(device="cpu", engine="torch")) == ("torch", "cpu")


class LooksAtValues(torch.nn.Module):
    """Takes one of two paths, by what it sees: no graph can."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 3, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        given: torch.Tensor = self.layer(images)
        return given if bool(images.sum() > 0) else -given


@graphs
def test_what_cannot_be_exported_runs_in_pytorch_or_is_refused_by_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    member = LooksAtValues().eval()
    ready = opened(member, "auto", dims=2, channels=1)
    (note, *_) = ready.notes
    assert ready.name == "torch"
    assert note.startswith("torch instead of openvino: it cannot be exported: ")
    assert ready(windows(2, 1)).shape == (3, 3, SIDE, SIDE)
    for engine in ("openvino", "onnx"):
        with pytest.raises(ModelError, match=f"engine {engine} cannot take this network") as refusal:
            opened(member, engine, dims=2, channels=1)
        assert "\n" not in str(refusal.value)
        assert "--engine torch" in str(refusal.value)
    assert capfd.readouterr() == ("", "")


@graphs
def test_export_is_silent_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    member = built(*NETWORKS["dynunet"][:2], 1)
    before = {key: value.clone() for key, value in member.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(member, "openvino", dims=3, channels=1)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    (graph,) = (tmp_path / "cache" / "medseg" / "engines").iterdir()
    assert graph.suffix == ".onnx"
    assert all(torch.equal(value, before[key]) for key, value in member.state_dict().items())


@graphs
def test_a_kept_graph_is_used_and_a_damaged_one_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    member, images = built(*NETWORKS["unet, 2-D"]), windows(2, 3)
    logits = opened(member, "openvino", dims=2, channels=3)(images)
    other = built(*NETWORKS["unet, 2-D"], seed=1)
    # under the checksum of the first the second's weights are not looked at: the graph was kept
    np.testing.assert_array_equal(opened(other, "openvino", dims=2, channels=3)(images), logits)
    assert np.abs(opened(other, "openvino", dims=2, channels=3, sha256="d" * 64)(images) - logits).max() > 0.1
    for path in (tmp_path / "medseg" / "engines").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    np.testing.assert_array_equal(opened(member, "openvino", dims=2, channels=3)(images), logits)


@graphs
def test_the_key_of_a_graph_has_all_that_decides_it() -> None:
    member = built(*NETWORKS["unet, 2-D"])
    shape = Shape(1, 3, (16, 16))
    keys = [
        graph_key(member, RECIPE, SHA, shape, engine="openvino"),
        graph_key(member, RECIPE, "d" * 64, shape, engine="openvino"),
        graph_key(member, RECIPE, SHA, Shape(2, 3, (16, 16)), engine="openvino"),
        graph_key(member, RECIPE, SHA, Shape(1, 3, (32, 16)), engine="openvino"),
        graph_key(member, RECIPE, SHA, shape, engine="onnx"),
        graph_key(member, replace(RECIPE, component="Unet(channels=(4, 9))"), SHA, shape, engine="openvino"),
        graph_key(member, replace(RECIPE, outputs=4), SHA, shape, engine="openvino"),
        graph_key(
            member, replace(RECIPE, module="medseg.builtin.network.dynunet"), SHA, shape, engine="openvino"
        ),
        graph_key(built(Unet(channels=(4, 8, 8)), 2, 3), RECIPE, SHA, shape, engine="openvino"),
        graph_key(Zoomed(member, [1.5], [2, 2]), RECIPE, SHA, shape, engine="openvino"),
        graph_key(Zoomed(member, [2.0], [2, 2]), RECIPE, SHA, shape, engine="openvino"),
    ]
    assert len(set(keys)) == len(keys)
    assert graph_key(built(*NETWORKS["unet, 2-D"], seed=5), RECIPE, SHA, shape, engine="openvino") == keys[0]


@graphs
def test_a_graph_that_is_not_the_network_is_not_taken() -> None:
    member = built(*NETWORKS["unet, 2-D"])
    ready = opened(member, "openvino", dims=2, channels=3)
    shape = Shape(3, 3, (SIDE, SIDE))
    require_same(ready, own_logits(member, shape), shape)
    other = own_logits(built(*NETWORKS["unet, 2-D"], seed=1), shape)
    with pytest.raises(NotExportable, match="gives other logits"):
        require_same(ready, other, shape)


@graphs
def test_a_graph_that_cannot_be_made_within_the_limit_gives_way_to_pytorch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The limit holds while that is found out, and what is told is enough to make the graph."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    member = built(*NETWORKS["unet"])
    found = {"torch": opened(member, "torch", dims=3, channels=1, limit=1 << 40)}  # loads what all need
    for name in ("auto", "openvino", "onnx"):
        limit = resident_bytes() + (32 << 20)
        reset_peak()
        found[name] = opened(member, name, dims=3, channels=1, limit=limit)
        assert peak_bytes() <= limit
        assert found[name].name == "torch"
        assert "making its graph takes" in " ".join(found[name].notes)
    missed = found["auto"].missed, found["openvino"].missed, found["onnx"].missed
    assert [each and (each.engine, each.by_name) for each in missed] == [
        ("openvino", False),
        ("openvino", True),
        ("onnx", True),
    ]
    for name, each in zip(("openvino", "onnx"), missed[1:], strict=True):
        assert each is not None
        reset_peak()
        limit = each.total_bytes + (32 << 20)  # this process has loaded more meanwhile
        ready = opened(member, name, dims=3, channels=1, limit=limit)
        assert (ready.name, ready.missed) == (name, None)
        assert peak_bytes() <= limit


@pytest.mark.parametrize(
    ("engine", "precision", "device", "said"),
    [
        ("tensorrt", "fp32", "cpu", "'tensorrt' is none of auto, torch, openvino, onnx"),
        ("torch", "fp16", "cpu", "fp16 is for GPUs"),
        ("auto", "fp16", "cpu", "fp16 is for GPUs"),
        ("openvino", "fp16", "cpu", "fp16 is for GPUs"),
        ("torch", "fp8", "cpu", "'fp8' is none of fp32, bf16, fp16"),
        ("torch", "auto", "cpu", "'auto' is none of"),
    ],
)
def test_what_is_not_to_be_had_is_refused_in_one_line(
    engine: str, precision: str, device: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        opened(built(*NETWORKS["unet, 2-D"]), engine, dims=2, channels=3, precision=precision, device=device)
    assert "\n" not in str(refusal.value)


@graphs
def test_onnx_runtime_has_single_precision_only() -> None:
    with pytest.raises(UsageError, match="fp32 only, not in bf16; use openvino or torch"):
        opened(built(*NETWORKS["unet, 2-D"]), "onnx", dims=2, channels=3, precision="bf16")


def test_a_patch_that_the_network_cannot_take_is_the_pipelines_fault() -> None:
    member = built(Unet(channels=(4, 8, 8, 8, 8)), 2, 1)
    with pytest.raises(PipelineError, match=r"cannot take \[") as refusal:
        opened(member, "torch", dims=2, channels=1)(windows(2, 1))
    assert "\n" not in str(refusal.value)


class Odd(torch.nn.Module):
    """Gives what is no batch of logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., :1]


def test_a_network_that_gives_no_logits_is_blamed() -> None:
    ready = opened(Odd(), "torch", dims=2, channels=1)
    with pytest.raises(PluginError, match=r"gave \[3, 1, 16, 1\], not logits of \[3, K, 16, 16\]"):
        ready(windows(2, 1))


def test_a_library_that_is_not_there_is_named_with_what_to_do() -> None:
    # in a process of its own, where it cannot be found
    code = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in sys.argv[1:] else found(name, *rest)
import torch
from medseg import Resources, UsageError
from medseg.inference.engines import Recipe, open_engine
for engine in ("openvino", "onnx", "auto"):
    try:
        ready = open_engine(torch.nn.Conv2d(1, 1, 1), recipe=Recipe("", "", 1), sha256="0",
                            batch=1, channels=1, patch=(8, 8),
                            resources=Resources(engine=engine, device="cpu"), precision="fp32")
        print(ready.name, *ready.notes)
    except UsageError as problem:
        print(problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "openvino", "onnxruntime"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == [
        "engine openvino needs openvino, which is not installed: pip install 'medseg[engines]'",
        "engine onnx needs onnxruntime, which is not installed: pip install 'medseg[engines]'",
        "torch torch, since openvino is not installed: pip install 'medseg[engines]'",
    ]


SIGNALLED = """
import gc, signal, time
import torch
from medseg import Resources
from medseg.inference.engines import Recipe, open_engine
def opened():
    return open_engine(torch.nn.Conv2d(1, 1, 1), recipe=Recipe("", "", 1), sha256="0", batch=1, channels=1,
                       patch=(8, 8), resources=Resources(engine="openvino", device="cpu"), precision="fp32")
first, second = opened(), opened()
del first
gc.collect()
del second
gc.collect()
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append("a signal"))
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.3)
print(*heard)
"""


@graphs
def test_a_signal_is_heard_after_several_engines_are_gone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout.split("\n")[0]) == (0, "a signal"), done.stderr


WATCHED = """
import sys
seen = []
def hook(event, arguments):
    if event.startswith(("socket.", "urllib", "http.", "subprocess.", "os.fork", "os.posix", "os.system")):
        seen.append(event)
sys.addaudithook(hook)
import torch
from medseg import Resources
from medseg.inference.engines import Recipe, open_engine
for engine in ("openvino", "onnx"):
    ready = open_engine(torch.nn.Conv2d(1, 1, 1), recipe=Recipe("", "", 1), sha256="0",
                        batch=1, channels=1, patch=(8, 8),
                        resources=Resources(engine=engine, device="cpu"), precision="fp32")
if "control" in sys.argv:
    import socket
    socket.socket().close()
print("SEEN", *seen)
print("LOADED", *(name for name in sys.modules if name.startswith("openvino_telemetry")))
import openvino
print("WHOLE", openvino.convert_model.__name__)
"""


@graphs
def test_nothing_is_sent_and_no_identifier_made(tmp_path: Path) -> None:
    def watched(*arguments: str) -> list[str]:
        home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        (tmp_path / "home").mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, **home},
        )
        return done.stdout.splitlines()

    assert watched() == ["SEEN", "LOADED", "WHOLE convert_model"]
    assert list((tmp_path / "home").iterdir()) == []
    assert watched("control")[0].startswith("SEEN socket.")  # the hook hears of it


@graphs
def test_weights_larger_than_a_graph_can_hold_are_refused() -> None:
    with torch.device("meta"):
        huge = torch.nn.Linear(30000, 20000)
    with pytest.raises(NotExportable, match="2 GiB"):
        exported(huge, Shape(1, 1, (4, 4)))


def test_bf16_without_instructions_is_refused_by_openvino_only() -> None:
    if missing("openvino") is None and not processors_compute("bf16"):
        with pytest.raises(ResourceError, match="cannot compute in bf16"):
            opened(built(*NETWORKS["unet, 2-D"]), "openvino", dims=2, channels=3, precision="bf16")
    assert (
        opened(built(*NETWORKS["unet, 2-D"]), "torch", dims=2, channels=3, precision="bf16").name == "torch"
    )


def test_the_users_cache_is_the_tests_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = user_cache()
    assert isinstance(cache, GraphCache)
    assert cache.folder.is_relative_to(tmp_path_factory.getbasetemp())
