"""An opened detector: weights, plan, what it says it used; on images that it has not learnt anything of."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import detector
from medseg_instances.detector import predictor as of_detectors
from medseg_instances.detector.mask_rcnn import MaskRcnn
from medseg_instances.detector.network import DetectorNetwork, Found
from medseg_instances.detector.search import search
from medseg_instances.detector.segmenter import Detector
from safetensors.torch import save_file
from touching import TABLE

from medseg.errors import InputError, ModelError, ResourceError, UsageError
from medseg.inference.planning import reserve
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes
from medseg.prediction import Prediction, Resources, Wanted
from medseg.segmentation import LabelTable
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


# ---- memory


@pytest.mark.parametrize("dims", [2, 3])
def test_the_plan_is_about_what_it_takes(dims: int, tmp_path: Path) -> None:
    """As the system counts it, mostly a pass: half of the plan at least, and no more but what is kept free.

    The same pass takes 30 MB more or less, by what the C library has at hand.
    """
    patch, shape = ((512, 512), (700, 512, 1)) if dims == 2 else ((64, 64, 64), (70, 64, 64))
    more: dict[str, Any] = {"features": (16, 8, 12), "window": {"patch": patch, "overlap": 0.1}}
    how, image = opened(tmp_path, dims=dims, **more), volume(shape)
    with how.open(CPU) as predictor:
        plan = predictor.plan(image.grid, onto=image.grid, wanted=Wanted())
        release_freed_memory()
        reset_peak()
        before = resident_bytes()
        found = predictor(image, onto=image.grid, wanted=Wanted())
        taken = peak_bytes() - before
    assert found.used["windows"] == 2
    assert plan.peak_bytes > 20 << 20
    assert 0.5 * plan.peak_bytes < taken < plan.peak_bytes + reserve(plan.peak_bytes)


class Failing(MaskRcnn):
    """A network that runs out of memory in some of its calls."""

    fails: ClassVar[tuple[int, ...]] = ()
    calls: ClassVar[int] = 0
    opening: ClassVar[int] = 0  # calls until it is open: two, or three, by how quick it is
    widths: ClassVar[list[int]] = []

    def forward(self, images: torch.Tensor, least: float | None = None) -> list[Found]:
        Failing.calls += 1
        if Failing.calls in Failing.fails:
            raise torch.OutOfMemoryError("no memory left")
        Failing.widths.append(len(images))
        return super().forward(images, least)


class FailingDetector(Detector):
    """Builds it."""

    def untrained(self, labels: LabelTable) -> DetectorNetwork:
        return Failing(self, labels)


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Detector]:
    """One that is given four windows at once, as on a GPU."""
    monkeypatch.setitem(of_detectors.BATCH, "cpu", 4)
    how = opened(tmp_path)
    yield FailingDetector.model_validate(how.model_dump()).bound(labels=TABLE, folder=tmp_path)
    Failing.fails = ()


def run(how: Detector, *fails: int, cases: int = 1) -> Prediction:
    """The last of some cases, with failures at these calls of the network, of which some open it."""
    Failing.calls, Failing.fails, Failing.widths = 0, fails, []
    image = volume((60, 24, 1))
    with how.open(CPU) as predictor:
        Failing.opening = Failing.calls
        found = [predictor(image, onto=image.grid, wanted=Wanted()) for _ in range(cases)]
    return found[-1]


def of_memory(found: Prediction) -> list[str]:
    """The notes of it; others are of objects that windows cut."""
    return [note for note in found.used["notes"] if note.startswith("memory")]


def test_memory_that_runs_out_at_any_call_changes_nothing(failing: Detector) -> None:
    free = run(failing)
    assert (free.used["batch"], free.used["fallbacks"], of_memory(free)) == (4, [], [])
    assert free.segmentation.objects
    calls = Failing.calls
    assert calls > 4
    for n in range(1, calls + 1):
        found = run(failing, n)
        assert Failing.calls > n, "the failure was met"
        assert np.array_equal(found.segmentation.array, free.segmentation.array), n
        assert found.segmentation.objects == free.segmentation.objects, n
        assert found.used["batch"] == 2
        assert Failing.widths[-1] <= 2
        opening = n <= Failing.opening  # then the whole case ran with less
        assert found.used["fallbacks"] == ([] if opening else ["batch 2"])
        while_opened = ["memory ran out while the model was opened: batch 2"]
        assert of_memory(found) == (while_opened if opening else [])


def test_every_step_down_is_noted_and_the_last_one_refuses(failing: Detector) -> None:
    free = run(failing).segmentation.array
    found = run(failing, 4, 6)
    assert found.used["fallbacks"] == ["batch 2", "batch 1"]
    assert np.array_equal(found.segmentation.array, free)
    with pytest.raises(ResourceError) as refusal:
        run(failing, *range(4, 100))
    assert refusal.value.device_memory
    with pytest.raises(ResourceError):
        run(failing, *range(1, 100))


def test_a_later_case_begins_with_what_is_left(failing: Detector) -> None:
    found = run(failing, 4, cases=2)
    assert (found.used["batch"], found.used["fallbacks"]) == (2, [])
    assert of_memory(found) == ["memory ran out in an earlier case: batch 2"]
