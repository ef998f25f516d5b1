"""Against closed forms, and against scikit-image for shapes that have none."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253
from skimage.measure import regionprops  # noqa: TID253

from medseg.builtin.measure.objects import Objects
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Source, Volume

TABLE = LabelTable((Label(1, "nucleus"), Label(2, "cell")))


def measured(
    ids: NDArray[np.uint32], grid: Grid, *, most: int = 100_000
) -> dict[tuple[str, int | None], dict[str, Measured]]:
    """Rows by label and object, then by quantity; all objects are nuclei."""
    things = tuple(Object(int(n), "nucleus", 0.5 + n / 100) for n in np.unique(ids) if n)
    segmentation = Segmentation(ids[None], grid, TABLE, ("objects",), things)
    volume = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    rows = Objects(most=most)(volume, segmentation, Prediction(segmentation=segmentation))
    found: dict[tuple[str, int | None], dict[str, Measured]] = {}
    for row in rows:
        found.setdefault((row.label, row.object), {})[row.quantity] = row
    return found


def test_a_ball_on_an_oblique_anisotropic_grid() -> None:
    turn = np.deg2rad(30)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = matrix @ np.diag([0.8, 1.0, 1.5])
    affine[:3, 3] = 5, -7, 11
    grid = Grid((70, 56, 38), affine)
    centre = grid.to_world((35, 27, 18))
    far = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - centre, axis=-1)
    rows = measured((far <= 15).astype(np.uint32), grid)["nucleus", 1]
    assert rows["volume"].value == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.01)
    assert rows["volume"].unit == "mL"
    for axis, expected in zip("xyz", centre, strict=True):
        assert rows[f"centroid_{axis}"].value == pytest.approx(expected, abs=0.05)
    assert rows["longest_axis"].value == pytest.approx(30, rel=0.02)
    assert rows["shortest_axis"].value == pytest.approx(30, rel=0.02)
    assert rows["score"].value == pytest.approx(0.51)
    assert rows["volume"].flag == ""


def test_a_box_has_its_corners_and_moments() -> None:
    """A solid box of side a has the variance a² / 12 along it, as an ellipsoid with semi-axis a √(5 / 12)."""
    ids = np.zeros((20, 20, 20), np.uint32)
    ids[3:13, 5:9, 7:8] = 9
    rows = measured(ids, Grid((20, 20, 20), np.eye(4)))["nucleus", 9]
    assert [rows[f"box_low_{axis}"].value for axis in "ijk"] == [3, 5, 7]
    assert [rows[f"box_high_{axis}"].value for axis in "ijk"] == [12, 8, 7]
    assert rows["longest_axis"].value == pytest.approx(2 * 10 * np.sqrt(5 / 12))
    assert rows["shortest_axis"].value == pytest.approx(2 * 1 * np.sqrt(5 / 12))
    assert [rows[f"centroid_{axis}"].value for axis in "xyz"] == [7.5, 6.5, 7.0]
    assert rows["voxels"].value == 40


def test_blobs_of_a_picture_are_as_scikit_image_measures_them() -> None:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(120, 90)), 3)
    ids, _ = ndimage.label(smooth > 0.02)
    grid = Grid((120, 90, 1), np.eye(4), "px")
    of = {n: "cell" if n % 2 else "nucleus" for n in range(1, int(ids.max()) + 1)}
    volume = Volume(np.zeros((1, 120, 90, 1), np.uint8), grid)
    things = tuple(Object(n, name) for n, name in of.items())
    array = ids.astype(np.uint32)[None, :, :, None]
    segmentation = Segmentation(array, grid, TABLE, ("objects",), things)
    found: dict[int, dict[str, Measured]] = {}
    for row in Objects()(volume, segmentation, Prediction(segmentation=segmentation)):
        if row.object is not None:
            found.setdefault(row.object, {})[row.quantity] = row
    assert len(found) == ids.max() > 8
    for region in regionprops(ids):
        rows = found[region.label]
        assert rows["voxels"].value == region.num_pixels
        assert [rows[f"centroid_{axis}"].value for axis in "xy"] == pytest.approx(region.centroid)
        assert [rows[f"box_low_{axis}"].value for axis in "ij"] == list(region.bbox[:2])
        assert [rows[f"box_high_{axis}"].value for axis in "ij"] == [n - 1 for n in region.bbox[2:]]
        touches = min(region.bbox[:2]) == 0 or region.bbox[2] == 120 or region.bbox[3] == 90
        size = rows["volume" if "volume" in rows else "area"]
        assert bool(size.flag) == touches
        assert "score" not in rows


def test_axes_of_a_picture_are_those_of_an_ellipse() -> None:
    i, j = np.indices((101, 81))
    ids = (((i - 50) / 40) ** 2 + ((j - 40) / 15) ** 2 <= 1).astype(np.uint32)[:, :, None]
    grid = Grid((101, 81, 1), np.diag([0.5, 0.5, 1, 1]))
    picture = Volume(np.zeros((1, *grid.shape), np.uint8), grid, source=Source(native=grid, format="PNG"))
    assert picture.is_picture
    segmentation = Segmentation(ids[None], grid, TABLE, ("objects",), (Object(1, "cell"),))
    rows = {
        row.quantity: row
        for row in Objects()(picture, segmentation, Prediction(segmentation=segmentation))
        if row.object == 1
    }
    assert rows["area"].value == pytest.approx(np.pi * 20 * 7.5, rel=0.01)
    assert rows["area"].unit == "mm²"
    assert rows["longest_axis"].value == pytest.approx(40, rel=0.01)
    assert rows["shortest_axis"].value == pytest.approx(15, rel=0.01)


def test_the_number_of_objects_is_said_and_too_many_are_told() -> None:
    ids = np.zeros((12, 3, 1), np.uint32)
    ids[::2, 1, 0] = np.arange(1, 7)
    grid = Grid((12, 3, 1), np.eye(4))
    found = measured(ids, grid, most=4)
    assert found["nucleus", None]["objects"].value == 6
    assert found["nucleus", None]["objects"].flag == "the last 2 have no rows"
    assert ("nucleus", 4) in found
    assert ("nucleus", 5) not in found
    assert found["cell", None]["objects"].value == 0
    assert found["cell", None]["objects"].flag == "empty"


def test_labels_that_are_no_objects_have_no_rows() -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    segmentation = Segmentation(np.ones((1, 4, 4, 4), np.uint8), grid, TABLE)
    volume = Volume(np.zeros((1, 4, 4, 4)), grid)
    assert list(Objects()(volume, segmentation, Prediction(segmentation=segmentation))) == []


def test_objects_without_voxels_are_not_counted() -> None:
    """As small ones are, where ids were brought onto a coarser grid."""
    grid = Grid((6, 3, 2), np.eye(4))
    ids = np.zeros((1, 6, 3, 2), np.uint32)
    ids[0, 1, 1, 1], ids[0, 4, 1, 1] = 2, 9
    things = tuple(Object(n, "nucleus") for n in (9, 1, 2, 5))
    segmentation = Segmentation(ids, grid, TABLE, ("objects",), things)
    volume = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    rows = list(Objects(most=1)(volume, segmentation, Prediction(segmentation=segmentation)))
    assert (rows[0].value, rows[0].flag) == (2, "the last 1 have no rows; 2 without voxels")
    assert {row.object for row in rows if row.label == "nucleus"} == {None, 2}


def test_many_objects_take_the_memory_that_was_foretold() -> None:
    """Rows are most of it; 1,500 objects of 4 voxels, those at the rim flagged."""
    ids = np.kron(np.arange(1, 1_501, dtype=np.uint32).reshape(30, 50), np.ones((2, 2), np.uint32))
    grid = Grid((60, 100, 1), np.eye(4))
    things = tuple(Object(n, "nucleus", 0.5) for n in range(1, 1_501))
    segmentation = Segmentation(ids[None, :, :, None], grid, TABLE, ("objects",), things)
    volume = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    step = Objects()
    few = replace(segmentation, objects=())
    foretold = step.work_bytes(volume, segmentation) - step.work_bytes(volume, few)
    tracemalloc.start()
    rows = Objects.check(
        step(volume, segmentation, Prediction(segmentation=segmentation)), segmentation=segmentation
    )
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows) == 2 + 14 * 1_500
    assert 0.4 * foretold < taken < foretold + 8 * ids.size


def test_what_was_not_seen_whole_is_flagged() -> None:
    ids = np.zeros((9, 9, 9), np.uint32)
    ids[1:4, 1:4, 1:4], ids[5:, 5:8, 5:8] = 1, 2
    grid = Grid((9, 9, 9), np.eye(4))
    ids[5:7, 1:3, 1:3] = 3
    things = (
        Object(1, "cell", 0.5),
        Object(2, "cell", 0.5, {"joined": True}),
        Object(3, "cell", 0.5, {"cut": True}),
    )
    segmentation = Segmentation(ids[None], grid, TABLE, ("objects",), things)
    rows = Objects()(
        Volume(np.zeros((1, 9, 9, 9)), grid), segmentation, Prediction(segmentation=segmentation)
    )
    flags = [row.flag for row in rows if row.quantity == "volume"]
    assert flags == ["", "joined between blocks; truncated: right", "cut where windows meet"]
