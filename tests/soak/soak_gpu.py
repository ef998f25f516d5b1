"""What only a GPU can show: labels equal to the last voxel, and every step down when its memory runs out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch  # noqa: TID253
from equal_labels import CASES, Case, compare
from known_network import KINDS, Kind
from layer_network import APART, LABELS, Layer, network

from medseg import Grid, LabelTable, Prediction, Resources, Volume, Wanted
from medseg.builtin.segment.network import NetworkSegmenter

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

GRID = Grid((40, 33, 29), np.diag([1.5, 1.5, 2.0, 1.0]))
ONTO = Grid((57, 47, 51), np.diag([1.05, 1.05, 1.13, 1.0])).reoriented("LPI")
turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
OBLIQUE = Grid((50, 40, 30), np.block([[turn * 1.2, np.full((3, 1), 2.0)], [np.zeros((1, 3)), 1.0]]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_labels_are_those_of_the_whole_volume(case: Case, kind: Kind, tmp_path: Path) -> None:
    found = compare(case, kind, tmp_path, device="cuda")
    assert found.different == 0
    assert found.wrong == 0
    if case.shape != case.onto:
        assert found.without_halo > 0, "the comparison can fail"


def run(
    segmenter: NetworkSegmenter,
    resources: Resources,
    *fails: int,
    onto: Grid = ONTO,
    wanted: Wanted | None = None,
) -> Prediction:
    Layer.calls, Layer.fails = 0, fails
    array = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    with segmenter.open(resources) as predictor:
        found = predictor(Volume(array, GRID, ("c",)), onto=onto, wanted=wanted or Wanted())
    Layer.fails = ()
    return found


GPU, CPU = Resources(device="cuda"), Resources(device="cpu", engine="torch")
ALL = Wanted(reductions=frozenset({"soft-volume", "entropy"}), whole_scores=True, members=True)


@pytest.mark.parametrize("onto", [ONTO, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("labels", [LABELS, APART], ids=["softmax", "sigmoid"])
def test_all_that_can_be_kept_is_what_the_processor_gives(
    labels: LabelTable, onto: Grid, tmp_path: Path
) -> None:
    mirrored = {"mirror": ["anterior-posterior", "superior-inferior"]}
    segmenter = network(tmp_path, labels=labels, members=2, **mirrored)
    there, here = (run(segmenter, resources, onto=onto, wanted=ALL) for resources in (GPU, CPU))
    assert there.used["slab_on"].startswith("cuda")
    assert len(there.members) == 2
    for a, b in zip((there.segmentation, *there.members), (here.segmentation, *here.members), strict=True):
        assert len(np.unique(b.array)) > 2
        assert (a.array != b.array).mean() < 1e-3, "but for ties in the last bits of logits"
    assert there.soft_ml == pytest.approx(here.soft_ml, rel=1e-4)
    assert np.abs(there.maps["entropy"].array - here.maps["entropy"].array).max() < 2e-3
    assert there.scores is not None
    assert here.scores is not None
    both = (each.read(GRID).array for each in (there.scores, here.scores))
    assert np.abs(np.subtract(*both)).max() < 2e-3


def test_every_step_down_gives_the_same_labels(tmp_path: Path) -> None:
    segmenter = network(tmp_path)
    free = run(segmenter, GPU)
    assert free.used["fallbacks"] == []
    labels = free.segmentation.array
    found = run(segmenter, GPU, 3)  # the first call after two that measure
    assert found.used["fallbacks"] == ["batch 16"]
    assert (found.segmentation.array != labels).mean() < 1e-3
    smaller = [f"batch {count}" for count in (16, 8, 4, 2, 1)]
    found = run(segmenter, GPU, *range(3, 9))
    assert found.used["fallbacks"] == [*smaller, "slab cpu"]
    assert found.used["slab_on"] == "cpu"
    assert found.used["device"].startswith("cuda")
    assert (found.segmentation.array != labels).mean() < 1e-3
    for precision in ("fp32", "fp16", "bf16"):
        found = run(segmenter, replace(GPU, precision=precision), *range(3, 1000))
        assert found.used["fallbacks"] == [*smaller, "slab cpu", "device cpu"]
        assert (found.used["device"], found.used["precision"]) == ("cpu", "fp32")
        assert (found.segmentation.array != labels).mean() < 1e-3


@pytest.fixture
def little_memory() -> Iterator[int]:
    """A GPU that gives this process 600 MiB."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(600 * 2**20 / total)
    yield 600
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_memory_that_really_runs_out_changes_no_label(little_memory: int, tmp_path: Path) -> None:
    segmenter = network(tmp_path, window={"patch": [96, 96, 96]})
    grid = Grid((200, 150, 150), np.eye(4))
    array = np.random.default_rng(0).normal(size=(1, *grid.shape)).astype(np.float32)
    with segmenter.open(GPU) as predictor:
        found = predictor(Volume(array, grid, ("c",)), onto=grid, wanted=Wanted())
    assert found.used["fallbacks"] or found.used["notes"], f"{little_memory} MiB were enough"
    torch.cuda.set_per_process_memory_fraction(1.0)
    with segmenter.open(GPU) as predictor:
        free = predictor(Volume(array, grid, ("c",)), onto=grid, wanted=Wanted())
    sys.stdout.write(f"\n{found.used['notes']} {found.used['fallbacks']}, {found.used['gpu_peak_mb']} MB")
    assert (found.segmentation.array != free.segmentation.array).mean() < 1e-3


def test_the_plan_foretells_the_memory_of_the_gpu(tmp_path: Path) -> None:
    segmenter = network(tmp_path, window={"patch": [64, 64, 64]})
    grid = Grid((200, 160, 150), np.eye(4))
    onto = Grid((300, 300, 250), np.diag([200 / 300, 160 / 300, 150 / 250, 1]))
    array = np.random.default_rng(0).normal(size=(1, *grid.shape)).astype(np.float32)
    with segmenter.open(GPU) as predictor:
        plan = predictor.plan(grid, onto=onto, wanted=Wanted())
        found = predictor(Volume(array, grid, ("c",)), onto=onto, wanted=Wanted())
    planned, used = plan.gpu_bytes >> 20, found.used["gpu_peak_mb"]
    sys.stdout.write(f"\nplanned {planned} MB, used {used} MB; {plan.strategy}")
    assert abs(planned - used) <= max(0.15 * used, 64)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_same_run_gives_the_same_labels(
    precision: Literal["fp32", "fp16", "bf16"], tmp_path: Path
) -> None:
    segmenter = network(tmp_path)
    resources = replace(GPU, precision=precision, deterministic=True)
    first, second = (run(segmenter, resources).segmentation.array for _ in range(2))
    assert np.array_equal(first, second)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    segmenter = network(tmp_path)
    array = np.zeros((1, *GRID.shape), np.float32)
    array[0, 20, 16, 14] = np.inf
    with segmenter.open(GPU) as predictor, pytest.raises(Exception, match="not finite"):
        predictor(Volume(array, GRID, ("c",)), onto=ONTO, wanted=Wanted())
