import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import organs

from medseg.errors import GeometryError
from medseg.prediction import Measured, Plan, Prediction, Resources, Result, Scores, Wanted
from medseg.volume import Grid, Volume

GRID = Grid((3, 4, 5), np.eye(4))
steady = settings(max_examples=100, deadline=None, derandomize=True)

boxes = st.builds(
    lambda n, spacing, zero: Grid((n, 2, 2), np.diag([spacing, 1, 1, 1]) + np.full((4, 4), zero)),
    st.integers(1, 2),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([0.0, -0.0]),
)
wishes = st.builds(
    Wanted,
    labels=st.none() | st.frozensets(st.sampled_from(["liver", "spleen", "tumour"])),
    score_boxes=st.lists(boxes, max_size=4).map(tuple),
    whole_scores=st.booleans(),
    score_labels=st.none() | st.frozensets(st.sampled_from(["liver", "spleen", "tumour"])),
    members=st.booleans(),
    reductions=st.frozensets(st.sampled_from(["soft-volume", "entropy"])),
)


@steady
@given(a=wishes, b=wishes, c=wishes)
def test_wishes_unite_in_any_order(a: Wanted, b: Wanted, c: Wanted) -> None:
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert hash(a | b) == hash(b | a)


@steady
@given(a=wishes, b=wishes)
def test_the_union_satisfies_both(a: Wanted, b: Wanted) -> None:
    both = a | b
    for one in (a, b):
        assert both.labels is None or (one.labels is not None and one.labels <= both.labels)
        assert set(one.score_boxes) <= set(both.score_boxes)
        assert both.members >= one.members
        assert one.reductions <= both.reductions
    assert set(both.score_boxes) == set(a.score_boxes) | set(b.score_boxes)
    assert len(both.score_boxes) == len(set(both.score_boxes))


def test_labels_of_scores_count_where_scores_are_wanted() -> None:
    liver, spleen = frozenset({"liver"}), frozenset({"spleen"})
    some = Wanted(whole_scores=True, score_labels=liver)
    assert (some | Wanted()).score_labels == liver
    assert (some | Wanted(score_boxes=(GRID,), score_labels=spleen)).score_labels == liver | spleen
    assert (some | Wanted(score_boxes=(GRID,))).score_labels is None
    assert Wanted(score_labels=liver) == Wanted()
    assert not Wanted().scores


def test_what_was_wanted_and_not_given_is_said() -> None:
    found = organs(GRID)
    nothing = Prediction(segmentation=found)
    assert nothing.lacks(Wanted()) is None
    assert nothing.lacks(Wanted(whole_scores=True)) == "the segmenter keeps no scores"
    assert nothing.lacks(Wanted(members=True)) == "the segmenter keeps no members apart"
    assert (
        nothing.lacks(Wanted(reductions=frozenset({"soft-volume"}))) == "the segmenter gives no soft volumes"
    )
    both = Wanted(members=True, reductions=frozenset({"soft-volume", "entropy"}))
    given = dataclasses.replace(nothing, members=(found,), soft_ml={"liver": 1.0})
    assert given.lacks(both) == "the segmenter gives no entropy"
    image = Volume(np.zeros((1, *GRID.shape)), GRID)
    assert dataclasses.replace(given, maps={"entropy": image}).lacks(both) is None


def test_a_prediction_of_some_labels_only() -> None:
    found = organs(GRID)
    whole = Prediction(segmentation=found, members=(found,), soft_ml={"liver": 1.0, "spleen": 2.0})
    some = whole.only(["spleen"])
    assert some.soft_ml == {"spleen": 2.0}
    for segmentation in (some.segmentation, *some.members):
        assert [label.name for label in segmentation.labels] == ["spleen"]
        assert np.array_equal(segmentation.mask("spleen"), found.mask("spleen"))
        assert np.count_nonzero(segmentation.array) == np.count_nonzero(found.mask("spleen"))


def test_all_labels_and_some_is_all() -> None:
    assert (Wanted() | Wanted(labels=frozenset({"liver"}))).labels is None
    assert (Wanted(labels=frozenset({"a"})) | Wanted(labels=frozenset({"b"}))).labels == frozenset("ab")
    assert (Wanted(labels=frozenset()) | Wanted(labels=frozenset({"b"}))).labels == frozenset("b")


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 6), (1, 2, 3, 4, 5)])
def test_scores_that_do_not_fit_their_grid_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError, match="on their grid") as caught:
        Scores(np.zeros(shape), GRID, "logits")
    assert len(str(caught.value).splitlines()) == 1


def test_scores_cannot_be_written_through() -> None:
    mine = np.zeros((2, 3, 4, 5), np.float32)
    scores = Scores(mine, GRID, "probabilities")
    with pytest.raises(ValueError, match="read-only"):
        scores.array[:] = 1
    mine[:] = 1
    assert scores.array.min() == 1


def test_resources_default_to_what_the_machine_has_in_silence() -> None:
    resources = Resources()
    assert (resources.device, resources.engine, resources.precision) == ("auto", "auto", "auto")
    assert resources.threads is None
    assert resources.max_memory_bytes is None
    resources.progress("step", 1, 2)


def everything() -> list[Any]:
    segmentation = organs(GRID)
    prediction = Prediction(segmentation=segmentation)
    volume = Volume(np.zeros((1, *GRID.shape)), GRID)
    measured = Measured(label="liver", quantity="volume", value=1.0, unit="mL")
    result = Result(
        case_id="a",
        volume=volume,
        prediction=prediction,
        segmentation=segmentation,
        measurements=(measured,),
        provenance={},
    )
    return [Resources(), Wanted(), Plan(device="cpu", peak_bytes=1), prediction, measured, result, volume]


@pytest.mark.parametrize("value", everything(), ids=lambda value: type(value).__name__)
def test_values_are_frozen(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, math.pi)
