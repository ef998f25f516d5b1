"""The segmenter `network` with its slab on a GPU: what does not depend on there being one.

The processor stands in for the GPU: kernels run in Triton's interpreter, and the test says how much memory a
GPU has. `tests/soak/soak_gpu.py` has the same on a real one.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from layer_network import APART, LABELS, Layer, network

from medseg import Grid, Prediction, Resources, Volume, Wanted
from medseg.builtin.segment import opened_network
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.inference import gpu
from medseg.inference.engines.torch_engine import TorchEngine
from medseg.inference.planning import Pass

GRID = Grid((20, 17, 14), np.diag([1.5, 1.5, 2, 1]))
ONTO = Grid((24, 20, 17), np.diag([1.2, 1.2, 1.6, 1])).reoriented("LPI")
TURN = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
OBLIQUE = Grid((16, 15, 12), np.block([[TURN * 1.6, np.full((3, 1), 2.0)], [np.zeros((1, 3)), 1.0]]))
ALL = Wanted(reductions=frozenset({"soft-volume", "entropy"}), whole_scores=True, members=True)
RESOURCES = Resources(device="cpu", engine="torch")


class Stand:
    """Whether the processor stands in for a GPU, and how many bytes that one has free."""

    gpu = True
    free = 8 << 30


@pytest.fixture(autouse=True)
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stand]]:
    def measured(infer: Any, shape: Any, device: str) -> Pass:
        infer(torch.zeros(shape))
        return Pass(1 << 20, 0.01, 1 << 20)

    monkeypatch.setattr(TorchEngine, "on_gpu", property(lambda engine: Stand.gpu))
    monkeypatch.setattr(gpu, "measured_pass", measured)
    monkeypatch.setattr(gpu, "free_bytes", lambda device: Stand.free)
    for name in ("held_bytes", "highest_bytes"):
        monkeypatch.setattr(gpu, name, lambda device, forget=False: 0)
    monkeypatch.setitem(opened_network.BATCH, "cpu", 2)
    monkeypatch.setattr(Layer, "device", "cpu")
    Stand.gpu, Stand.free = True, 8 << 30
    yield Stand
    Layer.fails = ()


def run(
    segmenter: NetworkSegmenter, *fails: int, onto: Grid = ONTO, wanted: Wanted | None = None
) -> Prediction:
    """A noisy image whose lower half is air."""
    Layer.calls, Layer.fails = 0, fails
    array = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    array[:, :10] = array.min()
    with segmenter.open(RESOURCES) as predictor:
        return predictor(Volume(array, GRID, ("c",)), onto=onto, wanted=wanted or Wanted())


@pytest.mark.parametrize(
    "case",
    [
        (LABELS, 3, {"mirror": ["anterior-posterior"]}, ALL, ONTO),
        (APART, 2, {"window": {"patch": [12, 10, 8], "skip_empty": True}}, ALL, ONTO),
        (APART, 1, {}, Wanted(labels=frozenset({"b"})), ONTO),
        (LABELS, 1, {}, Wanted(), OBLIQUE),
    ],
    ids=["members", "skipping", "some labels", "oblique"],
)
def test_labels_are_those_of_the_processor(case: Any, tmp_path: Path, stand: type[Stand]) -> None:
    labels, members, more, wanted, onto = case
    window = {"window": {"patch": [12, 10, 8]}}
    segmenter = network(tmp_path, labels=labels, members=members, **(window | more))
    there = run(segmenter, onto=onto, wanted=wanted)
    stand.gpu = False
    here = run(segmenter, onto=onto, wanted=wanted)
    assert len(np.unique(here.segmentation.array)) > 1
    for a, b in zip((there.segmentation, *there.members), (here.segmentation, *here.members), strict=True):
        assert np.array_equal(a.array, b.array)
    assert there.soft_ml == here.soft_ml
    assert all(np.array_equal(there.maps[name].array, here.maps[name].array) for name in here.maps)


def test_a_gpu_without_room_leaves_the_slab_to_the_processor(tmp_path: Path, stand: type[Stand]) -> None:
    stand.free = 1 << 20
    found = run(network(tmp_path, window={"patch": [12, 10, 8]}))
    assert found.used["notes"] == ["the slab is not on the GPU: it has too little memory"]


def test_a_processor_that_runs_out_beside_the_gpu_does_it_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = network(tmp_path, window={"patch": [12, 10, 8]})
    free = run(segmenter)
    finish, calls = gpu.GpuFeed.finish, 0

    def failing(streaming: gpu.GpuFeed) -> tuple[Any, ...]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise MemoryError
        return finish(streaming)

    monkeypatch.setattr(gpu.GpuFeed, "finish", failing)
    found = run(segmenter)
    assert found.used["fallbacks"] == ["blocks 2"]
    assert found.used["blocks"] == 2
    assert np.array_equal(found.segmentation.array, free.segmentation.array)


def test_a_failed_attempt_is_gone_before_the_next_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[weakref.ref[Any]] = []
    alive: list[int] = []
    init = gpu.GpuFeed.__init__

    def counted(streaming: gpu.GpuFeed, *arguments: Any) -> None:
        alive.append(sum(ref() is not None for ref in attempts))
        attempts.append(weakref.ref(streaming))
        init(streaming, *arguments)

    monkeypatch.setattr(gpu.GpuFeed, "__init__", counted)
    gc.collect()
    gc.disable()  # by itself it may come at any moment
    try:
        found = run(network(tmp_path, window={"patch": [12, 10, 8]}), 3, 5)
    finally:
        gc.enable()
    assert found.used["fallbacks"] == ["batch 1", "blocks 2"]
    assert alive == [0, 0, 0]


@pytest.mark.parametrize(
    "said", ["CUDA error: out of memory", "Triton Error [CUDA]: out of memory", "CUDNN_STATUS_ALLOC_FAILED"]
)
def test_all_that_says_that_memory_ran_out_is_understood(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = gpu.GpuSlab.update, 0

    def failing(slab: gpu.GpuSlab, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError(said)
        update(slab, *arguments)

    monkeypatch.setattr(gpu.GpuSlab, "update", failing)
    found = run(network(tmp_path, window={"patch": [12, 10, 8]}))
    assert found.used["fallbacks"] == ["batch 1"]


def test_what_an_earlier_case_gave_up_is_told_in_later_ones(tmp_path: Path) -> None:
    segmenter = network(tmp_path, window={"patch": [12, 10, 8]})
    Layer.calls, Layer.fails = 0, (2,)
    array = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    with segmenter.open(RESOURCES) as predictor:
        first, second = (
            predictor(Volume(array, GRID, ("c",)), onto=ONTO, wanted=Wanted()).used for _ in range(2)
        )
    assert (first["fallbacks"], first["notes"]) == (["batch 1"], [])
    assert (second["fallbacks"], second["notes"]) == ([], ["memory ran out in an earlier case: batch 1"])
