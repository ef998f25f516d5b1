"""A network named by a pipeline file, from images to masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_network import ONE_THREAD, noise, saved
from strategies import ORIENTATIONS

import medseg
from medseg import Grid, InputError, PipelineError, Resources
from medseg.pipeline import walk
from medseg.run.chosen import prepare


def pipeline(folder: Path, *, patch: str = "[8, 8, 8]", head: str = "softmax", more: str = "") -> Path:
    file = saved(folder)
    path = folder / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: liver}, 2: {name: spleen}}\n"
        "preprocess: [{reorient: {to: RAS}}, {resample: {spacing: [1.5, 1.5, 1.5]}}, z-score]\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n"
        f"    head: {head}\n    weights: [{{path: w.safetensors, sha256: {file['sha256']}}}]\n"
        f"    window: {{patch: {patch}}}\n{more}"
    )
    return path


def test_48_orientations_give_the_same_physical_mask(tmp_path: Path) -> None:
    _, assembled = prepare(pipeline(tmp_path, patch="[8, 16, 8]"))
    volume = noise(Grid((11, 13, 9), np.diag([0.9, 1.3, 2.2, 1.0])))
    masks = []
    with assembled.segment.step.open(ONE_THREAD) as predictor:
        for codes in ORIENTATIONS:
            _, found, _ = walk(assembled, volume.reorient(codes), predictor)
            masks.append(found.onto(volume.grid).array)
    assert len(np.unique(masks[0])) == 3
    assert all(np.array_equal(masks[0], mask) for mask in masks)


def test_a_pipeline_file_runs_and_says_what_it_used(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    resources = Resources(progress=lambda *said: heard.append(said), seed=5, threads=1)
    result = medseg.segment(noise(), model=pipeline(tmp_path), resources=resources)
    used = result.prediction.used
    assert heard[-1] == ("segment", used["windows"], used["windows"])
    assert result.provenance["seed"] == 5
    written = result.provenance["pipeline"]["segment"]["medseg/network"]
    assert written["architecture"]["medseg/unet"]["channels"] == [4, 8]
    assert written["window"] == {
        "patch": [8, 8, 8],
        "training_patch": None,
        "overlap": 0.5,
        "blend": "gaussian",
        "skip_empty": False,
    }


def test_a_picture_in_colour_from_its_file_to_its_mask(tmp_path: Path) -> None:
    from PIL import Image

    values = np.random.default_rng(2).integers(0, 256, (19, 33, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "cells.png")
    file = saved(tmp_path, dims=2, inputs=3)
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: nucleus}, 2: {name: membrane}}\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n    head: softmax\n"
        f"    weights: [{{path: w.safetensors, sha256: {file['sha256']}}}]\n"
        "    window: {patch: [16, 16]}\n    channels: 3\n"
    )
    result = medseg.segment(tmp_path / "cells.png", model=path, out=tmp_path / "out", resources=ONE_THREAD)
    assert result.segmentation.grid.unit == "px"
    assert result.segmentation.grid.shape == (33, 19, 1)
    assert {1, 2} <= set(np.unique(result.segmentation.array))
    Image.fromarray(values[..., 0]).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"has 1 channel \(\w+\), and the network takes 3") as refusal:
        medseg.segment(tmp_path / "grey.png", model=path, out=tmp_path / "out2", resources=ONE_THREAD)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out2").exists()


def test_four_images_become_four_channels(tmp_path: Path) -> None:
    file = saved(tmp_path, inputs=4)
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "inputs: [{name: t1}, {name: t1c}, {name: t2}, {name: flair}]\n"
        "labels: {1: {name: oedema}, 2: {name: core}}\npreprocess: [{z-score: {}}]\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n    head: softmax\n"
        f"    weights: [{{path: w.safetensors, sha256: {file['sha256']}}}]\n"
        "    window: {patch: [8, 8, 8]}\n    channels: 4\n"
    )
    images = [noise(seed=n) for n in range(4)]
    found = medseg.segment(*images, model=path, resources=ONE_THREAD).segmentation
    assert {1, 2} <= set(np.unique(found.array))
    swapped = medseg.segment(*images[::-1], model=path, resources=ONE_THREAD).segmentation
    assert not np.array_equal(found.array, swapped.array)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patch": "[9, 8, 8]"}, r"segment\.network: window\.patch: \[9, 8, 8\] does not fit"),
        ({"patch": "[8]"}, r"segment\.network\.window\.patch"),
        ({"patch": "[2, 2, 2]"}, r"cannot take \[2, 2, 2\]"),
        ({"head": "softmaxx"}, r"segment\.network\.head: .*did you mean 'softmax'"),
        ({"more": "    mirror: [left]\n"}, r"segment\.network\.mirror\[0\]"),
        ({"more": "    mirror: [left-right, left-right]\n"}, "named twice"),
    ],
)
def test_a_wrong_pipeline_is_refused_in_one_line(tmp_path: Path, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(PipelineError, match=said) as refusal:
        medseg.segment(noise(), model=pipeline(tmp_path, **wrong))
    assert "\n" not in str(refusal.value)
