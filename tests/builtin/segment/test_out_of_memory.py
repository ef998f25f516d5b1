"""Memory that runs out at every moment of a case: the labels are those of a run in which it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch  # noqa: TID253
from safetensors.torch import save_file

from medseg import Grid, Label, LabelTable, Prediction, ResourceError, Resources, Volume, Wanted
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.segment import opened_network
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.run.case import memory_as_resource
from medseg.steps import Network

LABELS = LabelTable((Label(1, "a"), Label(2, "b")))
GRID = Grid((20, 16, 9), np.eye(4))


class Failing(torch.nn.Module):
    """One convolution, which runs out of memory in some of its calls."""

    fails: tuple[int, ...] = ()
    problem: type[Exception] = torch.OutOfMemoryError
    calls = 0
    widths: list[int]

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(inputs, outputs, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Failing.calls += images.device.type != "meta"  # where its memory is estimated, not taken
        if Failing.calls in Failing.fails:
            raise Failing.problem("no memory left")
        Failing.widths.append(len(images))
        logits: torch.Tensor = self.layer(images)
        return logits


class FailingNetwork(Network):
    """Builds it."""

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        return (1,) * dims

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        return Failing(inputs, outputs)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NetworkSegmenter]:
    monkeypatch.setitem(opened_network.BATCH, "cpu", 4)  # as on a GPU
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_file(Failing(1, 3).state_dict(), tmp_path / "w.safetensors")
    digest = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    found = NetworkSegmenter.model_validate(
        {
            "architecture": FailingNetwork(),
            "head": Softmax(),
            "weights": [{"path": "w.safetensors", "sha256": digest}],
            "window": {"patch": [8, 8, 8]},
        }
    )
    yield found.bound(labels=LABELS, folder=tmp_path)
    Failing.fails, Failing.problem = (), torch.OutOfMemoryError


def run(
    network: NetworkSegmenter,
    *fails: int,
    problem: type[Exception] = torch.OutOfMemoryError,
    wanted: Wanted | None = None,
) -> Prediction:
    """The case, with failures at these calls of the network, the pass over an empty window among them."""
    Failing.calls, Failing.fails, Failing.problem, Failing.widths = 0, fails, problem, []
    array = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    with network.open(Resources(engine="torch", threads=1)) as predictor:
        return predictor(Volume(array, GRID, ("c",)), onto=GRID, wanted=wanted or Wanted())


def test_memory_that_runs_out_at_any_call_changes_no_label(network: NetworkSegmenter) -> None:
    wanted = Wanted(reductions=frozenset({"soft-volume", "entropy"}))
    free = run(network, wanted=wanted)
    assert free.used["fallbacks"] == []
    assert free.used["batch"] == 4
    assert len(np.unique(free.segmentation.array)) == 3
    calls = Failing.calls
    assert calls > 8
    for n in range(1, calls + 1):
        found = run(network, n, wanted=wanted)
        assert Failing.calls > n, "the failure was met"
        assert np.array_equal(found.segmentation.array, free.segmentation.array), n
        assert np.array_equal(found.maps["entropy"].array, free.maps["entropy"].array), n
        assert found.soft_ml == free.soft_ml, n
        assert found.used["batch"] == 2
        opening = n <= 2  # then the whole case ran with less
        assert found.used["fallbacks"] == ([] if opening else ["batch 2"])
        assert Failing.widths[-1] <= 2


def test_every_step_down_is_noted_and_the_last_one_refuses(network: NetworkSegmenter) -> None:
    free = run(network).segmentation.array
    found = run(network, 5, 6, 9)
    assert found.used["fallbacks"] == ["batch 2", "batch 1", "blocks 2"]
    assert (found.used["batch"], found.used["blocks"]) == (1, 2)
    assert np.array_equal(found.segmentation.array, free)
    with pytest.raises(ResourceError) as refusal:
        run(network, *range(5, 100))
    assert "\n" not in str(refusal.value)


def test_the_processor_s_memory_gets_more_blocks_once(network: NetworkSegmenter) -> None:
    free = run(network).segmentation.array
    for n in (3, 6):
        found = run(network, n, problem=MemoryError)
        assert found.used["fallbacks"] == ["blocks 2"]
        assert found.used["batch"] == 4
        assert np.array_equal(found.segmentation.array, free)
    with pytest.raises(ResourceError, match="out of memory") as refusal, memory_as_resource():
        run(network, 3, 4, problem=MemoryError)
    assert "\n" not in str(refusal.value)


def test_what_is_no_lack_of_memory_is_not_tried_again(network: NetworkSegmenter) -> None:
    with pytest.raises(ZeroDivisionError):
        run(network, 4, problem=ZeroDivisionError)
    assert Failing.calls == 4


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_repetition_change_no_label(network: NetworkSegmenter, threads: int) -> None:
    array = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    Failing.widths = []
    found: list[Any] = []
    for count in (1, threads, threads):
        with network.open(Resources(engine="torch", threads=count, deterministic=True)) as predictor:
            told = predictor(Volume(array, GRID, ("c",)), onto=GRID, wanted=Wanted())
            assert told.used["deterministic"] is True
            found.append(told.segmentation.array)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[1], found[2])
