import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a test module

from medseg.builtin.metric.hd95 import Hd95
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Metric
from medseg.volume import Grid

Make = Callable[..., Any]


def monai(one: NDArray[np.bool_], two: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    with warnings.catch_warnings():  # it warns of an argument that it gives itself
        warnings.simplefilter("ignore", FutureWarning)
        found = compute_hausdorff_distance(
            torch.from_numpy(one)[None, None].float(),
            torch.from_numpy(two)[None, None].float(),
            include_background=True,
            percentile=95,
            spacing=spacing,
        )
    return float(found)


def blob(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0.03)


@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (2.0, 0.5, 1.3)], ids=lambda s: f"{s[0]}x{s[1]}x{s[2]}"
)
def test_blobs_are_as_far_apart_as_monai_says(
    straight: Make, oblique: Make, labelled: Make, spacing: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(11)
    for shape in ((24, 20, 16), (9, 31, 12)):
        one, two = blob(rng, shape), blob(rng, shape)
        expected = monai(one, two, spacing)
        for make in (straight, oblique):
            grid = make(shape, spacing)
            (row,) = Hd95()(labelled(grid, a=one), labelled(grid, a=two))
            assert row.value == pytest.approx(expected, rel=1e-6)
            assert (row.quantity, row.unit, row.flag) == ("hd95", "mm", "")


def test_slices_are_as_far_apart_as_monai_says_in_two_dimensions(straight: Make, labelled: Make) -> None:
    rng = np.random.default_rng(12)
    one, two = blob(rng, (40, 30)), blob(rng, (40, 30))
    grid = straight((40, 30, 1), (0.6, 0.9, 7.0))
    (row,) = Hd95()(labelled(grid, a=one[..., None]), labelled(grid, a=two[..., None]))
    assert row.value == pytest.approx(monai(one, two, (0.6, 0.9)), rel=1e-6)


def test_boxes_that_end_where_the_other_does_not(straight: Make, labelled: Make) -> None:
    """A slab of 3 slices and one 8 slices longer: the new end and its sides are up to 8 x 2.5 mm away."""
    grid = straight((30, 30, 20), (1, 1, 2.5))
    short, long = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    short[5:25, 5:25, 2:5] = True
    long[5:25, 5:25, 2:13] = True
    (row,) = Hd95()(labelled(grid, a=short), labelled(grid, a=long))
    assert row.value == pytest.approx(8 * 2.5)


@pytest.mark.parametrize("shift", [3, 7])
def test_a_moved_plane_is_as_far_as_it_was_moved(sheared: Make, labelled: Make, shift: int) -> None:
    """Sheets of one slice, the second moved by whole slices of a tilted CT: apart by their distance at least,
    and nowhere by more than the way along the slanted axis."""
    grid = sheared((40, 40, 16), (1.0, 1.0, 4.0))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[:, :, 2] = two[:, :, 2 + shift] = True
    (row,) = Hd95()(labelled(grid, a=one), labelled(grid, a=two))
    assert isinstance(row.value, float)
    slant = shift * 4 * np.tan(np.radians(15))
    assert 4 * shift <= row.value <= np.hypot(4 * shift, slant) + 1e-9


def test_concentric_spheres_are_apart_by_the_difference_of_their_radii(
    oblique: Make, labelled: Make, sphere: Make
) -> None:
    grid = oblique((70, 70, 40), (0.8, 0.8, 1.5))
    centre = (35, 35, 20)
    small, large = sphere(grid, centre, 18), sphere(grid, centre, 24)
    (row,) = Hd95()(labelled(grid, a=small), labelled(grid, a=large))
    assert row.value == pytest.approx(6, abs=0.8)  # half a voxel's diagonal at each end


def test_a_sphere_moved_a_little_is_apart_by_that_where_it_faces_the_way(
    straight: Make, labelled: Make, sphere: Make
) -> None:
    """Surface points move by d |cos t| along the normal; 95 % of a sphere's area has |cos t| below 0.95."""
    grid = straight((90, 90, 90), (0.5, 0.5, 0.5))
    one, two = sphere(grid, (45, 45, 41), 15), sphere(grid, (45, 45, 49), 15)
    (row,) = Hd95()(labelled(grid, a=one), labelled(grid, a=two))
    assert row.value == pytest.approx(0.95 * 4, abs=0.3)


def test_a_distant_speck_below_five_per_cent_is_forgiven(straight: Make, labelled: Make) -> None:
    grid = straight((60, 30, 30))
    clean = np.zeros(grid.shape, bool)
    clean[5:25, 5:25, 5:25] = True
    speck = clean.copy()
    speck[58, 28, 28] = True
    (row,) = Hd95()(labelled(grid, a=speck), labelled(grid, a=clean))
    assert row.value == 0


def test_single_voxels_are_apart_by_the_way_between_them(oblique: Make, labelled: Make) -> None:
    grid = oblique((10, 10, 10), (1, 2, 3))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[2, 2, 2] = two[5, 4, 3] = True
    (row,) = Hd95()(labelled(grid, a=one), labelled(grid, a=two))
    assert row.value == pytest.approx(np.sqrt(3**2 + 4**2 + 3**2))


def test_empty_masks_have_no_distance(straight: Make, labelled: Make) -> None:
    grid = straight((8, 8, 8))
    none, some = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    some[2:5, 2:5, 2:5] = True
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    assert [(row.value, row.unit, row.flag) for row in Hd95()(prediction, reference)] == [
        (None, "mm", "absent from prediction"),
        (None, "mm", "absent from reference"),
        (None, "mm", "absent from both"),
    ]


def test_pictures_without_a_scale_are_in_pixels(labelled: Make) -> None:
    grid = Grid((12, 12, 1), np.eye(4), "px")
    table = LabelTable((Label(1, "a"),))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[2, 2], two[5, 6] = True, True
    pair = (Segmentation.from_masks({"a": mask}, grid, table) for mask in (one, two))
    (row,) = Hd95()(*pair)
    assert row.value == pytest.approx(5)
    assert row.unit == "px"


def test_low_is_better() -> None:
    assert Hd95.better == "low"
    assert Metric.better == "high"
