import numpy as np
import pytest
import torch  # noqa: TID253

from medseg import Grid, Label, LabelTable, PipelineError, Scores, Segmentation
from medseg.builtin.head.softmax import Softmax
from medseg.steps import Head

GRID = Grid((4, 3, 2), np.eye(4))
TABLE = LabelTable((Label(2, "liver"), Label(5, "spleen")))
FOUND = Segmentation(np.array([0, 2, 5, 2] * 6, np.uint8).reshape(1, *GRID.shape), GRID, TABLE)


def test_channels_are_the_background_and_the_labels_in_order() -> None:
    assert Softmax().channels(TABLE) == 3
    target = Softmax().target(FOUND)
    assert target.dtype == np.float32
    assert np.array_equal(target, [FOUND.array[0] == value for value in (0, 2, 5)])


def test_its_own_target_comes_back_as_labels() -> None:
    sink = Softmax().sink(TABLE, grid=GRID, axis=1, onto=GRID)
    sink.take(Scores(Softmax().target(FOUND), GRID, "logits"), 0)
    assert np.array_equal(sink.finish().array, FOUND.array)


def test_mirrored_logits_are_turned_back() -> None:
    logits = np.random.default_rng(0).normal(size=(3, *GRID.shape)).astype(np.float32)
    assert np.array_equal(Softmax().unmirror(logits[:, ::-1, :, ::-1], (0, 2)), logits)
    assert np.array_equal(Softmax().unmirror(logits, ()), logits)


def test_labels_that_may_overlap_are_refused() -> None:
    with pytest.raises(PipelineError, match="'core' is in layer 1; use the head sigmoid"):
        Softmax().channels(LabelTable((Label(1, "whole"), Label(2, "core", layer=1))))


@pytest.mark.parametrize("shape", [(4, 3, 2), (5, 4)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_targets_of_a_batch_are_those_of_each_patch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = ([0, 2, 5],)
    random = np.random.default_rng(0)
    patches = np.stack([random.choice(each, (3, *shape)) for each in values], axis=1)
    labels, spacing = torch.from_numpy(patches).to(dtype), (1.0, 2.0, 3.0)[: len(shape)]
    found = Softmax().targets(labels, TABLE, spacing=spacing)
    assert (found.dtype, found.shape) == (torch.float32, (3, 3, *shape))
    assert torch.equal(
        found, Head.targets(Softmax(), labels, TABLE, spacing=spacing)
    )  # by `target`, one after the other
    grid = Grid((*shape, 1)[:3], np.eye(4))  # type: ignore[arg-type]  # three numbers
    for patch, target in zip(patches, found, strict=True):
        reference = Segmentation(patch.reshape(1, *grid.shape).astype(np.uint8), grid, TABLE)
        assert np.array_equal(Softmax().target(reference).reshape(target.shape), target)


def test_labels_that_are_in_no_table_have_no_channel() -> None:
    target = Softmax().targets(torch.full((1, 1, 2, 2), 7), TABLE, spacing=(1.0, 1.0))
    assert not target.any()
