from collections.abc import Callable

import numpy as np
import pytest
import torch  # noqa: TID253
from loss_properties import HEADS, Batch, batch, keeps_its_promises, refuses_other_channels, value
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt  # noqa: TID253

from medseg.builtin.loss.boundary import Boundary, signed_distance
from medseg.errors import GeometryError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

MakeGrid = Callable[..., Grid]
MAP = "signed-distance-mm"


def blob(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A lopsided mask."""
    rng = np.random.default_rng(3)
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 3, -(-2 * n // 3)) for n in shape)] = True
    return np.asarray(mask ^ (rng.random(shape) < 0.02))


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("dims", [2, 3])
def test_it_keeps_the_promises_of_a_loss(head: str, dims: int) -> None:
    channels = 2 if head == "softmax" else 3
    rng = torch.Generator().manual_seed(1)
    maps = {MAP: torch.randn(2, channels, *(4, 3, 2)[:dims], generator=rng, dtype=torch.float64)}
    keeps_its_promises(Boundary(), head, dims, maps)


def test_distances_are_those_of_scipy_in_mm() -> None:
    mask, spacing = blob((11, 9, 7)), (0.7, 1.5, 4.0)
    expected = distance_transform_edt(~mask, sampling=spacing) - distance_transform_edt(
        mask, sampling=spacing
    )
    np.testing.assert_allclose(signed_distance(mask, spacing), expected, rtol=1e-5)


def test_at_unit_spacing_they_are_the_authors_but_for_their_voxel_inside() -> None:
    mask = blob((12, 10, 1))
    theirs = distance_transform_edt(~mask) * ~mask - (distance_transform_edt(mask) - 1) * mask
    np.testing.assert_allclose(signed_distance(mask, (1.0, 1.0, 1.0)) + mask, theirs, rtol=1e-6)


def test_what_is_not_known_is_on_neither_side() -> None:
    """Six voxels of 2 mm, the label in the first and, by what is not known, the fifth; to the known ones."""
    mask = np.array([1, 0, 0, 0, 1, 0], bool).reshape(6, 1, 1)
    valid = np.array([1, 0, 1, 1, 0, 1], bool).reshape(6, 1, 1)
    assert signed_distance(mask, (2.0, 1.0, 1.0), valid).ravel().tolist() == [-4, 0, 4, 6, 0, 10]
    assert not signed_distance(mask, (2.0, 1.0, 1.0), mask).any()  # nothing is known of the other side
    blobs, known = blob((11, 9, 7)), np.random.default_rng(0).random((11, 9, 7)) < 0.5
    to = [distance_transform_edt(~(side & known), sampling=(0.7, 1.5, 4.0)) for side in (blobs, ~blobs)]
    expected = np.where(known, np.where(blobs, -to[1], to[0]), 0)
    np.testing.assert_allclose(signed_distance(blobs, (0.7, 1.5, 4.0), known), expected, rtol=1e-5)


def test_what_has_no_border_has_no_distance() -> None:
    for mask in (np.zeros((4, 5, 3), bool), np.ones((4, 5, 3), bool)):
        assert not signed_distance(mask, (1.0, 2.0, 3.0)).any()


def test_a_row_of_thick_voxels_by_hand(straight: MakeGrid, labelled: Callable[..., Segmentation]) -> None:
    """Five voxels of 3 mm, the label in the middle one and its right neighbour."""
    grid = straight((5, 1, 1), (3.0, 1.0, 1.0))
    segmentation = labelled(grid, lesion=np.array([0, 0, 1, 1, 0], bool).reshape(5, 1, 1))
    maps = Boundary().prepare(segmentation, HEADS["sigmoid"], None)
    assert maps[MAP].dtype == np.float32
    assert maps[MAP].ravel().tolist() == [6, 3, -3, -3, 3]
    p = torch.tensor([0.5, 0.25, 1.0, 0.75, 0.1], dtype=torch.float64).clamp(max=1 - 1e-12)
    given = Batch(torch.logit(p).reshape(1, 1, 5, 1), torch.zeros(1, 1, 5, 1), torch.ones(1, 1, 5, 1))
    phi = torch.from_numpy(maps[MAP][None, ..., 0])
    by_hand = (0.5 * 6 + 0.25 * 3 - 1.0 * 3 - 0.75 * 3 + 0.1 * 3) / 5
    assert value(Boundary(), "sigmoid", given, {MAP: phi}).item() == pytest.approx(by_hand)


def test_channels_follow_the_head(straight: MakeGrid) -> None:
    grid = straight((8, 6, 4), (1.0, 1.0, 2.0))
    table = LabelTable((Label(1, "liver"), Label(5, "tumour"), Label(7, "absent")))
    masks = {"liver": blob(grid.shape), "tumour": np.zeros(grid.shape, bool)}
    masks["tumour"][4, 3, 2] = True
    segmentation = Segmentation.from_masks(masks, grid, table)
    expected = np.stack([signed_distance(segmentation.mask(label.name), grid.spacing) for label in table])
    for head in HEADS.values():
        np.testing.assert_array_equal(Boundary().prepare(segmentation, head, None)[MAP], expected)
    whole = Boundary(include_background=True).prepare(segmentation, HEADS["softmax"], None)[MAP]
    assert whole.shape == (4, 8, 6, 4)
    np.testing.assert_array_equal(whole[0], signed_distance(~(segmentation.array[0] > 0), grid.spacing))


def test_far_errors_cost_more_than_near_ones() -> None:
    mask = np.zeros((16, 1, 1), bool)
    mask[2:5] = True
    phi = torch.from_numpy(signed_distance(mask, (2.0, 1.0, 1.0)))[None, None, ..., 0]
    costs = []
    for place in (6, 9, 15):
        logits = torch.full((1, 1, 16, 1), -30.0)
        logits[..., place, 0] = 30
        given = Batch(logits, torch.zeros(1, 1, 16, 1), torch.ones(1, 1, 16, 1))
        costs.append(value(Boundary(), "sigmoid", given, {MAP: phi}).item() * 16)
    assert costs == pytest.approx([2 * 2, 5 * 2, 11 * 2])


def test_the_background_may_count_too() -> None:
    given = batch("softmax", 2)
    phi = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = value(Boundary(include_background=True), "softmax", given, {MAP: phi})
    per_sample = ((given.logits.softmax(1) * phi).mean(1) * given.valid[:, 0]).sum((1, 2))
    torch.testing.assert_close(found, (per_sample / given.valid.sum((1, 2, 3))).mean())


def test_distances_need_a_scale_and_right_angles(
    sheared: MakeGrid, labelled: Callable[..., Segmentation]
) -> None:
    tilted = labelled(sheared((4, 4, 4)), lesion=np.ones((4, 4, 4), bool))
    with pytest.raises(GeometryError, match="needs axes at right angles"):
        Boundary().prepare(tilted, HEADS["softmax"], None)
    pixels = Grid((4, 4, 1), np.eye(4), "px")
    with pytest.raises(GeometryError, match="the loss boundary needs a scale"):
        Boundary().prepare(labelled(pixels, lesion=np.ones((4, 4, 1), bool)), HEADS["softmax"], None)


def test_other_channels_are_refused() -> None:
    refuses_other_channels(Boundary())
