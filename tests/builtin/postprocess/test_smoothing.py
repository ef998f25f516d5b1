from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.postprocess.smoothing import Smoothing
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


def rough(mask: np.ndarray[Any, Any], seed: int = 0) -> np.ndarray[Any, Any]:
    """The mask with a fifth of the voxels at its outline turned over."""
    from scipy.ndimage import binary_dilation, binary_erosion

    rim = binary_dilation(mask) & ~binary_erosion(mask)
    return np.asarray(mask ^ (rim & (np.random.default_rng(seed).random(mask.shape) < 0.2)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5)])
def test_a_rough_sphere_becomes_the_sphere_and_keeps_its_volume(
    spacing: tuple[float, float, float],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    grid = oblique(tuple(round(44 / s) for s in spacing), spacing)
    true = sphere(grid, (np.asarray(grid.shape) - 1) / 2, 16)
    before = labelled(grid, liver=rough(true))
    after = Smoothing(sigma_mm=3)(before, any_image(before)).mask("liver")
    assert after.sum() == before.mask("liver").sum()
    assert (after ^ true).sum() < 0.5 * (before.mask("liver") ^ true).sum()


def test_a_small_ball_does_not_shrink(
    straight: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    """A Gaussian of 3 mm at a fixed level takes half of a ball of 5 mm."""
    grid = straight((30, 30, 30))
    ball = sphere(grid, (14.5, 14.5, 14.5), 5)
    before = labelled(grid, a=ball)
    after = Smoothing(sigma_mm=3)(before, any_image(before)).mask("a")
    assert after.sum() == ball.sum()
    assert (after & ball).sum() > 0.95 * ball.sum()


def test_spikes_go_and_notches_are_filled(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((40, 24, 24), bool)
    mask[4:28, 4:20, 4:20] = True
    mask[28:36, 12, 12] = True
    mask[12, 16:20, 12] = False
    before = labelled(straight(mask.shape), a=mask)
    after = Smoothing(sigma_mm=2)(before, any_image(before)).mask("a")
    assert not after[31:].any()
    assert after[12, 16:19, 12].all()
    assert after.sum() == mask.sum()


def test_steps_between_slices_of_a_cone_become_smaller(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    """Where two thick slices were drawn from one, the radius jumps; afterwards it grows evenly."""
    grid = straight((60, 60, 16), (1.0, 1.0, 2.0))
    radius = 6 + 2 * np.repeat(np.arange(8), 2)
    i, j = np.indices((60, 60)) - 29.5
    mask = np.hypot(i, j)[..., None] <= radius
    before = labelled(grid, a=mask)
    after = Smoothing(sigma_mm=3)(before, any_image(before)).mask("a")
    radii = np.sqrt(after.sum(axis=(0, 1)) / np.pi)[3:-3]
    assert np.abs(np.diff(radii) - 1).max() < 0.5


def test_an_organ_cut_by_the_border_is_not_rounded_there(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((24, 24, 20), bool)
    i, j = np.indices((24, 24)) - 11.5
    mask[np.hypot(i, j) <= 8] = True
    before = labelled(straight(mask.shape), a=mask)
    after = Smoothing(sigma_mm=3)(before, any_image(before)).mask("a")
    assert np.ptp(after.sum(axis=(0, 1))) <= 4  # but for voxels of equal depth, of which some are taken


def test_neighbours_stay_and_the_volume_is_kept_elsewhere(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    a, b = np.zeros((2, 24, 24, 24), bool)
    a[4:20, 4:12, 4:20], b[4:20, 12:20, 4:20] = True, True
    before = labelled(straight((24, 24, 24)), a=rough(a) & ~b, b=b)
    after = Smoothing(sigma_mm=2, labels=("a",))(before, any_image(before))
    assert np.array_equal(after.mask("b"), b)
    assert after.mask("a").sum() == before.mask("a").sum()


def test_one_slice_a_full_image_and_no_voxel(labelled: Labelled, any_image: AnyImage) -> None:
    flat = Grid((30, 30, 1), np.diag([1.0, 1.0, 0.1, 1.0]))
    i, j = np.indices((30, 30)) - 14.5
    disc = (np.hypot(i, j) <= 9)[..., None]
    before = labelled(flat, a=rough(disc))
    after = Smoothing(sigma_mm=2)(before, any_image(before)).mask("a")
    assert (after ^ disc).sum() < (before.mask("a") ^ disc).sum()
    full = labelled(Grid((4, 4, 4), np.eye(4)), a=np.ones((4, 4, 4), bool), b=np.zeros((4, 4, 4), bool))
    assert np.array_equal(Smoothing(sigma_mm=2)(full, any_image(full)).array, full.array)


def test_sheared_grids_pixels_objects_and_wrong_parameters_are_refused(
    refuses_alike: Callable[..., None],
) -> None:
    refuses_alike(Smoothing(sigma_mm=2), "smooth-surface", "sigma_mm")
    for parameters in ({}, {"sigma_mm": 0}, {"sigma_mm": 200}):
        with pytest.raises(ValidationError):
            Smoothing.model_validate(parameters)
