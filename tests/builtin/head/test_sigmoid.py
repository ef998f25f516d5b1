import numpy as np

from medseg import Grid, Label, LabelTable, Scores, Segmentation
from medseg.builtin.head.sigmoid import Sigmoid

GRID = Grid((4, 3, 2), np.eye(4))
TABLE = LabelTable((Label(1, "whole"), Label(2, "core", layer=1)))
WHOLE = np.arange(24).reshape(GRID.shape) > 5
CORE = np.arange(24).reshape(GRID.shape) > 15
FOUND = Segmentation.from_masks({"whole": WHOLE, "core": CORE}, GRID, TABLE)


def test_channels_are_the_labels_in_order() -> None:
    assert Sigmoid().channels(TABLE) == 2
    assert np.array_equal(Sigmoid().target(FOUND), [WHOLE, CORE])


def test_overlapping_labels_come_back_from_their_own_target() -> None:
    sink = Sigmoid().sink(TABLE, grid=GRID, axis=0, onto=GRID)
    sink.take(Scores(Sigmoid().target(FOUND) - np.float32(0.5), GRID, "logits"), 0)
    assert np.array_equal(sink.finish().array, FOUND.array)
