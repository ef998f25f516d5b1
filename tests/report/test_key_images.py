from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.report.key_images import KeyImage, compose, draw_key_images
from medseg.volume import Grid, Volume

SPACING = (0.8, 0.8, 3.0)


def turned(*signs: int) -> Grid:
    """An upright grid whose axes may run to the left, the back or the feet."""
    affine = np.diag([*(s * n for s, n in zip(SPACING, signs, strict=True)), 1.0])
    affine[:3, 3] = (10, -20, 30)
    return Grid((120, 110, 20), affine)


def image_of(grid: Grid, **changes: Any) -> KeyImage:
    """A block of 20 x 10 x 3 voxels, with its diagonals for diameters."""
    box = (slice(50, 70), slice(40, 50), slice(8, 11))

    def at(i: float, j: float) -> tuple[float, float, float]:
        x, y, z = grid.to_world((i, j, 9))
        return float(x), float(y), float(z)

    known: dict[str, Any] = {
        "name": "tumour 1",
        "words": "17.9 \u00d7 8.9 mm",
        "colour": "#ff0000",
        "mask": np.ones((20, 10, 3), bool),
        "box": box,
        "axis": 2,
        "slice": 9,
        "longest": (at(50, 40), at(69, 49)),
        "perpendicular": (at(60, 40), at(60, 49)),
    }
    return KeyImage(**(known | changes))


def volume(grid: Grid) -> Volume:
    """Bright where the lesion is."""
    array = np.zeros((1, *grid.shape), np.float32)
    array[0, 50:70, 40:50, 8:11] = 100
    return Volume(array, grid)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_lines_and_outline_lie_on_the_lesion_as_it_is_drawn(signs: tuple[int, int, int]) -> None:
    grid = turned(*signs)
    figure = compose(volume(grid), [image_of(grid)])
    (axes,) = (each for each in figure.axes if each.get_label() == "tumour 1")
    corners = np.asarray(axes.patches[0].get_path().vertices, float)
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert high - low == pytest.approx((20, 10))  # outer faces of the voxels
    long, upright = (np.asarray(line.get_xydata(), float) for line in axes.lines)
    assert np.abs(long[1] - long[0]) == pytest.approx((19, 9))
    assert np.abs(upright[1] - upright[0]) == pytest.approx((0, 9))
    for end in (*long, *upright):
        assert (end >= low - 1e-6).all()
        assert (end <= high + 1e-6).all()
    # what is drawn is bright within the outline and dark outside
    picture = np.asarray(axes.images[0].get_array(), float)
    voxels = np.array([axes.get_xlim()[1], axes.get_ylim()[0]]) + 0.5
    scale = np.array(picture.shape[::-1]) / voxels
    (left, top), (right, bottom) = ((low + 0.5) * scale, (high + 0.5) * scale)
    inside = picture[round(top) + 4 : round(bottom) - 4, round(left) + 4 : round(right) - 4]
    assert inside.mean() > 200
    assert picture[: round(top) - 8].max() < 60


def test_the_right_of_the_patient_is_on_the_left() -> None:
    """The end of the longest diameter that lies further right is drawn further left."""
    for signs in ((1, 1, 1), (-1, -1, 1)):
        grid = turned(*signs)
        image = image_of(grid)
        figure = compose(volume(grid), [image])
        (axes,) = (each for each in figure.axes if each.get_label() == "tumour 1")
        drawn = np.asarray(axes.lines[0].get_xydata(), float)
        rights = [end[0] for end in image.longest]
        assert np.argmax(rights) == np.argmin(drawn[:, 0])


def test_a_tile_for_each_and_equal_bytes_each_time(tmp_path: Path) -> None:
    grid = turned(1, 1, 1)
    images = [image_of(grid, name=f"tumour {n}") for n in range(1, 7)]
    figure = compose(volume(grid), images)
    assert [axes.get_label() for axes in figure.axes] == [image.name for image in images]
    for name in ("a.png", "b.png"):
        draw_key_images(volume(grid), images[:1], tmp_path / name, title="case")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_lesion_at_the_corner_of_the_image_is_drawn() -> None:
    grid = turned(1, 1, 1)
    box = (slice(0, 20), slice(0, 10), slice(0, 3))
    place = tuple(float(v) for v in grid.to_world((0, 0, 1)))
    image = image_of(grid, box=box, slice=1, longest=(place, place), perpendicular=(place, place))
    figure = compose(volume(grid), [image])
    corners = np.asarray(figure.axes[0].patches[0].get_path().vertices, float)
    # the first voxels along i and j lie at the patient's left and back: drawn on the right, below
    columns, rows = figure.axes[0].get_xlim()[1], figure.axes[0].get_ylim()[0]
    assert corners.max(axis=0) == pytest.approx((columns, rows))
