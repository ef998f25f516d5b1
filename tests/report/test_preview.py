import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image  # noqa: TID253  # every test here looks at pixels

from medseg.prediction import Measured
from medseg.report.preview import compose, draw_preview
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Source, Volume

MAGENTA, GREEN = (255, 0, 255), (0, 255, 0)
RAS = Grid((40, 50, 30), np.diag([2.0, 2.0, 3.0, 1.0]))


def case(grid: Grid = RAS, *, modality: str | None = None, channels: int = 1) -> tuple[Volume, Segmentation]:
    """A cube on the patient's right, anterior and superior (magenta), and a smaller one opposite (green)."""
    ras = grid.reoriented("RAS")
    array = np.zeros((1, *ras.shape), np.uint8)
    n = np.asarray(ras.shape)
    high, low = (2 * n) // 3, n // 4
    array[0, high[0] : -2, high[1] : -2, high[2] : -2] = 1
    array[0, 2 : low[0], 2 : low[1], 2 : low[2]] = 2
    labels = LabelTable((Label(1, "right", colour="#ff00ff"), Label(2, "left", colour="#00ff00")))
    image = np.full((channels, *grid.shape), 40, np.int16)
    volume = Volume(
        image, grid, tuple(f"c{n}" for n in range(channels)), Source(grid, "NIfTI", modality=modality)
    )
    return volume, Segmentation(array, ras, labels).onto(grid)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.load()
        assert picture.mode == "RGB"
        return np.asarray(picture)


def panel(picture: np.ndarray, figure: Any, name: str) -> np.ndarray:
    """The pixels of one panel, by the axes it was drawn in."""
    (axes,) = (axes for axes in figure.axes if axes.get_label() == name)
    x0, y0, x1, y1 = axes.get_position().extents
    height, width = picture.shape[:2]
    return picture[round((1 - y1) * height) : round((1 - y0) * height), round(x0 * width) : round(x1 * width)]


def centre(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Mean row and column, as parts of height and width, of the pixels of a colour."""
    rows, columns = np.nonzero(np.all(np.abs(picture.astype(int) - colour) < 40, axis=-1))
    assert len(rows) > 20
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


def texts(figure: Any) -> list[str]:
    return [artist.get_text() for artist in figure.get_children() if hasattr(artist, "get_text")]


def only(segmentation: Segmentation, name: str) -> Segmentation:
    """The segmentation with one label, so that its slices are the ones shown."""
    label = segmentation.labels[name]
    array = np.where(segmentation.array == label.value, segmentation.array, 0).astype(np.uint8)
    return segmentation.replace(array=array)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_the_patients_right_is_on_the_images_left(tmp_path: Path, codes: str) -> None:
    volume, segmentation = case(RAS.reoriented(codes))
    for name, colour, at in (("right", MAGENTA, 0), ("left", GREEN, 1)):
        one = only(segmentation, name)
        draw_preview(volume, one, tmp_path / "p.png")
        picture, figure = pixels(tmp_path / "p.png"), compose(volume, one)
        row, column = centre(panel(picture, figure, "Axial"), colour)
        assert (row > 0.5, column > 0.5) == (at, at)  # anterior is above, right is left
        row, column = centre(panel(picture, figure, "Coronal"), colour)
        assert (row > 0.5, column > 0.5) == (at, at)  # superior is above
        row, column = centre(panel(picture, figure, "Sagittal"), colour)
        assert (row > 0.5, column > 0.5) == (at, at)  # anterior is left


def test_proportions_are_those_of_the_body(tmp_path: Path) -> None:
    volume, segmentation = case()  # 80 x 100 x 90 mm
    draw_preview(volume, segmentation, tmp_path / "p.png")
    picture, figure = pixels(tmp_path / "p.png"), compose(volume, segmentation)
    for name, aspect in (("Axial", 80 / 100), ("Coronal", 80 / 90), ("Sagittal", 100 / 90)):
        height, width = panel(picture, figure, name).shape[:2]
        assert width / height == pytest.approx(aspect, rel=0.01)


def test_a_label_lies_where_its_voxels_are(tmp_path: Path) -> None:
    grid = Grid((20, 20, 20), np.eye(4))
    array = np.zeros((1, *grid.shape), np.uint8)
    array[0, 5:10, 8:12, 3:7] = 1
    segmentation = Segmentation(array, grid, LabelTable((Label(1, "box", colour="#ff00ff"),)))
    volume = Volume(np.zeros((1, *grid.shape)), grid)
    draw_preview(volume, segmentation, tmp_path / "p.png")
    axial = panel(pixels(tmp_path / "p.png"), compose(volume, segmentation), "Axial")
    rows, columns = np.nonzero(np.all(axial == MAGENTA, axis=-1))
    height, width = axial.shape[:2]
    assert columns.min() / width == pytest.approx(10 / 20, abs=0.01)  # i 9, seen from the right
    assert columns.max() / width == pytest.approx(15 / 20, abs=0.01)
    assert rows.min() / height == pytest.approx(8 / 20, abs=0.01)
    assert rows.max() / height == pytest.approx(12 / 20, abs=0.01)
    inside = axial[height // 2, round(width * 12.5 / 20)].astype(int)
    assert inside == pytest.approx((102, 0, 102), abs=2)  # 40 % of the colour over black
    assert tuple(axial[height // 2, width // 8]) == (0, 0, 0)


def test_ct_is_shown_from_minus_160_to_240(tmp_path: Path) -> None:
    grid = Grid((20, 20, 20), np.eye(4))
    image = np.full((1, *grid.shape), 40.0)
    image[0, :10] = -1000
    volume = Volume(image, grid, source=Source(grid, "NIfTI", modality="CT"))
    empty = Segmentation(np.zeros((1, *grid.shape), np.uint8), grid, LabelTable(()))
    draw_preview(volume, empty, tmp_path / "p.png")
    axial = panel(pixels(tmp_path / "p.png"), compose(volume, empty), "Axial")
    height, width = axial.shape[:2]
    assert axial[height // 3, width // 4].tolist() == [128, 128, 128]  # the patient's right
    assert axial[height // 3, 3 * width // 4].tolist() == [0, 0, 0]


def test_upper_layers_are_outlined_only(tmp_path: Path) -> None:
    grid = Grid((20, 20, 20), np.eye(4))
    mask = np.zeros(grid.shape, bool)
    mask[5:15, 5:15, 5:15] = True
    labels = LabelTable((Label(1, "none"), Label(2, "body", colour="#ff00ff", layer=1)))
    segmentation = Segmentation.from_masks({"body": mask}, grid, labels)
    volume = Volume(np.zeros((1, *grid.shape)), grid)
    draw_preview(volume, segmentation, tmp_path / "p.png")
    axial = panel(pixels(tmp_path / "p.png"), compose(volume, segmentation), "Axial")
    assert centre(axial, MAGENTA) == pytest.approx((0.5, 0.5), abs=0.02)
    assert axial[axial.shape[0] // 2, axial.shape[1] // 2].tolist() == [0, 0, 0]


def test_legend_names_sizes_and_flags() -> None:
    volume, segmentation = case()
    rows = [
        Measured(label="right", quantity="volume", value=33.51, unit="mL", flag="truncated: superior"),
        Measured(label="left", quantity="volume", value=0.0, unit="mL", flag="empty"),
    ]
    words = texts(compose(volume, segmentation, measurements=rows, title="case $1_0$"))
    assert {"case $1_0$", "right", "33.5 mL", "truncated: superior", "left", "0 mL", "empty"} <= set(words)
    assert "Research use only. Not for diagnosis." in words
    assert {"R", "L", "A", "P", "S", "I", "1 cm"} <= set(words)


def test_a_hundred_labels_show_the_largest_and_count_the_rest(tmp_path: Path) -> None:
    grid = Grid((30, 30, 12), np.eye(4))
    array = (np.indices(grid.shape)[0] // 3 * 10 + np.indices(grid.shape)[1] // 3 + 1).astype(np.uint8)
    labels = LabelTable(tuple(Label(n, f"Teil {n} äöü $x_{n}$ 肝") for n in range(1, 105)))
    segmentation = Segmentation(array[None], grid, labels)
    volume = Volume(np.zeros((1, *grid.shape)), grid)
    rows = [
        Measured(label=label.name, quantity="volume", value=float(label.value), unit="mL") for label in labels
    ]
    draw_preview(volume, segmentation, tmp_path / "p.png", measurements=rows)
    words = texts(compose(volume, segmentation, measurements=rows))
    assert "+ 80 more" in words
    assert "104 mL" in words
    assert "81.0 mL" in words
    assert "80.0 mL" not in words
    assert (tmp_path / "p.png").stat().st_size < 1.5e6


def odd_cases() -> Iterable[Any]:
    for shape, spacing in (
        ((1, 1, 1), (1, 1, 1)),
        ((1, 12, 12), (1, 1, 1)),
        ((300, 2, 2), (1, 1, 1)),
        ((5, 5, 400), (1, 1, 5)),
        ((24, 24, 3), (0.5, 0.5, 12)),
        ((24, 24, 9), (1e-4, 1e-4, 1e-3)),
        ((8, 8, 8), (1000, 1, 1)),
        ((3, 2000, 1), (1, 1, 1)),
    ):
        for unit in ("mm", "px"):
            yield pytest.param(shape, spacing, unit, id=f"{shape} {spacing} {unit}")


@pytest.mark.parametrize(("shape", "spacing", "unit"), list(odd_cases()))
def test_odd_shapes_are_drawn_at_a_sane_size(
    tmp_path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float], unit: Any
) -> None:
    grid = Grid(shape, np.diag([*spacing, 1]), unit)
    rng = np.random.default_rng(0)
    labels = LabelTable((Label(1, "a"), Label(2, "b")))
    segmentation = Segmentation(rng.integers(0, 3, (1, *shape), np.uint8), grid, labels)
    draw_preview(Volume(rng.random((1, *shape)), grid), segmentation, tmp_path / "p.png", title="x" * 400)
    height, width = pixels(tmp_path / "p.png").shape[:2]
    assert 900 <= width <= 1800
    assert 200 <= height <= 1400


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, 1e30])
def test_images_without_contrast_are_drawn(tmp_path: Path, fill: float) -> None:
    grid = Grid((6, 6, 6), np.eye(4))
    empty = Segmentation(np.zeros((1, 6, 6, 6), np.uint8), grid, LabelTable((Label(1, "liver"),)))
    draw_preview(Volume(np.full((1, 6, 6, 6), fill), grid), empty, tmp_path / "p.png")
    assert pixels(tmp_path / "p.png").shape[1] == 1800


def test_a_segmentation_without_labels_says_so() -> None:
    grid = Grid((6, 6, 6), np.eye(4))
    empty = Segmentation(np.zeros((1, 6, 6, 6), np.uint8), grid, LabelTable(()))
    assert "no labels" in texts(compose(Volume(np.zeros((1, 6, 6, 6)), grid), empty))


def test_a_colour_picture_keeps_its_colours_and_its_way_up(tmp_path: Path) -> None:
    grid = Grid((40, 30, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
    image = np.zeros((3, *grid.shape), np.uint8)
    image[0, :20, :15], image[1, 20:, :15], image[2, :20, 15:] = 200, 200, 200
    volume = Volume(image, grid, ("red", "green", "blue"))
    empty = Segmentation(np.zeros((1, *grid.shape), np.uint8), grid, LabelTable(()))
    draw_preview(volume, empty, tmp_path / "p.png")
    figure = compose(volume, empty)
    only_panel = panel(pixels(tmp_path / "p.png"), figure, "")
    height, width = only_panel.shape[:2]
    assert width / height == pytest.approx(40 / 30, rel=0.01)
    assert only_panel[height // 4, width // 4].tolist() == [200, 0, 0]
    assert only_panel[height // 4, 3 * width // 4].tolist() == [0, 200, 0]
    assert only_panel[3 * height // 4, width // 4].tolist() == [0, 0, 200]
    assert not {"R", "L"} & set(texts(figure))


def test_touching_objects_of_one_label_are_told_apart(tmp_path: Path) -> None:
    grid = Grid((20, 20, 1), np.eye(4), "px")
    array = np.zeros((1, *grid.shape), np.uint32)
    array[0, 4:10, 5:15], array[0, 10:16, 5:15] = 1, 2
    things = (Object(1, "cell"), Object(2, "cell"))
    cells = Segmentation(array, grid, LabelTable((Label(1, "cell", colour="#ffffff"),)), ("objects",), things)
    volume = Volume(np.zeros((1, *grid.shape)), grid)
    draw_preview(volume, cells, tmp_path / "p.png")
    picture = panel(pixels(tmp_path / "p.png"), compose(volume, cells), "")
    middle = picture.shape[0] // 2
    left, right = (
        picture[middle, round(picture.shape[1] * 0.35)],
        picture[middle, round(picture.shape[1] * 0.65)],
    )
    assert np.abs(left.astype(int) - right).max() > 20


def cells(side: int, step: int, *, until: int | None = None) -> tuple[Volume, Segmentation]:
    """Squares that touch no other, in rows of a picture; none from column `until` on."""
    i, j = np.indices((side, side))
    inside = (i % step > 0) & (j % step > 0) & (i < (side if until is None else until))
    ids = np.where(inside, 1 + i // step * -(-side // step) + j // step, 0)[None, :, :, None]
    grid = Grid((side, side, 1), np.eye(4), "px")
    table = LabelTable((Label(1, "cell"),))
    found = Segmentation.from_objects(ids.astype(np.uint32), ids > 0, grid, table)
    return Volume(np.zeros((1, *grid.shape), np.uint8), grid), found


def test_thousands_of_objects_take_no_mask_each(tmp_path: Path) -> None:
    """Masks of the whole slice would be 3.6 GB."""
    volume, found = cells(1200, 24)
    assert len(found.objects) == 2500
    draw_preview(*cells(60, 24), tmp_path / "first.png")  # what libraries load is not counted
    tracemalloc.start()
    try:
        draw_preview(volume, found, tmp_path / "p.png")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120 << 20


@pytest.mark.parametrize("step", [10, 3])  # 8,100 objects are outlined, 90,000 are more than can be
def test_objects_are_drawn_where_they_are_however_many(tmp_path: Path, step: int) -> None:
    volume, found = cells(900, step, until=450)
    draw_preview(volume, found, tmp_path / "p.png")
    picture = panel(pixels(tmp_path / "p.png"), compose(volume, found), "")
    middle = picture.shape[1] // 2
    drawn = picture.max(axis=-1) > 40
    assert drawn[:, : middle - 2].mean() > 0.95 * ((step - 1) / step) ** 2
    assert drawn[: -picture.shape[0] // 10, middle + 2 :].mean() == 0  # below is the scale
    assert len(np.unique(picture[:, : middle - 2].reshape(-1, 3), axis=0)) > 8  # told apart by colour


def test_the_same_case_gives_the_same_bytes_and_no_trace_of_the_software(tmp_path: Path) -> None:
    volume, segmentation = case()
    for name in ("a.png", "b.png"):
        draw_preview(volume, segmentation, tmp_path / name, title="case-01")
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert not any(word in content for word in (b"tEXt", b"tIME", b"atplotlib"))


def test_settings_of_matplotlib_change_nothing(tmp_path: Path) -> None:
    import matplotlib as mpl

    volume, segmentation = case()
    draw_preview(volume, segmentation, tmp_path / "a.png")
    with mpl.rc_context(
        {"font.size": 40, "image.origin": "lower", "axes.facecolor": "red", "savefig.dpi": 9}
    ):
        draw_preview(volume, segmentation, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_real_ct_has_its_liver_on_the_images_left(tmp_path: Path, real_data: Path) -> None:
    import nibabel

    image = nibabel.load(real_data / "ct_totalseg_A/ct.nii.gz")
    found = np.asarray(nibabel.load(real_data / "ct_totalseg_A/seg_total_fast3mm.nii.gz").dataobj)
    grid = Grid(found.shape, image.affine)
    volume = Volume(np.asarray(image.dataobj)[None], grid, source=Source(grid, "NIfTI", modality="CT"))
    labels = LabelTable((Label(5, "liver", colour="#ff00ff"), Label(1, "spleen", colour="#00ff00")))
    array = np.where(np.isin(found, (1, 5)), found, 0).astype(np.uint8)
    segmentation = Segmentation(array[None], grid, labels)
    draw_preview(volume, segmentation, tmp_path / "p.png")
    picture, figure = pixels(tmp_path / "p.png"), compose(volume, segmentation)
    for name in ("Axial", "Coronal"):
        assert centre(panel(picture, figure, name), MAGENTA)[1] < 0.5
        assert centre(panel(picture, figure, name), GREEN)[1] > 0.5
    assert (tmp_path / "p.png").stat().st_size < 1.5e6


def test_notes_stand_below_the_legend_and_change_nothing_above(tmp_path: Path) -> None:
    volume, segmentation = case()
    notes = ["gaps resampled: 1 slice missing at z=12.50 mm", "tilt resampled: 15.0 degrees"]
    draw_preview(volume, segmentation, tmp_path / "plain.png")
    draw_preview(volume, segmentation, tmp_path / "noted.png", notes=notes)
    plain, noted = pixels(tmp_path / "plain.png"), pixels(tmp_path / "noted.png")
    assert (noted.shape[0] - plain.shape[0], noted.shape[1]) == (48, plain.shape[1])
    assert np.array_equal(noted[: len(plain) - 44], plain[:-44])
    assert np.array_equal(noted[-44:], plain[-44:])
    colour = np.array([0xF0, 0xB9, 0x5A])
    below = noted[len(plain) - 44 : -44]
    for line in np.split(below, 2):
        assert (np.abs(line.astype(int) - colour).max(axis=-1) < 30).sum() > 50
    assert set(notes) <= set(texts(compose(volume, segmentation, notes=notes)))


def test_too_many_notes_are_counted(tmp_path: Path) -> None:
    words = texts(compose(*case(), notes=[f"note {number} {'x' * 400}" for number in range(9)]))
    shown = [text for text in words if text.startswith("note ")]
    assert len(shown) == 5
    assert all(text.endswith("…") for text in shown)
    assert "+ 4 more notes" in words
