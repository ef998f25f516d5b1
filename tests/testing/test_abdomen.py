"""The abdominal phantom: sides, places, Hounsfield units, volumes, and what a seed changes."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Segmentation
from medseg.testing.abdomen import ORGANS, TISSUES, Phantom, abdomen, scan_grid
from medseg.volume import Grid

SPACING = (4.0, 4.0, 4.0)
EXTENT = (400.0, 400.0, 300.0)


@cache
def phantom(seed: int, codes: str = "LPS", noise_hu: float = 10.0) -> Phantom:
    grid = scan_grid(spacing=SPACING, extent_mm=EXTENT, codes=codes)
    return abdomen(seed, grid=grid, phase="portal", tumours=3, noise_hu=noise_hu)


def centroid(found: Segmentation, label: str) -> NDArray[np.float64]:
    return np.asarray(found.grid.to_world(np.argwhere(found.mask(label)).mean(axis=0)))


def eroded(mask: NDArray[np.bool_], times: int = 1) -> NDArray[np.bool_]:
    from scipy import ndimage

    return np.asarray(ndimage.binary_erosion(mask, iterations=times))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAL"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_organs_lie_where_they_lie_in_a_patient(seed: int, codes: str) -> None:
    case = phantom(seed, codes)
    where = {label.name: centroid(case.truth, label.name) for label in ORGANS}
    body = centroid(case.tissues, "body")
    right, front, head = range(3)
    assert where["liver"][right] > body[right] + 30
    assert where["spleen"][right] < body[right] - 60
    for pair in ("kidney", "lung"):
        assert where[f"right {pair}"][right] > body[right] + 40
        assert where[f"left {pair}"][right] < body[right] - 40
    assert where["aorta"][right] < where["spine"][right]
    assert where["spine"][front] < where["aorta"][front] < body[front] + 10
    assert where["spine"][front] < body[front] - 30
    assert min(where["left lung"][head], where["right lung"][head]) > where["liver"][head] + 20
    assert where["liver"][head] > where["right kidney"][head]


def test_the_image_agrees_about_the_sides_without_asking_the_truth() -> None:
    """A second reading: the largest piece as bright as a liver is on the patient's right, bone is behind."""
    import cc3d

    case = phantom(1, "LPS", 0.0)
    upright = case.volume.reorient("RAS")
    k = round(float(upright.grid.to_index(centroid(case.truth, "liver"))[2]))
    plane = upright.array[0, :, :, k]
    largest = cc3d.largest_k(eroded((plane > 85) & (plane < 130)), k=1, connectivity=4)
    assert np.argwhere(largest)[:, 0].mean() > plane.shape[0] / 2 + 8  # +x is right
    bony = np.argwhere(plane > 300)
    assert np.median(bony[:, 1]) < plane.shape[1] / 2  # +y is front


@pytest.mark.parametrize("seed", range(6))
def test_volumes_are_those_of_an_adult(seed: int) -> None:
    ml = phantom(seed).volumes_ml
    assert 1200 < ml["liver"] < 2000
    assert 140 < ml["spleen"] < 270
    assert 125 < ml["left kidney"] < 210
    assert 125 < ml["right kidney"] < 210
    assert 60 < ml["aorta"] < 160
    assert 400 < ml["bone"] < 1000
    assert ml["subcutaneous fat"] > 1000
    assert ml["visceral fat"] > 1000
    assert ml["muscle"] > 1200
    assert 13_000 < ml["body"] < 26_000


def test_hounsfield_units_are_those_of_the_tissues() -> None:
    case = phantom(3)
    image = case.volume.array[0]

    def mean(found: Segmentation, label: str) -> float:
        return float(image[eroded(found.mask(label))].mean())

    assert mean(case.truth, "liver") == pytest.approx(106, abs=12)
    assert mean(case.truth, "spleen") == pytest.approx(120, abs=14)
    assert mean(case.truth, "aorta") == pytest.approx(195, abs=25)
    assert mean(case.truth, "liver tumour") == pytest.approx(56, abs=16)
    assert mean(case.tissues, "left lung") == pytest.approx(-850, abs=40)
    assert mean(case.tissues, "subcutaneous fat") == pytest.approx(-104, abs=8)
    assert mean(case.tissues, "visceral fat") == pytest.approx(-97, abs=12)
    assert mean(case.tissues, "muscle") == pytest.approx(57, abs=12)
    assert mean(case.tissues, "bone") > 180
    assert image.min() >= -1024


def test_phases_enhance_in_their_order() -> None:
    grid = scan_grid(spacing=(6.0, 6.0, 6.0))
    aorta = {}
    for phase in ("native", "arterial", "portal", "delayed"):
        case = abdomen(5, grid=grid, phase=phase, noise_hu=0.0)
        aorta[phase] = float(np.median(case.volume.array[0][case.truth.mask("aorta")]))
    assert aorta["native"] < aorta["delayed"] < aorta["portal"] < aorta["arterial"]


@pytest.mark.parametrize("seed", range(8))
def test_tumours_lie_fully_inside_the_liver(seed: int) -> None:
    import cc3d
    from scipy import ndimage

    case = abdomen(seed, grid=scan_grid(spacing=(3.0, 3.0, 3.0), extent_mm=(330, 330, 260)), tumours=3)
    tumour, liver = case.truth.mask("liver tumour"), case.truth.mask("liver")
    assert cc3d.connected_components(tumour).max() == 3
    around = ndimage.binary_dilation(tumour, np.ones((3, 3, 3))) & ~tumour
    assert liver[around].all()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_there_are_as_many_tumours_as_asked_for(count: int) -> None:
    import cc3d

    case = abdomen(4, grid=scan_grid(spacing=(4.0, 4.0, 3.0)), tumours=count)
    assert cc3d.connected_components(case.truth.mask("liver tumour")).max() == count
    assert (case.volumes_ml["liver tumour"] > 0) == (count > 0)


def test_masks_hold_the_exact_volume() -> None:
    """Independent of the painted fractions: at 2 mm, counting voxels comes close to them."""
    case = abdomen(2, grid=scan_grid(spacing=(2.0, 2.0, 3.0), extent_mm=(330, 330, 250)), tumours=2)
    for label in ("liver", "left kidney", "right kidney", "spleen", "aorta"):
        counted = case.truth.mask(label).sum() * case.truth.grid.voxel_ml
        assert counted == pytest.approx(case.volumes_ml[label], rel=0.02), label


def test_volumes_do_not_depend_on_the_grid() -> None:
    coarse = abdomen(7, grid=scan_grid(spacing=(5.0, 5.0, 5.0), extent_mm=EXTENT), tumours=1).volumes_ml
    fine = abdomen(7, grid=scan_grid(spacing=(2.5, 2.5, 3.0), extent_mm=EXTENT), tumours=1).volumes_ml
    for label in ("liver", "left kidney", "right kidney", "spleen", "liver tumour"):
        assert coarse[label] == pytest.approx(fine[label], rel=0.03), label


def test_one_seed_is_one_patient_on_any_grid() -> None:
    upright = phantom(1, "LPS", 0.0)
    tilted = scan_grid(spacing=(4.0, 4.0, 5.0), extent_mm=EXTENT, codes="RAS", tilt_deg=(12.0, -7.0, 20.0))
    other = abdomen(1, grid=tilted, phase="portal", tumours=3, noise_hu=0.0)
    back = other.truth.onto(upright.truth.grid)
    for label in ("liver", "spleen", "left kidney", "right kidney"):
        first, second = upright.truth.mask(label), back.mask(label)
        dice = 2 * (first & second).sum() / (first.sum() + second.sum())
        assert dice > 0.93, label


def test_axis_order_does_not_change_the_patient() -> None:
    one = phantom(0, "LPS", 0.0).volume.reorient("RAS").array
    other = phantom(0, "SAL", 0.0).volume.reorient("RAS").array
    assert np.abs(one.astype(int) - other).max() <= 3  # rounding of float32 and of whole HU at steep borders


def test_a_seed_gives_the_same_bits_and_another_seed_another_patient() -> None:
    grid = scan_grid(spacing=(6.0, 6.0, 8.0))
    first, again, other = (abdomen(seed, grid=grid) for seed in (11, 11, 12))
    assert np.array_equal(first.volume.array, again.volume.array)
    assert np.array_equal(first.truth.array, again.truth.array)
    assert first.volumes_ml == again.volumes_ml
    assert (first.truth.array != other.truth.array).mean() > 0.01


def test_noise_has_the_deviation_asked_for_and_leaves_the_truth_alone() -> None:
    noisy, clean = phantom(0, "LPS", 12.0), phantom(0, "LPS", 0.0)
    difference = noisy.volume.array[0].astype(float) - clean.volume.array[0]
    assert difference[clean.tissues.mask("body")].std() == pytest.approx(12, rel=0.03)
    assert np.array_equal(noisy.truth.array, clean.truth.array)


def test_the_table_lies_below_the_back_and_is_not_body() -> None:
    case = phantom(2, "RAS", 0.0)
    image, body = case.volume.array[0], case.tissues.mask("body")
    for k in (10, 40, 70):
        i = round(float(case.volume.grid.to_index(centroid(case.tissues, "body"))[0]))
        column = image[i, :, k]
        back = int(np.argmax(body[i, :, k]))
        below = column[:back]
        assert below.max() > -700  # the plate
        assert below[-1] < -600  # a gap of air
        assert np.argmax(below > -700) < back - 2


def test_tissues_are_one_inside_the_body_and_every_label_is_there() -> None:
    case = phantom(5)
    body = case.tissues.mask("body")
    for label in TISSUES:
        mask = case.tissues.mask(label.name)
        assert mask.sum() > 1000, label.name
        assert not (mask & ~body).any(), label.name
    for label in ORGANS:
        assert case.truth.mask(label.name).any(), label.name
    assert ORGANS["left kidney"].pair == "right kidney"
    assert ORGANS["liver"].code == "SCT:10200004"


def test_grids_vary_by_chance_when_none_is_given() -> None:
    grids = [abdomen(seed).volume.grid for seed in (0, 1)]
    assert grids[0].axis_codes != grids[1].axis_codes or grids[0].shape != grids[1].shape
    assert all(2 < grid.spacing[0] < 3.5 for grid in grids)


def test_scan_grid_is_what_was_asked_for() -> None:
    grid = scan_grid(spacing=(2.0, 3.0, 5.0), extent_mm=(200.0, 300.0, 100.0), codes="SPL", centre=(1, 2, 3))
    assert grid.axis_codes == "SPL"
    assert grid.shape == (20, 100, 100)
    assert grid.spacing == pytest.approx((5, 3, 2))
    assert grid.centre == pytest.approx([1, 2, 3])
    tilted = scan_grid(tilt_deg=(0, 0, 10), centre=(0, 0, 0))
    first = tilted.affine[:3, 0] / tilted.spacing[0]
    assert first == pytest.approx([-np.cos(np.radians(10)), -np.sin(np.radians(10)), 0])  # "L" turned about z


def test_a_grid_that_misses_the_patient_sees_air() -> None:
    case = abdomen(0, grid=scan_grid(spacing=(8.0, 8.0, 8.0), centre=(5000, 0, 0)), noise_hu=0.0)
    assert (case.volume.array == -1000).all()
    assert not case.truth.array.any()
    assert case.volumes_ml["liver"] == 0


def test_a_single_slice_will_do() -> None:
    case = abdomen(0, grid=scan_grid(spacing=(3.0, 3.0, 5.0), extent_mm=(390, 390, 5)), noise_hu=0.0)
    assert case.volume.grid.shape[2] == 1
    assert case.truth.mask("liver").sum() > 500


def test_wrong_wishes_are_refused() -> None:
    with pytest.raises(UsageError, match="0 to 5 tumours"):
        abdomen(0, tumours=6)
    with pytest.raises(UsageError, match="no contrast phase 'venous'"):
        abdomen(0, phase="venous")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(UsageError, match="noise"):
        abdomen(0, noise_hu=-1.0)
    with pytest.raises(GeometryError, match="pixels"):
        abdomen(0, grid=Grid((8, 8, 8), np.eye(4), "px"))
