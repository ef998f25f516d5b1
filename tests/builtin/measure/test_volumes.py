import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.builtin.measure.volumes import INTENSITIES, Volumes
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Source, Unit, Volume

SPHERE_ML = 4 / 3 * np.pi * 20**3 / 1000  # 33.51
ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*order)
]
OBLIQUE = np.array(
    [
        [0.66, -0.31, 0.42, -40.0],
        [0.28, 0.71, 0.35, -55.0],
        [-0.30, -0.12, 1.90, -30.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def measured(volume: Volume, segmentation: Segmentation) -> dict[tuple[str, str], Measured]:
    rows = Volumes.check(
        Volumes()(volume, segmentation, Prediction(segmentation=segmentation)), segmentation=segmentation
    )
    assert len({(row.label, row.quantity) for row in rows}) == len(rows)
    return {(row.label, row.quantity): row for row in rows}


def ball(grid: Grid, *, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.asarray(((places - centre) ** 2).sum(axis=-1) <= radius**2)


def one_label(
    mask: np.ndarray, grid: Grid, *, image: np.ndarray | None = None
) -> tuple[Volume, Segmentation]:
    labels = LabelTable((Label(1, "thing"),))
    volume = Volume(mask[None].astype(np.int16) if image is None else image[None], grid)
    return volume, Segmentation.from_masks({"thing": mask}, grid, labels)


def number(row: Measured) -> float:
    assert isinstance(row.value, int | float)
    return float(row.value)


def test_sphere_of_20_mm_radius_is_33_5_ml_on_a_fine_grid() -> None:
    grid = Grid((90, 90, 90), np.diag([0.5, 0.5, 0.5, 1]))
    rows = measured(*one_label(ball(grid, centre=(22.25, 22.25, 22.25), radius=20), grid))
    assert number(rows["thing", "volume"]) == pytest.approx(SPHERE_ML, rel=0.01)
    assert rows["thing", "volume"].unit == "mL"
    assert rows["thing", "volume"].flag == ""
    assert rows["thing", "truncated"].value == "false"
    for axis in "xyz":
        assert number(rows["thing", f"centroid_{axis}"]) == pytest.approx(22.25, abs=1e-9)


def test_sphere_on_an_oblique_anisotropic_grid_has_its_volume_centroid_and_extent() -> None:
    grid = Grid((110, 100, 50), OBLIQUE)
    centre = grid.centre
    rows = measured(*one_label(ball(grid, centre=tuple(centre), radius=20), grid))
    assert number(rows["thing", "volume"]) == pytest.approx(SPHERE_ML, rel=0.01)
    for axis, middle in zip("xyz", centre, strict=True):
        assert number(rows["thing", f"centroid_{axis}"]) == pytest.approx(middle, abs=1e-6)
        assert number(rows["thing", f"bbox_min_{axis}"]) == pytest.approx(middle - 20, abs=1.5)
        assert number(rows["thing", f"bbox_max_{axis}"]) == pytest.approx(middle + 20, abs=1.5)


def test_centroid_and_boxes_equal_those_of_all_voxel_positions() -> None:
    rng = np.random.default_rng(7)
    grid = Grid((9, 8, 7), OBLIQUE)
    mask = np.zeros(grid.shape, bool)
    mask[1:6, 2:7, 1:5] = rng.random((5, 5, 4)) < 0.3
    rows = measured(*one_label(mask, grid))
    index = np.argwhere(mask)
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    places = grid.to_world((index[:, None] + corners).reshape(-1, 3))
    for at, axis in enumerate("xyz"):
        assert number(rows["thing", f"centroid_{axis}"]) == pytest.approx(grid.to_world(index).mean(0)[at])
        assert number(rows["thing", f"bbox_min_{axis}"]) == pytest.approx(places.min(0)[at])
        assert number(rows["thing", f"bbox_max_{axis}"]) == pytest.approx(places.max(0)[at])
    for at, axis in enumerate("ijk"):
        assert rows["thing", f"bbox_min_{axis}"].value == index.min(0)[at]
        assert rows["thing", f"bbox_max_{axis}"].value == index.max(0)[at]


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, ">i2"])
def test_intensities_equal_those_of_numpy(dtype: str) -> None:
    rng = np.random.default_rng(3)
    grid = Grid((20, 21, 22), np.eye(4))
    image = (rng.random(grid.shape) * 200).astype(dtype)
    mask = rng.random(grid.shape) < 0.1
    rows = measured(*one_label(mask, grid, image=image))
    inside = image[mask]
    expected = {
        "mean": inside.mean(dtype=float),
        "sd": inside.std(dtype=float),
        "min": inside.min(),
        "max": inside.max(),
    }
    percentiles = np.percentile(inside.astype(np.float64), (5, 25, 50, 75, 95))
    expected |= {f"p{p}": value for p, value in zip((5, 25, 50, 75, 95), percentiles, strict=True)}
    for name, value in expected.items():
        assert number(rows["thing", f"intensity_{name}"]) == pytest.approx(float(value), rel=1e-12), name


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("chunk", [1 << 20, 500])
def test_intensities_of_every_value_of_16_bits_equal_those_of_numpy(
    dtype: type[np.integer[Any]], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.builtin.measure.volumes.CHUNK_VALUES", chunk)
    grid, info = Grid((20, 21, 22), np.eye(4)), np.iinfo(dtype)
    image = np.random.default_rng(4).integers(info.min, info.max, grid.shape, dtype, endpoint=True)
    image[0, 0, :2] = info.min, info.max
    rows = measured(*one_label(np.ones(grid.shape, bool), grid, image=image))
    values = image.astype(np.float64)
    expected = [values.mean(), values.std(), values.min(), values.max()]
    expected += np.percentile(values, (5, 25, 50, 75, 95)).tolist()
    found = [number(rows["thing", f"intensity_{name}"]) for name in INTENSITIES]
    assert found == pytest.approx(expected, rel=1e-12)


def test_deviation_of_many_large_values_is_exact() -> None:
    grid = Grid((128, 128, 80), np.eye(4))  # more voxels than one chunk
    image = np.where(np.indices(grid.shape).sum(0) % 2, 1e6 + 1, 1e6 - 1).astype(np.float32)
    rows = measured(*one_label(np.ones(grid.shape, bool), grid, image=image))
    assert number(rows["thing", "intensity_sd"]) == pytest.approx(1.0, rel=1e-9)


def test_intensities_of_ct_are_in_hounsfield_units_and_of_others_have_none() -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    volume, segmentation = one_label(ball(grid, centre=(1.5, 1.5, 1.5), radius=1), grid)
    assert measured(volume, segmentation)["thing", "intensity_mean"].unit == ""
    ct = volume.replace(source=Source(grid, "NIfTI", modality="CT"))
    assert measured(ct, segmentation)["thing", "intensity_p50"].unit == "HU"


def test_values_that_are_not_finite_are_left_out_and_flagged() -> None:
    grid = Grid((3, 3, 3), np.eye(4))
    mask = np.zeros(grid.shape, bool)
    mask[1, 1, :] = True
    image = np.ones(grid.shape, np.float32)
    image[1, 1, 0], image[1, 1, 1] = np.nan, np.inf
    rows = measured(*one_label(mask, grid, image=image))
    assert rows["thing", "intensity_mean"].value == 1.0
    assert rows["thing", "intensity_mean"].flag == "2 voxels not finite"
    image[1, 1, 2] = np.nan
    assert measured(*one_label(mask, grid, image=image))["thing", "intensity_max"].value is None


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_all_48_orientations_give_the_same_rows_of_the_body(codes: str) -> None:
    grid = Grid((6, 7, 8), OBLIQUE)
    mask = np.zeros(grid.shape, bool)
    mask[4:, :3, 2:5] = True  # RAS: touches right and posterior
    volume, segmentation = one_label(mask, grid, image=np.arange(mask.size).reshape(grid.shape))
    turned = grid.reoriented(codes)
    assert grid.axis_codes == "RAS"
    rows = measured(volume.onto(turned), segmentation.onto(turned))
    assert rows["thing", "truncated"].value == "true"
    assert rows["thing", "truncated"].flag == "truncated: right, posterior"
    assert rows["thing", "volume"].flag == "truncated: right, posterior"
    for key, row in measured(volume, segmentation).items():
        if not key[1].startswith("bbox_") or key[1][-1] in "xyz":
            assert rows[key].value == pytest.approx(row.value), key


def test_sphere_partly_outside_is_flagged_and_smaller() -> None:
    grid = Grid((50, 50, 30), np.eye(4))
    rows = measured(*one_label(ball(grid, centre=(24.5, 24.5, 29.5), radius=20), grid))
    assert rows["thing", "volume"].flag == "truncated: superior"
    assert number(rows["thing", "volume"]) == pytest.approx(SPHERE_ML / 2, rel=0.02)


def test_label_that_is_nowhere_is_a_flagged_row_of_every_quantity() -> None:
    grid = Grid((5, 5, 5), np.eye(4))
    labels = LabelTable((Label(3, "spleen"), Label(2, "liver")))
    mask = ball(grid, centre=(2, 2, 2), radius=1)
    segmentation = Segmentation.from_masks({"spleen": mask}, grid, labels)
    rows = measured(Volume(np.zeros((1, 5, 5, 5)), grid), segmentation)
    assert rows["liver", "volume"].value == 0.0
    assert rows["liver", "voxels"].value == 0
    of = {
        name: [(q, r.unit) for (label, q), r in rows.items() if label == name] for name in ("spleen", "liver")
    }
    assert sorted(of["liver"]) == sorted(of["spleen"])
    empty = [row for (label, _), row in rows.items() if label == "liver"]
    assert {row.flag for row in empty} == {"empty"}
    assert {row.value for row in empty} == {0, None}


def test_picture_without_a_scale_has_an_area_and_its_edges_are_named() -> None:
    grid = Grid((8, 6, 1), np.diag([-1, -1, 1, 1]), "px")
    mask = np.zeros(grid.shape, bool)
    mask[2:5, :2] = True
    rows = measured(*one_label(mask, grid))
    assert (rows["thing", "area"].value, rows["thing", "area"].unit) == (6.0, "px²")
    assert rows["thing", "area"].flag == "truncated: top edge"
    assert ("thing", "volume") not in rows


def test_picture_with_a_scale_has_an_area_in_square_millimetres() -> None:
    grid = Grid((8, 6, 1), np.diag([-0.5, -0.5, 0.5, 1]))
    mask = np.zeros(grid.shape, bool)
    mask[:3, 1:3] = True
    volume, segmentation = one_label(mask, grid)
    rows = measured(volume.replace(source=Source(grid, "PNG")), segmentation)
    assert (rows["thing", "area"].value, rows["thing", "area"].unit) == (1.5, "mm²")
    assert rows["thing", "area"].flag == "truncated: left edge"


@pytest.mark.parametrize(("unit", "quantity", "value"), [("px", "px³", 8.0), ("mm", "mL", 0.008)])
def test_stack_without_a_scale_is_not_said_in_millilitres(unit: Unit, quantity: str, value: float) -> None:
    grid = Grid((4, 4, 4), np.eye(4), unit)
    mask = np.zeros(grid.shape, bool)
    mask[1:3, 1:3, 1:3] = True
    row = measured(*one_label(mask, grid))["thing", "volume"]
    assert number(row) == pytest.approx(value)
    assert row.unit == quantity


def test_single_slice_with_a_scale_is_flagged_but_not_as_truncated_through_itself() -> None:
    grid = Grid((5, 5, 1), np.diag([1, 1, 5, 1]))
    mask = np.zeros(grid.shape, bool)
    mask[1:3, 1:3] = True
    rows = measured(*one_label(mask, grid))
    assert rows["thing", "volume"].value == pytest.approx(0.02)
    assert rows["thing", "volume"].flag == "one slice"
    assert rows["thing", "truncated"].value == "false"


def test_overlapping_layers_and_values_beyond_the_searched_range() -> None:
    grid = Grid((6, 6, 6), np.eye(4))
    labels = LabelTable((Label(70_000, "organ"), Label(4_000_000_000, "body", layer=1)))
    organ = ball(grid, centre=(2, 2, 2), radius=1)
    segmentation = Segmentation.from_masks({"organ": organ, "body": np.ones(grid.shape, bool)}, grid, labels)
    rows = measured(Volume(np.zeros((1, 6, 6, 6)), grid), segmentation)
    assert rows["organ", "voxels"].value == 7
    assert rows["body", "voxels"].value == 216


def test_layer_of_objects_is_measured_by_label() -> None:
    grid = Grid((6, 6, 6), np.eye(4))
    array = np.zeros((1, *grid.shape), np.uint32)
    array[0, 1, 1, 1], array[0, 3, 3, 3:5], array[0, 2, 2, 2] = 1, 5_000_000, 9
    things = (Object(1, "cell"), Object(5_000_000, "cell"), Object(9, "debris"))
    segmentation = Segmentation(
        array, grid, LabelTable((Label(1, "cell"), Label(2, "debris"))), ("objects",), things
    )
    rows = measured(Volume(np.zeros((1, 6, 6, 6)), grid), segmentation)
    assert rows["cell", "voxels"].value == 3
    assert rows["debris", "voxels"].value == 1
    assert rows["cell", "bbox_max_k"].value == 4


def test_arrays_given_stay_as_they_are() -> None:
    rng = np.random.default_rng(1)
    grid = Grid((8, 8, 8), np.eye(4))
    image = rng.random(grid.shape)
    volume, segmentation = one_label(rng.random(grid.shape) < 0.5, grid, image=image.copy())
    measured(volume, segmentation)
    assert np.array_equal(volume.array[0], image)


def test_real_ct_agrees_with_a_count_by_hand(real_data: Path) -> None:
    import nibabel

    image = nibabel.load(real_data / "ct_totalseg_A/ct.nii.gz")
    found = np.asarray(nibabel.load(real_data / "ct_totalseg_A/seg_total_fast3mm.nii.gz").dataobj)
    grid = Grid(found.shape, image.affine)
    values = np.asarray(image.dataobj)
    labels = LabelTable(tuple(Label(int(v), f"structure {v}") for v in np.unique(found) if v))
    rows = measured(Volume(values[None], grid), Segmentation(found[None].astype(np.uint8), grid, labels))
    assert number(rows["structure 5", "volume"]) == pytest.approx(41692 * 27 / 1000, rel=1e-6)  # the liver
    assert number(rows["structure 5", "intensity_mean"]) == pytest.approx(values[found == 5].mean())
    assert rows["structure 5", "truncated"].flag == "truncated: superior"
    assert rows["structure 21", "truncated"].value == "false"  # the bladder


def test_soft_and_member_volumes_are_those_of_the_prediction() -> None:
    grid = Grid((10, 10, 10), np.diag([1.0, 2.0, 5.0, 1.0]))
    mask = np.zeros(grid.shape, bool)
    mask[2:6, 2:7, 1:3] = True
    volume, segmentation = one_label(mask, grid)
    larger = segmentation.with_mask("thing", mask | np.roll(mask, 1, axis=0))
    prediction = Prediction(segmentation=larger, members=(segmentation, larger), soft_ml={"thing": 0.37})
    rows = {row.quantity: row for row in Volumes(soft=True, members=True)(volume, segmentation, prediction)}
    assert (rows["soft_volume"].value, rows["soft_volume"].unit) == (0.37, "mL")
    assert rows["members_volume"].interval == pytest.approx((0.40, 0.50))
    assert rows["members_volume"].value == pytest.approx(0.45)
    assert rows["volume"].value == pytest.approx(0.40)


def test_what_the_segmenter_does_not_give_is_said_and_not_asked_for_by_itself() -> None:
    volume, segmentation = one_label(np.ones((3, 3, 3), bool), Grid((3, 3, 3), np.eye(4)))
    bare = Prediction(segmentation=segmentation)
    rows = {row.quantity: row for row in Volumes(soft=True, members=True)(volume, segmentation, bare)}
    for quantity in ("soft_volume", "members_volume"):
        assert (rows[quantity].value, rows[quantity].flag) == (None, "not given")
    plain = {row.quantity for row in Volumes()(volume, segmentation, bare)}
    assert not plain & {"soft_volume", "members_volume"}
    assert Volumes().wants == Wanted()
    assert Volumes(soft=True, members=True).wants == Wanted(
        members=True, reductions=frozenset({"soft-volume"})
    )
