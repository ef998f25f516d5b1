"""An opened detector: weights, plan, what it says it used; on images that it has not learnt anything of."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import detector
from medseg_instances.detector.search import search
from medseg_instances.detector.segmenter import Detector
from safetensors.torch import save_file
from touching import TABLE

from medseg.errors import InputError, ModelError, ResourceError, UsageError
from medseg.prediction import Resources, Wanted
from medseg.steps import Predictor
from medseg.volume import Grid, Volume

CPU = Resources(device="cpu", threads=1)
SHAPE = (40, 24, 1)


def opened(folder: Path, seeds: tuple[int, ...] = (0,), dims: int = 2, **parameters: Any) -> Detector:
    """A detector with weights of these seeds, whose scores are so low that it finds something."""
    made = detector(dims, score=1e-3, most=8, **parameters)
    files = []
    for seed in seeds:
        torch.manual_seed(seed)
        path = folder / f"{seed}.safetensors"
        save_file(made.untrained(TABLE).state_dict(), path)
        files.append({"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    whole = detector(dims, score=1e-3, most=8, weights=files, **parameters)
    return whole.bound(labels=TABLE, folder=folder)


def volume(shape: tuple[int, int, int] = SHAPE) -> Volume:
    image = np.random.default_rng(0).normal(0, 1, (1, *shape)).astype(np.float32)
    return Volume(image, Grid(shape, np.eye(4)))


@pytest.mark.parametrize(("kind", "dims"), [("mask-rcnn", 2), ("retinanet", 2), ("mask-rcnn", 3)])
def test_it_finds_what_its_network_does(kind: str, dims: int, tmp_path: Path) -> None:
    how = opened(tmp_path, kind=kind, dims=dims)
    image = volume(SHAPE if dims == 2 else (20, 24, 18))
    torch.manual_seed(0)
    network = how.untrained(TABLE).eval()
    with torch.inference_mode():
        wanted = search(image, [network], how=how, labels=TABLE)
    assert wanted.objects
    with how.open(CPU) as predictor:
        plan = Predictor.check_plan(predictor.plan(image.grid, onto=image.grid, wanted=Wanted()))
        found = Predictor.check(
            predictor(image, onto=image.grid, wanted=Wanted()), onto=image.grid, labels=TABLE
        )
    assert np.array_equal(found.segmentation.array, wanted.array)
    assert found.segmentation.objects == wanted.objects
    assert found.used["windows"] == plan.windows == plan.evaluations
    assert found.used["weights"] == [file.sha256 for file in how.weights]
    assert (plan.device, plan.engine, plan.precision, plan.passes) == ("cpu", "torch", "fp32", 1)
    assert plan.patch == how.window.patch
    assert plan.peak_bytes > 4 * 2 * wanted.array.size


def test_objects_of_every_network_are_found(tmp_path: Path) -> None:
    how, image = opened(tmp_path, seeds=(0, 1)), volume()
    with how.open(CPU) as predictor:
        found = predictor(image, onto=image.grid, wanted=Wanted())
        assert predictor.plan(image.grid, onto=image.grid, wanted=Wanted()).passes == 2
    assert found.used["passes"] == 2
    assert len(found.used["weights"]) == 2


def test_objects_go_to_the_images_own_voxels(tmp_path: Path) -> None:
    """Four times as fine, and so coarse that some have no voxel left: these are told."""
    how, image = opened(tmp_path), volume()
    fine = Grid((160, 96, 1), np.diag([0.25, 0.25, 1, 1]))
    coarse = Grid((4, 2, 1), np.diag([10.0, 12, 1, 1]))
    with how.open(CPU) as predictor:
        own, finer, coarser = (
            predictor(image, onto=onto, wanted=Wanted()) for onto in (image.grid, fine, coarse)
        )
    assert finer.segmentation.array.shape == (1, *fine.shape)
    assert {t.id for t in finer.segmentation.objects} == {t.id for t in own.segmentation.objects}
    Predictor.check(coarser, onto=coarse, labels=TABLE)
    gone = len(own.segmentation.objects) - len(coarser.segmentation.objects)
    assert gone > 0
    assert any(note.endswith(f"own grid, left out: {gone}") for note in coarser.used["notes"])


def test_too_little_memory_is_refused_before_it_begins(tmp_path: Path) -> None:
    how, image = opened(tmp_path), volume()
    limited = Resources(device="cpu", threads=1, max_memory_bytes=1 << 20)
    with (
        how.open(limited) as predictor,
        pytest.raises(ResourceError, match="finding objects needs, with a reserve,") as told,
    ):
        predictor.plan(image.grid, onto=image.grid, wanted=Wanted())
    assert told.value.needed_bytes > 1 << 20


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    how, image = opened(tmp_path), volume()
    two = Volume(np.concatenate([image.array] * 2), image.grid, ("a", "b"))
    with how.open(CPU) as predictor, pytest.raises(InputError, match=r"has 2 channels .* takes 1"):
        predictor(two, onto=image.grid, wanted=Wanted())
    with pytest.raises(UsageError, match="a detector runs in torch"), how.open(Resources(engine="openvino")):
        pass


def test_weights_of_another_detector_are_refused(tmp_path: Path) -> None:
    how = opened(tmp_path)
    other = detector(2, weights=how.weights, pyramid=16).bound(labels=TABLE, folder=tmp_path)
    with pytest.raises(ModelError, match="is it of another architecture"), other.open(CPU):
        pass
