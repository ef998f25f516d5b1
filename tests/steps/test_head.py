"""What a head has by default, of one that defines no more than it must."""

from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from medseg.prediction import Sink
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Head
from medseg.volume import Grid

TABLE = LabelTable((Label(1, "cell"), Label(7, "nucleus", layer=1)))


class Everything(Head):
    """The values of both layers, and how many voxels the patch has."""

    def channels(self, labels: LabelTable) -> int:
        """Three."""
        return 3

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """What it was given, as it was given."""
        assert segmentation.labels == TABLE
        assert segmentation.grid.spacing in {(2.0, 0.5, 3.0), (2.0, 0.5, 1.0)}
        size = np.full(segmentation.grid.shape, np.prod(segmentation.grid.shape))
        return np.stack([*segmentation.array, size]).astype(np.float32)

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        """None."""
        raise NotImplementedError


def batch(*shape: int) -> NDArray[Any]:
    random = np.random.default_rng(0)
    return np.stack([random.integers(0, 2, (2, *shape)), 7 * random.integers(0, 2, (2, *shape))], axis=1)


def test_targets_are_what_target_says_of_each_patch() -> None:
    for shape in [(4, 3, 2), (5, 4), (1, 1, 1)]:
        labels = batch(*shape)
        spacing = (2.0, 0.5, 3.0)[: len(shape)]
        found = Everything().targets(torch.from_numpy(labels.astype(np.int32)), TABLE, spacing=spacing)
        assert (found.dtype, found.shape) == (torch.float32, (2, 3, *shape))
        assert np.array_equal(found[:, :2], labels)
        assert set(found[:, 2].flatten().tolist()) == {np.prod(shape)}
