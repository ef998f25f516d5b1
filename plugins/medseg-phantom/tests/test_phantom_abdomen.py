"""The trained model on phantoms that it was not trained on, against their exact truth."""

from functools import cache

import numpy as np
import pytest

import medseg
from medseg.segmentation import Segmentation
from medseg.testing.abdomen import ORGANS, Phantom, abdomen, scan_grid
from medseg.volume import Volume

SEED = 31_000_000  # training counts up from 0, evaluation from 800 000
TUMOUR = "liver tumour"
ORGANS_ONLY = tuple(label.name for label in ORGANS if label.name != TUMOUR)


@cache
def scanned(case: int) -> Phantom:
    """Three scans that have little in common but the part of the body; small ones, for few windows."""
    if case == 0:
        grid = scan_grid(spacing=(2.6, 2.6, 4.0), extent_mm=(358.0, 300.0, 270.0), codes="LPI")
        return abdomen(SEED, grid=grid, phase="portal", tumours=4, noise_hu=12.0)
    if case == 1:
        tilt = (4.0, -3.0, 6.0)
        grid = scan_grid(spacing=(2.4, 2.4, 5.0), extent_mm=(350.0, 300.0, 190.0), codes="SRP", tilt_deg=tilt)
        return abdomen(SEED + 1, grid=grid, phase="arterial", tumours=3, noise_hu=18.0)
    grid = scan_grid(spacing=(3.6, 3.6, 2.2), extent_mm=(340.0, 300.0, 190.0), codes="LAI")
    return abdomen(SEED + 2, grid=grid, phase="delayed", tumours=0, noise_hu=8.0)


@cache
def found(case: int) -> Segmentation:
    return segment(scanned(case).volume)


def segment(volume: Volume) -> Segmentation:
    return medseg.segment(volume, model="phantom-abdomen").segmentation


def dice(a: Segmentation, b: Segmentation, label: str) -> float:
    x, y = a.mask(label), b.mask(label)
    return float(2 * (x & y).sum() / (x.sum() + y.sum()))


def middle_mm(segmentation: Segmentation, label: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The centre of a label in the world, in mm: x towards the right, y forward, z up."""
    return np.asarray(segmentation.grid.to_world(np.argwhere(segmentation.mask(label))).mean(axis=0))


@pytest.mark.parametrize("case", [0, 1, 2])
def test_organs_overlap_their_truth(case: int) -> None:
    scores = {name: dice(found(case), scanned(case).truth, name) for name in ORGANS_ONLY}
    assert min(scores.values()) > 0.9, scores
    assert np.mean(list(scores.values())) > 0.95, scores


@pytest.mark.parametrize("case", [0, 1])
def test_tumours_overlap_their_truth(case: int) -> None:
    assert dice(found(case), scanned(case).truth, TUMOUR) > 0.8


def test_a_liver_without_tumours_has_none() -> None:
    assert found(2).mask(TUMOUR).sum() * found(2).grid.voxel_ml < 0.5


@pytest.mark.parametrize("case", [0, 1, 2])
def test_volumes_are_near_the_exact_ones(case: int) -> None:
    true_ml = scanned(case).volumes_ml
    errors = {
        name: abs(found(case).mask(name).sum() * found(case).grid.voxel_ml / true_ml[name] - 1)
        for name in ORGANS_ONLY
    }
    assert float(np.median(list(errors.values()))) < 0.05, errors
    assert max(errors.values()) < 0.15, errors


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_left_is_left_whatever_the_order_of_the_axes(codes: str) -> None:
    straight = small()
    truth = straight.truth.onto(straight.truth.grid.reoriented(codes))
    turned = segment(straight.volume.reorient(codes))
    assert turned.grid.axis_codes == codes
    spine = middle_mm(turned, "spine")[0]
    for organ in ("kidney", "lung"):
        left, right = f"left {organ}", f"right {organ}"
        assert middle_mm(turned, left)[0] + 30 < spine < middle_mm(turned, right)[0] - 30
        assert not (turned.mask(left) & truth.mask(right)).any()
        assert dice(turned, truth, left) > 0.9
        assert dice(turned, truth, right) > 0.9


def test_scans_with_axes_in_another_order_get_the_same_voxels() -> None:
    volume = small().volume
    codes = volume.grid.axis_codes
    turned = segment(volume.reorient("PSL"))
    there_and_back = turned.onto(turned.grid.reoriented(codes))
    assert (there_and_back.array != segment(volume).array).mean() < 1e-3  # sums in another order


@cache
def small() -> Phantom:
    """Half a trunk at 3 mm, to be segmented in a second."""
    grid = scan_grid(spacing=(3.0, 3.0, 3.0), extent_mm=(360.0, 300.0, 189.0), codes="LAS")
    return abdomen(SEED + 3, grid=grid, phase="portal", tumours=1)
