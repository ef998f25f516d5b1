from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.volume_error import VolumeError
from medseg.errors import GeometryError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Make = Callable[..., Any]
QUANTITIES = ["volume-bias", "volume-error", "relative-volume-bias", "relative-volume-error"]


def values(rows: Any) -> list[tuple[Any, str]]:
    return [(row.value, row.flag) for row in rows]


@pytest.mark.parametrize("kind", ["straight", "oblique", "sheared"])
def test_too_much_and_too_little(kind: str, request: pytest.FixtureRequest, labelled: Make) -> None:
    """Boxes of 60 and 80 voxels of 0.01 mL."""
    grid = request.getfixturevalue(kind)((12, 8, 8), (1, 2, 5))
    small, large = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    small[1:4, 1:6, 1:5], large[5:9, 1:6, 1:5] = True, True
    under = list(VolumeError()(labelled(grid, a=small), labelled(grid, a=large)))
    assert [row.quantity for row in under] == QUANTITIES
    assert [row.unit for row in under] == ["mL", "mL", "%", "%"]
    assert [row.value for row in under] == pytest.approx([-0.2, 0.2, -25, 25])
    over = VolumeError()(labelled(grid, a=large), labelled(grid, a=small))
    assert [row.value for row in over] == pytest.approx([0.2, 0.2, 100 / 3, 100 / 3])


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight((10, 10, 10))
    none, some = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    some[:5, :5, :4] = True
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    missed, made_up, neither = (
        values(row for row in VolumeError()(prediction, reference) if row.label == label)
        for label in ("missed", "made_up", "neither")
    )
    flag = "absent from prediction"
    assert missed == [(pytest.approx(value), flag) for value in (-0.1, 0.1, -100, 100)]
    assert (
        made_up == [(pytest.approx(0.1), "absent from reference")] * 2 + [(None, "absent from reference")] * 2
    )
    assert neither == [(None, "absent from both")] * 4


def test_pictures_without_a_scale_are_refused() -> None:
    grid = Grid((9, 9, 1), np.eye(4), "px")
    picture = Segmentation(np.ones((1, 9, 9, 1), np.uint8), grid, LabelTable((Label(1, "a"),)))
    with pytest.raises(GeometryError, match="needs a scale"):
        list(VolumeError()(picture, picture))
