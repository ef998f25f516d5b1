from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.postprocess.sides import Sides
from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation | Grid], Volume]
TABLE = LabelTable(
    (
        Label(1, "left kidney", pair="right kidney"),
        Label(2, "right kidney", pair="left kidney"),
        Label(3, "spine"),
    )
)


def balls(grid: Grid, *places: tuple[float, float, float], radius_mm: float = 8) -> list[Any]:
    """Balls at places in mm from the middle of the grid, along x, y, z of the patient."""
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.centre
    return [np.asarray(np.linalg.norm(world - place, axis=-1) <= radius_mm) for place in places]


def painted(grid: Grid, **masks: Any) -> Segmentation:
    return Segmentation.from_masks({name.replace("_", " "): m for name, m in masks.items()}, grid, TABLE)


@pytest.fixture(params=[(1.5, 1.5, 1.5), (1.2, 1.2, 4.0)])
def grid(request: pytest.FixtureRequest, oblique: MakeGrid) -> Grid:
    """Turned by 20 and 35 degrees, with axes LPS: index i runs to the left."""
    return oblique(
        tuple(round(n / s) for n, s in zip((100, 70, 60), request.param, strict=True)), request.param
    )


def test_a_part_on_the_wrong_side_changes_its_label(grid: Grid, any_image: AnyImage) -> None:
    left, right = balls(grid, (-30, 0, 0), (30, 0, 0))
    (speck,) = balls(grid, (28, 15, 0), radius_mm=4)
    speck &= ~right
    before = painted(grid, left_kidney=left | speck, right_kidney=right)
    after = Sides()(before, any_image(grid))
    assert np.array_equal(after.mask("left kidney"), left)
    assert np.array_equal(after.mask("right kidney"), right | speck)


def test_two_that_were_exchanged_are_put_right(grid: Grid, any_image: AnyImage) -> None:
    left, right = balls(grid, (-30, 0, 0), (30, 5, 0))
    after = Sides()(painted(grid, left_kidney=right, right_kidney=left), any_image(grid))
    assert np.array_equal(after.mask("left kidney"), left)
    assert np.array_equal(after.mask("right kidney"), right)


def test_two_of_one_label_become_a_pair(grid: Grid, any_image: AnyImage) -> None:
    left, right = balls(grid, (-30, 0, 0), (30, 0, 0))
    after = Sides()(painted(grid, left_kidney=left | right), any_image(grid))
    assert np.array_equal(after.mask("left kidney"), left)
    assert np.array_equal(after.mask("right kidney"), right)


def test_one_kidney_needs_a_midline_to_be_told(grid: Grid, any_image: AnyImage) -> None:
    right, spine = balls(grid, (30, 0, 0), (0, -10, 0))
    before = painted(grid, left_kidney=right, spine=spine)
    assert np.array_equal(Sides()(before, any_image(grid)).array, before.array)
    after = Sides(midline="spine")(before, any_image(grid))
    assert np.array_equal(after.mask("right kidney"), right)
    assert not after.mask("left kidney").any()
    assert np.array_equal(after.mask("spine"), spine)
    nowhere = painted(grid, left_kidney=right)
    assert np.array_equal(Sides(midline="spine")(nowhere, any_image(grid)).array, nowhere.array)


def test_what_lies_across_or_near_the_midline_stays(grid: Grid, any_image: AnyImage) -> None:
    spine, across, near = balls(grid, (0, 20, 0), (6, -22, 0), (12, 0, 0))
    before = painted(grid, left_kidney=across | near, spine=spine & ~near)
    after = Sides(midline="spine", margin_mm=14)(before, any_image(grid))
    assert np.array_equal(after.array, before.array)
    after = Sides(midline="spine", margin_mm=10)(before, any_image(grid))
    assert after.mask("right kidney").any()


def test_two_pieces_of_one_organ_are_no_pair(grid: Grid, any_image: AnyImage) -> None:
    """A speck beside a single kidney tells nothing of the midline, nor do two pieces near each other."""
    (kidney,) = balls(grid, (10, 0, 0))
    (speck,) = balls(grid, (40, 0, 0), radius_mm=4)
    before = painted(grid, left_kidney=kidney | speck)
    assert np.array_equal(Sides()(before, any_image(grid)).array, before.array)
    upper, lower = balls(grid, (22, 0, 12), (18, 0, -12))
    before = painted(grid, left_kidney=upper | lower)
    assert np.array_equal(Sides()(before, any_image(grid)).array, before.array)


def test_pairs_that_are_not_named_stay(any_image: AnyImage) -> None:
    table = LabelTable(
        (
            Label(1, "lung_l", pair="lung_r"),
            Label(2, "lung_r", pair="lung_l"),
            Label(3, "Niere links", pair="Niere rechts"),
            Label(4, "Niere rechts", pair="Niere links"),
        )
    )
    array = np.zeros((1, 60, 4, 4), np.uint8)
    array[0, 5:15], array[0, 45:55] = 2, 1  # x grows to the right: exchanged
    array[0, 5:15, 0], array[0, 45:55, 0] = 4, 3
    before = Segmentation(array, Grid((60, 4, 4), np.eye(4)), table)
    after = Sides(labels=("Niere links",))(before, any_image(before))
    assert np.array_equal(after.mask("lung_l"), before.mask("lung_l"))
    assert np.array_equal(after.mask("Niere links"), before.mask("Niere rechts"))
    both = Sides()(before, any_image(before))
    assert np.array_equal(both.mask("lung_r"), before.mask("lung_l"))


def test_what_cannot_be_meant_is_refused(any_image: AnyImage) -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    before = Segmentation(np.ones((1, 4, 4, 4), np.uint8), grid, TABLE)
    image = any_image(grid)
    with pytest.raises(UsageError, match="'spine' has no pair"):
        Sides(labels=("spine",))(before, image)
    with pytest.raises(UsageError, match="no label 'aorta'"):
        Sides(midline="aorta")(before, image)
    odd = LabelTable((Label(1, "one", pair="two"), Label(2, "two", pair="one")))
    with pytest.raises(UsageError, match="do not tell which is left"):
        Sides()(before.replace(labels=odd), image)
    apart = LabelTable((Label(1, "left", pair="right"), Label(2, "right", pair="left", layer=1)))
    with pytest.raises(UsageError, match="different layers"):
        Sides()(Segmentation(np.zeros((2, 4, 4, 4), np.uint8), grid, apart), image)
    with pytest.raises(GeometryError, match="margin_mm of sides needs a scale"):
        Sides()(before.replace(grid=Grid((4, 4, 4), np.eye(4), "px")), image)
    for parameters in ({"margin_mm": -1}, {"middle": "spine"}):
        with pytest.raises(ValidationError):
            Sides.model_validate(parameters)
