import base64
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image  # noqa: TID253  # looks at pixels

from medseg.report.charts import Picture
from medseg.report.worst_case import PREDICTION, REFERENCE, WorstCase, draw_worst_case
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Volume

SHAPE = (40, 50, 30)
RAS = Grid(SHAPE, np.diag([2.0, 2.0, 3.0, 1.0]))
LABELS = LabelTable((Label(1, "liver"), Label(2, "tumour")))
FOOTER = 60  # rows of the legend


def masks(grid: Grid, **boxes: tuple[slice, slice, slice]) -> Segmentation:
    array = np.zeros((1, *SHAPE), np.uint8)
    for name, box in boxes.items():
        array[0][box] = LABELS[name].value
    return Segmentation(array, RAS, LABELS).onto(grid)


def case(found: Segmentation, wanted: Segmentation, **dice: float | None) -> WorstCase:
    grid = wanted.grid
    return WorstCase(
        "c", "fold 0", Volume(np.full((1, *grid.shape), 90, np.int16), grid), found, wanted, dice
    )


def drawn(picture: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        return np.asarray(image)[:-FOOTER]


def where(pixels: np.ndarray, colour: str) -> tuple[np.ndarray, np.ndarray]:
    rgb = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    rows, columns = np.nonzero(np.all(np.abs(pixels.astype(int) - rgb) < 40, axis=-1))
    return rows, columns


BOX = (slice(10, 20), slice(20, 32), slice(8, 20))
TO_THE_RIGHT = (slice(16, 26), slice(20, 32), slice(8, 20))  # of the patient: RAS runs to the right


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR"])
def test_both_outlines_are_where_their_masks_are_whatever_the_axes(codes: str) -> None:
    grid = RAS.reoriented(codes)
    (picture,) = draw_worst_case(case(masks(grid, liver=TO_THE_RIGHT), masks(grid, liver=BOX), liver=0.4))
    axial = drawn(picture)
    axial = axial[:, : axial.shape[1] // 3]  # enough of the first panel
    reference, prediction = where(axial, REFERENCE), where(axial, PREDICTION)
    assert len(reference[0]) > 200
    assert len(prediction[0]) > 100
    voxel = np.ptp(reference[0]) / 12  # of the box's 12 rows
    assert reference[1].min() - prediction[1].min() == pytest.approx(6 * voxel, rel=0.05)  # right is left
    assert abs(prediction[0].mean() - reference[0].mean()) < 8


def test_each_plane_stands_where_most_voxels_differ() -> None:
    wanted = masks(RAS, liver=BOX)
    array = wanted.array.copy()
    array[0, 12:18, 22:30, 9] = 0  # in one axial slice, away from the middle of the mask
    (picture,) = draw_worst_case(case(wanted.replace(array=array), wanted, liver=0.9))
    assert "Axial k = 9," in picture.alt


def test_the_lowest_dice_comes_first_and_equal_labels_are_left_out() -> None:
    tumour = (slice(2, 6), slice(2, 6), slice(2, 6))
    moved = (slice(3, 7), slice(2, 6), slice(2, 6))
    wanted = masks(RAS, liver=BOX, tumour=tumour)
    both = draw_worst_case(case(masks(RAS, liver=TO_THE_RIGHT, tumour=moved), wanted, liver=0.4, tumour=0.75))
    assert [picture.caption for picture in both] == ["liver: Dice 0.400", "tumour: Dice 0.750"]
    (one,) = draw_worst_case(case(masks(RAS, liver=BOX, tumour=moved), wanted, liver=1.0, tumour=0.75))
    assert one.caption == "tumour: Dice 0.750"
    assert draw_worst_case(case(wanted, wanted, liver=1.0, tumour=1.0)) == ()


def test_masks_of_all_labels_are_not_held_at_once() -> None:
    labels = LabelTable(tuple(Label(n, f"zone {n}") for n in range(1, 61)))
    same = Segmentation(np.zeros((1, *SHAPE), np.uint8), RAS, labels)
    tracemalloc.start()
    assert draw_worst_case(case(same, same)) == ()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * np.prod(SHAPE)  # of 60 labels and two sides it would be 120


def test_objects_have_outlines_of_their_own() -> None:
    """One object of the reference, cut in two by the prediction: their masks are the same."""
    table = LabelTable((Label(1, "cell"),))

    def of(*ids: int) -> Segmentation:
        array = np.zeros((1, *SHAPE), np.uint32)
        array[0, 10:30, 10:25, 8:20] = ids[0]
        array[0, 10:30, 25:40, 8:20] = ids[-1]
        objects = tuple(Object(number, "cell") for number in sorted(set(ids)))
        return Segmentation(array, RAS, table, ("objects",), objects)

    assert draw_worst_case(case(of(7), of(300), cell=1.0)) == ()
    for found, wanted, halved in ((of(1, 2), of(5), PREDICTION), (of(5), of(1, 2), REFERENCE)):
        (picture,) = draw_worst_case(case(found, wanted, cell=1.0))
        axial = drawn(picture)
        axial = axial[:, : axial.shape[1] // 3]
        for colour in (PREDICTION, REFERENCE):
            rows, columns = where(axial, colour)
            inside = abs(rows - (rows.min() + rows.max()) / 2) < 6
            across = len(set(columns[inside])) / np.ptp(columns)
            assert (across > 0.25) == (colour == halved), "the border between the two, of dashes"


def test_thousands_of_objects_with_large_ids_are_outlined() -> None:
    side, step = 1560, 26
    rows, columns = np.indices((side, side))
    within = (rows % step < 18) & (columns % step < 18)
    ids = np.where(within, 1000 * (1 + rows // step * (side // step) + columns // step), 0).astype(np.uint32)
    numbers = np.unique(ids[ids > 0]).tolist()
    grid = Grid((side, side, 1), np.eye(4), "px")
    table, objects = LabelTable((Label(1, "cell"),)), tuple(Object(number, "cell") for number in numbers)
    wanted = Segmentation(ids[None, ..., None], grid, table, ("objects",), objects)
    found = Segmentation(np.roll(ids, 3, axis=0)[None, ..., None], grid, table, ("objects",), objects)
    (picture,) = draw_worst_case(case(found, wanted, cell=0.8))
    assert len(numbers) == 3600
    assert len(where(drawn(picture), PREDICTION)[0]) > 10_000


def test_what_is_missing_or_made_up_is_said() -> None:
    nothing, liver = masks(RAS), masks(RAS, liver=BOX)
    (missed,) = draw_worst_case(case(nothing, liver, liver=0.0))
    assert missed.caption == "liver: Dice 0.000, not found at all"
    assert len(where(drawn(missed), PREDICTION)[0]) == 0
    (made_up,) = draw_worst_case(case(liver, nothing, liver=None))
    assert made_up.caption == "liver: no Dice, found where there is none"
    assert len(where(drawn(made_up), REFERENCE)[0]) == 0


def test_a_label_that_the_prediction_does_not_know_is_missing() -> None:
    found = masks(RAS, liver=BOX).only(["liver"])
    tumour = (slice(2, 6), slice(2, 6), slice(2, 6))
    (picture,) = draw_worst_case(case(found, masks(RAS, liver=BOX, tumour=tumour), tumour=0.0))
    assert "tumour" in picture.caption


def test_small_things_are_shown_large() -> None:
    speck = (slice(10, 12), slice(20, 22), slice(10, 12))
    (picture,) = draw_worst_case(case(masks(RAS), masks(RAS, tumour=speck), tumour=0.0))
    axial = drawn(picture)[:, : picture.width // 3]
    rows, _ = where(axial, REFERENCE)
    assert np.ptp(rows) > 20  # of a slice of 50 rows it would be a twenty-fifth


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_in_pixels_is_one_panel(channels: int) -> None:
    grid = Grid((60, 40, 1), np.eye(4), "px")
    labels = LabelTable((Label(1, "nucleus"),))
    found, wanted = np.zeros((2, 1, *grid.shape), np.uint8)
    wanted[0, 10:30, 10:30], found[0, 20:40, 10:30] = 1, 1
    image = np.full((channels, *grid.shape), 90, np.uint8)
    volume = Volume(image, grid, tuple("rgb"[:channels]))
    worst = WorstCase(
        "c",
        "f",
        volume,
        Segmentation(found, grid, labels),
        Segmentation(wanted, grid, labels),
        {"nucleus": 0.5},
    )
    (picture,) = draw_worst_case(worst)
    reference, prediction = where(drawn(picture), REFERENCE), where(drawn(picture), PREDICTION)
    assert prediction[1].mean() - reference[1].mean() > 50  # x runs to the right


def test_a_thin_stack_has_one_plane() -> None:
    grid = Grid((60, 40, 2), np.diag([1.0, 1.0, 1.0, 1.0]))
    labels = LabelTable((Label(1, "a"),))
    wanted = np.zeros((1, *grid.shape), np.uint8)
    wanted[0, 0:5, 0:5] = 1  # in the corner
    empty = Segmentation(np.zeros_like(wanted), grid, labels)
    volume = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    (picture,) = draw_worst_case(
        WorstCase("c", "f", volume, empty, Segmentation(wanted, grid, labels), {"a": 0.0})
    )
    assert "Coronal" not in picture.alt
    assert len(where(drawn(picture), REFERENCE)[0]) > 100
