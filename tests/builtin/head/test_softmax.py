import numpy as np
import pytest

from medseg import Grid, Label, LabelTable, PipelineError, Scores, Segmentation
from medseg.builtin.head.softmax import Softmax

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
