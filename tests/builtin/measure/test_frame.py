import numpy as np
import pytest

from medseg.builtin.measure.frame import Frame
from medseg.volume import Grid, Unit


@pytest.mark.parametrize(
    ("shape", "unit", "picture", "expected"),
    [
        ((4, 5, 6), "mm", False, ("volume", "mL", 0.006)),
        ((4, 5, 1), "mm", True, ("area", "mm²", 2.0)),
        ((4, 5, 1), "px", True, ("area", "px²", 2.0)),
        ((4, 5, 6), "px", False, ("volume", "px³", 6.0)),
    ],
)
def test_how_large_a_voxel_is(
    shape: tuple[int, int, int], unit: Unit, picture: bool, expected: tuple[str, str, float]
) -> None:
    name, of, size = Frame(Grid(shape, np.diag([1.0, 2.0, 3.0, 1.0]), unit), picture).quantity
    assert (name, of) == expected[:2]
    assert size == pytest.approx(expected[2])


def test_faces_are_those_of_the_body_in_one_order() -> None:
    everything = tuple(slice(0, n) for n in (4, 5, 6))
    box = (everything[0], everything[1], everything[2])
    body = ["right", "left", "anterior", "posterior", "superior", "inferior"]
    for codes in ("RAS", "LPS", "SRA"):
        grid = Grid((4, 5, 6), np.eye(4)).reoriented(codes)
        whole = tuple(slice(0, n) for n in grid.shape)
        assert Frame(grid, False).faces_touched((whole[0], whole[1], whole[2])) == body
    low = Frame(Grid((4, 5, 6), np.eye(4)), False).faces_touched((slice(0, 1), slice(2, 3), slice(5, 6)))
    assert low == ["left", "superior"]
    edges = Frame(Grid((4, 5, 6), np.eye(4), "px"), False).faces_touched(box)
    assert edges[:2] == ["left edge", "right edge"]


def test_an_axis_of_one_voxel_says_nothing() -> None:
    flat = Frame(Grid((4, 5, 1), np.eye(4)), False)
    assert flat.faces_touched((slice(1, 2), slice(1, 2), slice(0, 1))) == []
