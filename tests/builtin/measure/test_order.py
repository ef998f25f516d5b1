from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.measure.order import Order
from medseg.errors import GeometryError, UsageError
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
AnyImage = Callable[[Segmentation | Grid], Volume]
SPINE = ("t12", "l1", "l2", "l3")


def rows(step: Order, segmentation: Segmentation, image: Volume) -> dict[str, Measured]:
    found = Measurement.check(
        step(image, segmentation, Prediction(segmentation=segmentation)), segmentation=segmentation
    )
    assert {row.quantity for row in found} <= {"order"}
    return {row.label: row for row in found}


def blocks(grid: Grid, axis: int, **places_mm: float) -> dict[str, np.ndarray]:
    """Slabs across the patient's x, y or z, 4 mm thick, at distances from the middle."""
    along = (grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.centre)[..., axis]
    return {name: np.abs(along - place) < 2 for name, place in places_mm.items()}


@pytest.fixture(params=["straight", "oblique"])
def grid(request: pytest.FixtureRequest) -> Grid:
    made: Grid = request.getfixturevalue(request.param)((40, 40, 40))
    return made


def test_vertebrae_from_head_to_feet(grid: Grid, labelled: Labelled, any_image: AnyImage) -> None:
    right = labelled(grid, **blocks(grid, 2, t12=12, l1=4, l2=-4, l3=-12))
    found = rows(Order(head_to_feet=SPINE), right, any_image(grid))
    assert [(row.value, row.flag) for row in found.values()] == [("ok", "")] * 4
    wrong = labelled(grid, **blocks(grid, 2, t12=12, l1=-4, l2=4, l3=-12))
    found = rows(Order(head_to_feet=SPINE), wrong, any_image(grid))
    assert {name: row.value for name, row in found.items()} == {
        "t12": "ok",
        "l1": "check",
        "l2": "check",
        "l3": "ok",
    }
    assert found["l1"].flag == "not above l2"
    assert found["l2"].flag == "not below l1"


def test_a_label_that_is_nowhere_is_passed_over(grid: Grid, labelled: Labelled, any_image: AnyImage) -> None:
    masks = blocks(grid, 2, t12=12, l1=4, l2=-12, l3=-4)
    masks["l1"][:] = False
    found = rows(Order(head_to_feet=SPINE), labelled(grid, **masks), any_image(grid))
    assert (found["l1"].value, found["l1"].flag) == (None, "empty")
    assert found["t12"].value == "ok"
    assert found["l3"].flag == "not below l2"


def test_sides_and_front(grid: Grid, labelled: Labelled, any_image: AnyImage) -> None:
    sides = labelled(grid, **blocks(grid, 0, spleen=-10, liver=10))
    assert rows(Order(left_to_right=("spleen", "liver")), sides, any_image(grid))["liver"].value == "ok"
    found = rows(Order(left_to_right=("liver", "spleen")), sides, any_image(grid))
    assert (found["liver"].flag, found["spleen"].flag) == ("not left of spleen", "not right of liver")
    depth = labelled(grid, **blocks(grid, 1, heart=10, spine=-10))
    assert rows(Order(front_to_back=("heart", "spine")), depth, any_image(grid))["spine"].value == "ok"
    found = rows(Order(front_to_back=("spine", "heart")), depth, any_image(grid))
    assert found["spine"].flag == "not in front of heart"


def test_two_of_one_place_are_out_of_order_and_no_list_has_no_rows(
    grid: Grid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros(grid.shape, bool)
    mask[10] = True
    other = np.zeros(grid.shape, bool)
    other[9] = other[11] = True
    same = labelled(grid, a=mask, b=other)
    assert rows(Order(head_to_feet=("a", "b")), same, any_image(grid))["a"].value == "check"
    assert rows(Order(), same, any_image(grid)) == {}


def test_wrong_names_pixels_and_parameters_are_refused(labelled: Labelled, any_image: AnyImage) -> None:
    full = np.ones((4, 4, 4), bool)
    grid, flat = Grid((4, 4, 4), np.eye(4)), Grid((4, 4, 4), np.eye(4), "px")
    with pytest.raises(UsageError, match="there is no label 'c'"):
        rows(Order(head_to_feet=("a", "c")), labelled(grid, a=full), any_image(grid))
    with pytest.raises(GeometryError, match="needs a scale"):
        rows(Order(head_to_feet=("a",)), labelled(flat, a=full), any_image(flat))
    with pytest.raises(ValidationError):
        Order.model_validate({"feet_to_head": ["a"]})
