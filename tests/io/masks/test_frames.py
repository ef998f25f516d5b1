"""Frames of a segmentation as slices: on the image's, or evenly on their own."""

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.io.masks.frames import stacked
from medseg.volume import Grid

IMAGE = Grid((6, 5, 20), np.array([[-0.7, 0, 0, 1], [0, -0.9, 0, 2], [0, 0, 2.5, 3], [0, 0, 0, 1.0]]))
NAN = float("nan")


def row(z: float, *, spacing: tuple[float, float] = (0.9, 0.7), between: float = NAN) -> list[float]:
    """A frame's row in LPS at the image's first pixel."""
    return [-1, -2, z, 1, 0, 0, 0, 1, 0, *spacing, 5, between, 1]


def rows(*frames: list[float]) -> NDArray[np.float64]:
    return np.array(frames, np.float64)


def test_frames_on_the_images_slices_keep_its_steps_however_many_are_missing() -> None:
    grid, slices = stacked("f", rows(row(18.0), row(3.0), row(8.001)), (6, 5), IMAGE)
    assert slices.tolist() == [6, 0, 2]
    assert grid.shape == (6, 5, 7)
    assert grid.same_as(Grid((6, 5, 7), IMAGE.affine))


def test_frames_of_another_size_of_pixel_are_spaced_by_what_they_say() -> None:
    frames = rows(*(row(z, spacing=(1, 1), between=2) for z in (10.0, 16.0, 14.0)))
    grid, slices = stacked("f", frames, (4, 4), IMAGE)
    assert slices.tolist() == [0, 3, 2]
    assert grid.spacing == pytest.approx((1, 1, 2))


def test_without_a_spacing_the_smallest_distance_counts_and_then_the_thickness() -> None:
    grid, slices = stacked("f", rows(*(row(z, spacing=(1, 1)) for z in (10.1, 14.1, 22.1))), (4, 4), IMAGE)
    assert slices.tolist() == [0, 1, 3]
    assert grid.spacing[2] == pytest.approx(4)
    grid, slices = stacked("f", rows(row(10.1, spacing=(1, 1))), (4, 4), IMAGE)
    assert slices.tolist() == [0]
    assert grid.spacing[2] == pytest.approx(5)


def test_uneven_or_unplaced_frames_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"not evenly, 3\.000 to 4\.000 mm apart"):
        stacked("f", rows(*(row(z, spacing=(1, 1)) for z in (10, 13, 17, 21))), (4, 4), IMAGE)
    with pytest.raises(GeometryError, match="no position"):
        stacked("f", rows(row(NAN)), (6, 5), IMAGE)
    turned = row(5.5)
    turned[3:9] = [0, 1, 0, 0, 0, 1]
    with pytest.raises(GeometryError, match="differ in orientation"):
        stacked("f", rows(row(3), turned), (6, 5), IMAGE)
    flat = row(5.5, spacing=(1, 1))
    flat[3:9] = [1, 0, 0, 1, 0, 0]
    with pytest.raises(GeometryError, match="singular"):
        stacked("f", rows(flat), (6, 5), IMAGE)


# ------------------------------------------------------------------ a tenth of a voxel, from both sides
@pytest.mark.parametrize(("off", "on_image"), [(0.24, True), (-0.24, True), (0.26, False), (-0.26, False)])
def test_frames_within_a_tenth_of_a_voxel_lie_on_the_images_slices(off: float, on_image: bool) -> None:
    grid, slices = stacked("f", rows(row(8.0 + off), row(13.0 + off)), (6, 5), IMAGE)
    if on_image:  # its steps, though a slice between is missing
        assert slices.tolist() == [0, 2]
        np.testing.assert_allclose(grid.to_world([0, 0, 0])[2], 8.0)
    else:  # evenly on their own, where they say that they are
        assert slices.tolist() == [0, 1]
        np.testing.assert_allclose(grid.to_world([0, 0, 0])[2], 8.0 + off)


@pytest.mark.parametrize(("off", "even"), [(0.06, True), (0.08, False)])
def test_frames_are_even_within_a_tenth_of_their_smallest_step(off: float, even: bool) -> None:
    """Pixels of 0.7 x 0.9 mm beside the image's own; frames 2 mm apart, the second one off its place."""
    frames = rows(*(row(z, between=2) for z in (10.7, 12.7 + off, 14.7)))
    frames[:, 0] += 0.3  # mm: on no voxel of the image
    if even:
        assert stacked("f", frames, (6, 5), IMAGE)[1].tolist() == [0, 1, 2]
    else:
        with pytest.raises(GeometryError, match="not evenly"):
            stacked("f", frames, (6, 5), IMAGE)
