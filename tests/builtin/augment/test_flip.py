from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.augment.flip import Flip
from medseg.errors import PipelineError, UsageError
from medseg.segmentation import Label, LabelTable
from medseg.steps import SpatialAugmentation

Points = Callable[[Sequence[int], Sequence[float]], torch.Tensor]
Together = Callable[[SpatialAugmentation], None]

SEEDS = range(32)


def axes_flipped(flip: Flip, points: torch.Tensor, seed: int) -> tuple[int, ...]:
    """The axes along which the voxels have changed places; fails if they went anywhere else."""
    before = points.clone()
    moved = flip(points, np.random.default_rng(seed))
    assert torch.equal(points, before)
    found = tuple(axis for axis in range(len(points)) if not torch.equal(moved[axis], points[axis]))
    at = points.flip([1 + axis for axis in found])
    assert torch.equal(moved, at)  # every point is one of the patch's, to the last bit
    return found


def test_voxels_change_places_along_each_axis_by_itself_half_the_time(
    points: Points, liver: LabelTable
) -> None:
    given = points((6, 5, 4), (1.5, 0.7, 3.0))
    flip = Flip().bound(labels=liver, axes="RAS")
    found = [axes_flipped(flip, given, seed) for seed in range(400)]
    assert len(set(found)) == 8
    for axis in range(3):
        assert 160 <= sum(axis in axes for axes in found) <= 240  # 4 standard deviations about 200


@pytest.mark.parametrize(
    ("names", "codes", "expected"),
    [
        (("left-right",), "RAS", {0}),
        (("left-right",), "PIL", {2}),
        (("anterior-posterior",), "PIL", {0}),
        (("superior-inferior", "anterior-posterior"), "LPS", {1, 2}),
        (("anterior-posterior",), "RA", {1}),
        (("superior-inferior",), "SA", {0}),
    ],
)
def test_anatomical_names_find_their_axes(
    points: Points, liver: LabelTable, names: Any, codes: str, expected: set[int]
) -> None:
    given = points((4, 5, 6)[: len(codes)], (1.0, 2.0, 3.0)[: len(codes)])
    flip = Flip(axes=names).bound(labels=liver, axes=codes)
    assert {axis for seed in SEEDS for axis in axes_flipped(flip, given, seed)} == expected


def test_left_right_is_refused_where_labels_name_a_pair(kidneys: LabelTable) -> None:
    with pytest.raises(PipelineError, match=r"^axes: left-right .*'left kidney' and 'right kidney'.*leave"):
        Flip(axes=("superior-inferior", "left-right")).bound(labels=kidneys, axes="RAS")
    told = LabelTable((Label(1, "L5", pair="R5"), Label(2, "R5", pair="L5")))
    with pytest.raises(PipelineError, match="'L5' and 'R5'"):
        Flip(axes=("left-right",)).bound(labels=told, axes="RAS")


@pytest.mark.parametrize(("codes", "expected"), [("RAS", {1, 2}), ("PIL", {0, 1}), ("RA", {1}), ("SL", {0})])
def test_left_right_is_left_out_by_itself_where_labels_name_a_pair(
    points: Points, kidneys: LabelTable, codes: str, expected: set[int]
) -> None:
    given = points((4, 5, 6)[: len(codes)], (1.0, 2.0, 3.0)[: len(codes)])
    flip = Flip().bound(labels=kidneys, axes=codes)
    assert {axis for seed in SEEDS for axis in axes_flipped(flip, given, seed)} == expected


def test_one_side_alone_is_as_a_pair(points: Points) -> None:
    left = LabelTable((Label(1, "left kidney"),))
    with pytest.raises(PipelineError, match=r"^axes: left-right .*'left kidney'.*leave left-right out$"):
        Flip(axes=("left-right",)).bound(labels=left, axes="RAS")
    flip = Flip().bound(labels=left, axes="RAS")
    assert {axis for seed in SEEDS for axis in axes_flipped(flip, points((4, 5, 6), (1, 1, 1)), seed)} == {
        1,
        2,
    }


def test_other_axes_may_be_named_beside_a_pair(points: Points, kidneys: LabelTable) -> None:
    flip = Flip(axes=("anterior-posterior",)).bound(labels=kidneys, axes="RAS")
    given = points((4, 5, 6), (1, 1, 1))
    assert {axis for seed in SEEDS for axis in axes_flipped(flip, given, seed)} == {1}


def test_wrong_axes_are_refused(liver: LabelTable) -> None:
    with pytest.raises(PipelineError, match=r"^axes: .*run to RA, has none called superior-inferior$"):
        Flip(axes=("superior-inferior",)).bound(labels=liver, axes="RA")
    with pytest.raises(PipelineError, match=r"^axes: left-right is named twice$"):
        Flip(axes=("left-right", "left-right")).bound(labels=liver, axes="RAS")
    for axes in [(), ("sideways",)]:
        with pytest.raises(ValidationError):
            Flip.model_validate({"axes": axes})


def test_it_is_not_used_before_it_knows_the_axes(points: Points) -> None:
    with pytest.raises(UsageError, match="bound"):
        Flip()(points((4, 4), (1, 1)), np.random.default_rng(0))


def test_image_and_mask_stay_together(assert_together: Together, liver: LabelTable) -> None:
    assert_together(Flip().bound(labels=liver, axes="RAS"))


def test_it_follows_from_the_generator(points: Points, liver: LabelTable) -> None:
    flip, given = Flip().bound(labels=liver, axes="RAS"), points((4, 5, 6), (1, 1, 1))
    first, again, *others = (flip(given, np.random.default_rng(seed)) for seed in (0, 0, *range(1, 9)))
    assert torch.equal(first, again)
    assert not all(torch.equal(first, other) for other in others)
