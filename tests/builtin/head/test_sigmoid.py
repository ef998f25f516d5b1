import numpy as np
import pytest
import torch  # noqa: TID253

from medseg import Grid, Label, LabelTable, Scores, Segmentation
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.steps import Head

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


@pytest.mark.parametrize("shape", [(4, 3, 2), (5, 4)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_targets_of_a_batch_are_those_of_each_patch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = ([0, 1], [0, 2])
    random = np.random.default_rng(0)
    patches = np.stack([random.choice(each, (3, *shape)) for each in values], axis=1)
    labels, spacing = torch.from_numpy(patches).to(dtype), (1.0, 2.0, 3.0)[: len(shape)]
    found = Sigmoid().targets(labels, TABLE, spacing=spacing)
    assert (found.dtype, found.shape) == (torch.float32, (3, 2, *shape))
    assert torch.equal(
        found, Head.targets(Sigmoid(), labels, TABLE, spacing=spacing)
    )  # by `target`, one after the other
    grid = Grid((*shape, 1)[:3], np.eye(4))  # type: ignore[arg-type]  # three numbers
    for patch, target in zip(patches, found, strict=True):
        reference = Segmentation(patch.reshape(2, *grid.shape).astype(np.uint8), grid, TABLE)
        assert np.array_equal(Sigmoid().target(reference).reshape(target.shape), target)
