import numpy as np
import pytest
from closed_forms import ball, measured, segmented

from medseg.builtin.measure.quality import Quality
from medseg.errors import UsageError
from medseg.prediction import Prediction, Wanted
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

GRID = Grid((50, 40, 30), np.eye(4))


def spot(x: float, radius: float) -> np.ndarray:
    return ball(GRID, np.array([x, 20.0, 15.0]), radius)


def test_a_label_in_one_piece_is_ok() -> None:
    found = measured(Quality(), segmented(GRID, liver=spot(20, 8)))
    assert found["liver", None, "pieces"].value == 1
    assert (found["liver", None, "largest_piece"].value, found["liver", None, "largest_piece"].unit) == (
        100,
        "%",
    )
    assert (found["liver", None, "qc"].value, found["liver", None, "qc"].flag) == ("ok", "")


def test_every_reason_is_given() -> None:
    both = spot(10, 6) | spot(35, 6)
    at_edge = np.zeros(GRID.shape, bool)
    at_edge[20:24, 3:7, 25:] = True
    empty = np.zeros(GRID.shape, bool)
    step = Quality(volumes_ml={"kidney": (1, 2), "spleen": (0.01, 0.02)})
    found = measured(step, segmented(GRID, kidney=both & ~at_edge, spleen=at_edge, gone=empty))
    flags = {name: found[name, None, "qc"].flag for name in ("kidney", "spleen", "gone")}
    assert flags == {
        "kidney": "2 large pieces",
        "spleen": "truncated: superior; volume above 0.02 mL",
        "gone": "empty",
    }
    assert {found[name, None, "qc"].value for name in flags} == {"check"}
    small = measured(Quality(volumes_ml={"kidney": (3, 4)}), segmented(GRID, kidney=both))
    assert small["kidney", None, "qc"].flag == "2 large pieces; volume below 3 mL"
    with pytest.raises(UsageError, match="kidny"):
        measured(Quality(single=("kidny",)), segmented(GRID, kidney=both))


def test_crumbs_and_lesions_are_no_reason() -> None:
    crumbs = spot(15, 8) | spot(40, 2)
    assert measured(Quality(), segmented(GRID, liver=crumbs))["liver", None, "qc"].value == "ok"
    several = spot(10, 6) | spot(35, 6)
    found = measured(Quality(), segmented(GRID, liver_tumour=several))
    assert (found["liver tumour", None, "pieces"].value, found["liver tumour", None, "qc"].value) == (2, "ok")
    told = measured(Quality(single=("liver tumour",)), segmented(GRID, liver_tumour=several))
    assert told["liver tumour", None, "qc"].flag == "2 large pieces"


def test_pieces_of_objects_are_no_reason_unless_one_is_expected() -> None:
    """Two nuclei are no fault of "nucleus", though no lesion has that name."""
    array = np.zeros((1, *GRID.shape), np.uint8)
    array[0][spot(10, 6)], array[0][spot(35, 6)] = 7, 3
    names = LabelTable((Label(1, "nucleus"),))
    objects = (Object(7, "nucleus"), Object(3, "nucleus"))
    nuclei = Segmentation(array, GRID, names, ("objects",), objects)
    found = measured(Quality(), nuclei)
    assert (found["nucleus", None, "pieces"].value, found["nucleus", None, "qc"].value) == (2, "ok")
    told = measured(Quality(single=("nucleus",)), nuclei)
    assert told["nucleus", None, "qc"].flag == "2 large pieces"


def test_members_that_differ_are_a_reason() -> None:
    members = tuple(segmented(GRID, liver=spot(20, radius)) for radius in (8, 8, 6))
    prediction = Prediction(segmentation=members[0], members=members)
    step = Quality(members=True)
    assert step.wants == Wanted(members=True)
    found = measured(step, members[0], prediction=prediction)
    small, large = (np.count_nonzero(spot(20, radius)) for radius in (6, 8))
    overlap = 2 * small / (small + large)  # one lies within the other
    assert found["liver", None, "agreement"].value == pytest.approx((1 + 2 * overlap) / 3)
    assert found["liver", None, "qc"].flag == f"members differ: {small / 1000:.1f} to {large / 1000:.1f} mL"
    same = Prediction(segmentation=members[0], members=members[:2])
    agreed = measured(step, members[0], prediction=same)
    assert (agreed["liver", None, "agreement"].value, agreed["liver", None, "qc"].value) == (1, "ok")


def test_without_members_agreement_is_not_given() -> None:
    segmentation = segmented(GRID, liver=spot(20, 8))
    row = measured(Quality(members=True), segmentation)["liver", None, "agreement"]
    assert (row.value, row.flag) == (None, "not given")
    alone = Prediction(segmentation=segmentation, members=(segmentation,))
    row = measured(Quality(members=True), segmentation, prediction=alone)["liver", None, "agreement"]
    assert (row.value, row.flag) == (None, "one member")
