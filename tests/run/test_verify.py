"""A lower precision held against fp32 on images, from the command line to the card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253
import numpy as np
import pytest
import torch  # noqa: TID253
from safetensors.torch import load_file, save_file

from medseg import Grid, Label, LabelTable, ModelError, Resources, Segmentation, UsageError, Volume, Wanted
from medseg.builtin.network.unet import Unet
from medseg.cli import run
from medseg.inference.processors import processors_compute
from medseg.model import read_card
from medseg.run.case import Setup
from medseg.run.chosen import prepare
from medseg.run.verify import agreement, verify_precision

CARD = "name: mine\nversion: '1'\nsummary: One line.\nlicence: MIT\nintended_use: Tests.\n"
PIPELINE = """
labels: {{1: {{name: bright}}, 2: {{name: never}}}}
segment:
  network:
    architecture: {{unet: {{channels: [4, 8]}}}}
    head: softmax
    weights: [{{path: w.safetensors, sha256: {sha256}}}]
    window: {{patch: [16, 16, 16]}}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with random weights whose third channel never wins."""
    folder = tmp_path / "mine"
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Unet(channels=(4, 8)).build(dims=3, inputs=1, outputs=3)
    state = dict(network.state_dict())
    last = [name for name, value in state.items() if value.shape == (3,)][-1]
    state[last][2] = -1e4
    save_file(state, folder / "w.safetensors")
    digest = hashlib.sha256((folder / "w.safetensors").read_bytes()).hexdigest()
    (folder / "pipeline.yaml").write_text(PIPELINE.format(sha256=digest))
    (folder / "card.yaml").write_text(CARD)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(24, 20, 18)).astype(np.float32)
    path = tmp_path / "image.nii.gz"
    nifti = nib.Nifti1Image(values, np.eye(4))
    nifti.header.set_xyzt_units("mm")
    nib.save(nifti, path)
    return path


TORCH = Resources(device="cpu", engine="torch", threads=1)


def test_bf16_is_measured_and_differs_from_fp32(model: Path, image: Path) -> None:
    heard: list[Any] = []
    found, evidence = verify_precision(
        model, [image, image], precision="bf16", resources=TORCH, heard=heard.append
    )
    assert found.name == "mine"
    assert (evidence.engine, evidence.cases, set(evidence.labels)) == ("torch", 2, {"bright"})
    assert 0.9 < evidence.dice_lowest <= evidence.dice_mean < 1  # random logits are near ties in places
    assert [each.image for each in heard] == ["image 1", "image 2"]
    assert heard[0].dice["never"] is None


def test_the_command_records_it_and_the_next_run_goes_by_it(
    model: Path, image: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "verify", str(model), str(image), "--engine", "torch", "--device", "cpu"]) == 0
    said = capfd.readouterr().out
    assert "image 1  never                    absent" in said
    assert "bf16 by torch: Dice 0.9" in said
    assert f"recorded in {model / 'card.yaml'}" in said
    (evidence,) = read_card(model / "card.yaml").precision
    text = (model / "card.yaml").read_text()
    for dice, lower in ((0.9995, processors_compute("bf16")), (0.9985, False)):
        changed = text.replace(f"bright: {evidence.labels['bright']}", f"bright: {dice}")
        (model / "card.yaml").write_text(changed)
        assert read_card(model / "card.yaml").precision[0].labels == {"bright": dice}
        assert precision_used(model) == ("bf16" if lower else "fp32")


def precision_used(model: Path) -> str:
    """The precision that a run takes by itself."""
    chosen, pipeline = prepare(model)
    setup = Setup(
        model=chosen,
        pipeline=pipeline,
        resources=Resources(device="cpu", engine="torch", threads=1, precision="auto"),
    )
    grid = Grid((16, 16, 16), np.eye(4))
    volume = Volume(np.zeros((1, 16, 16, 16), np.float32), grid, ("image",))
    with setup.opened() as predictor:
        return str(predictor(volume, onto=grid, wanted=Wanted()).used["precision"])


def test_dice_is_that_of_the_masks_and_none_where_both_are_empty() -> None:
    labels = LabelTable((Label(1, "a"), Label(2, "b"), Label(3, "c")))
    grid = Grid((4, 1, 1), np.eye(4))

    def of(*values: int) -> Segmentation:
        return Segmentation(np.array(values, np.uint8).reshape(1, 4, 1, 1), grid, labels)

    assert agreement(of(1, 1, 2, 0), of(1, 2, 2, 0)) == {"a": 2 / 3, "b": 2 / 3, "c": None}
    assert agreement(of(1, 0, 0, 0), of(0, 0, 0, 0)) == {"a": 0.0, "b": None, "c": None}


def test_what_has_no_precision_or_no_card_is_refused(model: Path, image: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lone pipeline file"):
        verify_precision(model / "pipeline.yaml", [image], precision="bf16", resources=TORCH)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "card.yaml").write_text(CARD)
    (plain / "pipeline.yaml").write_text("labels: {1: {name: ball}}\nsegment: {threshold: {above: 50}}\n")
    with pytest.raises(ModelError, match="has no weights"):
        verify_precision(plain, [image], precision="bf16", resources=TORCH)


def test_images_without_any_label_show_nothing(model: Path, image: Path) -> None:
    path = model / "w.safetensors"
    weights = load_file(path)
    last = [name for name, value in weights.items() if value.shape == (3,)][-1]
    weights[last][0] = 1e4  # the background wins everywhere
    save_file(weights, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (model / "pipeline.yaml").write_text(PIPELINE.format(sha256=digest))
    with pytest.raises(UsageError, match="no label was found"):
        verify_precision(model, [image], precision="bf16", resources=TORCH)
