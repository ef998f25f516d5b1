"""Refiners work where their network ran, until its memory runs out; then the processor does it all again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253

from medseg import Grid, Scores, Volume
from medseg.inference.on_device import OnDevice, device_of
from medseg.steps import Refiner

GRID = Grid((3, 4, 5), np.eye(4))
SCORES = Scores(np.zeros((2, *GRID.shape), np.float32), GRID, "logits", "softmax")
IMAGE = Volume(np.zeros((1, *GRID.shape), np.float32), GRID)


class Doubtful(Refiner):
    """Adds 1 on the processor and 2 elsewhere, where the box of number `fails` is too much."""

    fails: int
    problem: type[Exception] = torch.OutOfMemoryError

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        return Scores(scores.array + np.float32(1), scores.grid, scores.kind)

    def on(self, device: str) -> Callable[[Scores, Volume], Scores]:
        def work(scores: Scores, volume: Volume) -> Scores:
            calls.append(device)
            if len(calls) == self.fails:
                raise self.problem("CUDA out of memory" if self.fails else "")
            return Scores(scores.array + np.float32(2), scores.grid, scores.kind)

        return work


class Here(Refiner):
    """Knows of no device."""

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        return scores


calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def values(worker: OnDevice, boxes: int) -> list[float]:
    return [float(worker(SCORES, IMAGE).array[0, 0, 0, 0]) for _ in range(boxes)]


def test_memory_that_suffices_keeps_it_on_the_device() -> None:
    worker = OnDevice(Doubtful(fails=9), "cuda:1")
    assert values(worker, 3) == [2, 2, 2]
    assert calls == ["cuda:1"] * 3
    assert (worker.device, worker.ran_out) == ("cuda:1", False)


def test_memory_that_runs_out_leaves_the_box_and_the_rest_to_the_processor() -> None:
    worker = OnDevice(Doubtful(fails=2), "cuda:0")
    assert values(worker, 4) == [2, 1, 1, 1]
    assert len(calls) == 2, "the device is not tried again"
    assert (worker.device, worker.ran_out) == ("cpu", True)


def test_other_failures_are_not_taken_for_it() -> None:
    worker = OnDevice(Doubtful(fails=1, problem=ValueError), "cuda:0")
    with pytest.raises(ValueError, match="out of memory"):
        worker(SCORES, IMAGE)
    assert not worker.ran_out


def test_what_knows_no_device_works_on_the_processor() -> None:
    assert OnDevice(Here(), "cuda:0").device == "cpu"
    worker = OnDevice(Doubtful(fails=0), "cpu")
    assert values(worker, 1) == [1]
    assert calls == []


@pytest.mark.parametrize(
    ("used", "device"),
    [
        ({"device": "cuda:0"}, "cuda:0"),
        ({"device": "cuda:1", "deterministic": True}, "cpu"),
        ({"device": "cpu"}, "cpu"),
        ({"device": "AUTO:GPU"}, "cpu"),
        ({}, "cpu"),
    ],
)
def test_the_device_is_the_network_s(used: dict[str, Any], device: str) -> None:
    assert device_of(used) == device
