import time
from dataclasses import replace

import numpy as np
import pytest
from closed_forms import ball, measured, segmented

from medseg.builtin.measure.lesions import Lesions, is_lesion
from medseg.errors import UsageError
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Source, Volume

GRID = Grid((60, 50, 30), np.diag([1.0, 1.0, 2.0, 1.0]))


def liver_with_tumours() -> Segmentation:
    """A liver of 2 tumours, one more that touches the first face, and a spleen 5 mm beside the liver."""
    liver = np.zeros(GRID.shape, bool)
    liver[:40, 5:45, 4:26] = True
    tumour = ball(GRID, np.array([20.0, 20, 30]), 6) | ball(GRID, np.array([30.0, 35, 30]), 3)
    tumour[0:2, 20:22, 15] = True
    spleen = np.zeros(GRID.shape, bool)
    spleen[45:55, 5:45, 4:26] = True
    return segmented(GRID, liver=liver & ~tumour, liver_tumour=tumour, spleen=spleen)


def test_each_part_has_its_own_rows_the_largest_first() -> None:
    found = measured(Lesions(distance_to=("spleen",)), liver_with_tumours())
    name = "liver tumour"
    assert found[name, None, "lesions"].value == 3
    assert {key[0] for key in found} == {name}
    assert [found[name, n, "voxels"].value for n in (1, 2, 3)] == [455, 71, 4]
    for number, centre, radius in ((1, (20, 20, 30), 6), (2, (30, 35, 30), 3)):
        ml = float(found[name, number, "voxels"].value or 0) * 0.002
        assert found[name, number, "volume"].value == pytest.approx(ml)
        assert ml == pytest.approx(4.189 * radius**3 / 1000, rel=0.03 if radius == 6 else 0.3)
        assert found[name, number, "longest_axial_diameter"].value == pytest.approx(2 * radius, abs=1)
        assert found[name, number, "axial_slice"].value == 15
        place = [found[name, number, f"centroid_{axis}"].value for axis in "xyz"]
        assert place == pytest.approx(list(centre))
        assert found[name, number, "host"].value == "liver"
        assert found[name, number, "truncated"].value == "false"
        assert found[name, number, "distance_to_spleen"].value == pytest.approx(45 - centre[0] - radius)
    assert (found[name, 1, "slice_first"].value, found[name, 1, "slice_last"].value) == (12, 18)


def test_a_lesion_at_the_edge_is_truncated_and_the_flag_says_where() -> None:
    found = measured(Lesions(), liver_with_tumours())
    assert found["liver tumour", 3, "truncated"].value == "true"
    assert found["liver tumour", 3, "volume"].flag == "truncated: left"


def test_connectivity_decides_what_is_one_lesion() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[1, 1, 1] = mask[2, 2, 1] = mask[3, 3, 2] = True  # an edge, then a corner
    only = segmented(Grid(mask.shape, np.eye(4)), anything=mask)
    for connectivity, count in ((6, 3), (18, 2), (26, 1)):
        found = measured(Lesions(connectivity=connectivity), only)
        assert found["anything", None, "lesions"].value == count


def test_small_parts_are_no_lesions_and_many_are_cut_short() -> None:
    segmentation = liver_with_tumours()
    large = measured(Lesions(min_ml=0.01), segmentation)
    assert large["liver tumour", None, "lesions"].value == 2
    first = measured(Lesions(most=1), segmentation)
    assert first["liver tumour", None, "lesions"].value == 3
    assert first["liver tumour", None, "lesions"].flag == "the 2 smallest have no rows"
    assert {number for _, number, _ in first} == {None, 1}


def test_intensities_are_those_under_each_lesion_in_hounsfield_units() -> None:
    segmentation = liver_with_tumours()
    random = np.random.default_rng(1)
    image = random.integers(-100, 200, (1, *GRID.shape)).astype(np.int16)
    volume = Volume(image, GRID, source=Source(GRID, "NIfTI", modality="CT"))
    found = measured(Lesions(), segmentation, volume=volume)
    inside = image[0][ball(GRID, np.array([20.0, 20, 30]), 6)]
    assert found["liver tumour", 1, "intensity_mean"].value == pytest.approx(inside.mean())
    assert found["liver tumour", 1, "intensity_sd"].value == pytest.approx(inside.std())
    assert found["liver tumour", 1, "intensity_mean"].unit == "HU"


def test_the_objects_of_a_layer_keep_their_ids() -> None:
    array = np.zeros((1, 12, 12, 12), np.uint32)
    array[0, 1:3, 1:3, 1:3] = 7
    array[0, 3:7, 3:7, 3:7] = 900  # touches the other: they are told apart all the same
    table = LabelTable((Label(1, "nodule"),))
    things = (Object(7, "nodule"), Object(900, "nodule"), Object(8, "nodule"))
    segmentation = Segmentation(
        array, Grid((12, 12, 12), np.eye(4)), table, kinds=("objects",), objects=things
    )
    found = measured(Lesions(), segmentation)
    assert found["nodule", None, "lesions"].value == 2
    assert [found["nodule", n, "voxels"].value for n in (900, 7)] == [64, 8]


def test_thousands_of_objects_are_found_in_a_few_passes() -> None:
    """One pass for each object would be 10 thousand million comparisons here, minutes of them."""
    ids = np.arange(10_000, dtype=np.uint32).reshape(100, 100, 1) * 400_000 + 1
    numbers = ids.repeat(10, axis=0).repeat(10, axis=1)
    numbers[::10], numbers[:, ::10] = 0, 0
    things = tuple(Object(one, "nodule") for one in ids.ravel().tolist())
    table = LabelTable((Label(1, "nodule"),))
    segmentation = Segmentation(
        numbers[None], Grid(numbers.shape, np.eye(4)), table, kinds=("objects",), objects=things
    )
    start = time.process_time()
    found = measured(Lesions(most=2), segmentation)
    assert time.process_time() - start < 5
    assert found["nodule", None, "lesions"].value == 10_000
    assert [found["nodule", n, "voxels"].value for n in (1, 400_001)] == [81, 81]


def test_labels_are_lesions_by_name_or_as_given() -> None:
    for name in ("Liver Tumour", "lung_nodules", "brain metastases", "renal cyst", "lymph_node"):
        assert is_lesion(name)
    assert not is_lesion("liver")
    assert measured(Lesions(labels=("spleen",)), liver_with_tumours())["spleen", None, "lesions"].value == 1
    with pytest.raises(UsageError, match=r"no label 'lier'.*liver"):
        measured(Lesions(labels=("lier",)), liver_with_tumours())


def test_an_empty_label_has_no_lesions_and_an_empty_neighbour_no_distance() -> None:
    empty = np.zeros(GRID.shape, bool)
    spot = ball(GRID, np.array([20.0, 20, 30]), 6)
    found = measured(Lesions(distance_to=("bowel",)), segmented(GRID, cyst=spot, bowel=empty, tumour=empty))
    assert (found["tumour", None, "lesions"].value, found["tumour", None, "lesions"].flag) == (0, "empty")
    row = found["cyst", 1, "distance_to_bowel"]
    assert (row.value, row.flag) == (None, "bowel is empty")
    assert found["cyst", 1, "host"].value is None


def test_where_a_lesion_lies_does_not_depend_on_the_order_of_the_axes() -> None:
    segmentation = liver_with_tumours()
    turned = segmentation.onto(GRID.reoriented("LPI"))
    one, other = (measured(Lesions(), each) for each in (segmentation, turned))
    for quantity in ("volume", "centroid_x", "longest_axial_diameter", "feret_diameter", "truncated"):
        rows = one["liver tumour", 3, quantity], other["liver tumour", 3, quantity]
        assert rows[0].flag == rows[1].flag
        assert replace(rows[0], value=None) == replace(rows[1], value=None)
        assert rows[0].value == rows[1].value or rows[0].value == pytest.approx(rows[1].value)


def test_pictures_have_areas() -> None:
    grid = Grid((20, 20, 1), np.eye(4), "px")
    mask = np.zeros(grid.shape, bool)
    mask[4:8, 4:8] = mask[12:14, 12:14] = True
    picture = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    found = measured(Lesions(), segmented(grid, cyst=mask), volume=picture)
    assert [found["cyst", n, "area"].value for n in (1, 2)] == [16, 4]
