import numpy as np
import pytest

from medseg.io.colours import PALETTE
from medseg.prediction import Measured
from medseg.report.legend import Entry, Legend, entries_of, said
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid


def named(*names: str) -> Segmentation:
    labels = LabelTable(tuple(Label(n, name) for n, name in enumerate(names, 1)))
    return Segmentation(np.zeros((1, 2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)), labels)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0"),
        (1125.7, "1,126"),
        (33.51, "33.5"),
        (99.96, "100"),
        (0.42, "0.42"),
        (0.999, "1.0"),
        (0.0031, "0.0031"),
        (2e-6, "2e-06"),
    ],
)
def test_amounts_have_as_many_digits_as_are_worth_reading(amount: float, words: str) -> None:
    assert said(amount) == words


def test_entries_are_ordered_by_size_with_the_flags_of_their_volume() -> None:
    entries = entries_of(
        named("a", "b", "c"),
        [
            Measured(label="a", quantity="volume", value=0.0, unit="mL", flag="empty"),
            Measured(label="b", quantity="volume", value=1.0, unit="mL"),
            Measured(label="c", quantity="volume", value=20.0, unit="mL", flag="truncated: left"),
            Measured(label="c", quantity="volume", value=5.0, unit="mL", object=1),
            Measured(label="c", quantity="voxels", value=99),
        ],
    )
    assert [(entry.name, entry.size, entry.flag) for entry in entries] == [
        ("c", "20.0 mL", "truncated: left"),
        ("b", "1.0 mL", ""),
        ("a", "0 mL", "empty"),
    ]
    assert [entry.colour for entry in entries] == [PALETTE[2], PALETTE[1], PALETTE[0]]


def test_labels_nobody_measured_have_no_size() -> None:
    assert [entry.size for entry in entries_of(named("a"), [])] == [""]


def test_objects_are_counted() -> None:
    segmentation = Segmentation(
        np.zeros((1, 2, 2, 2), np.uint32),
        Grid((2, 2, 2), np.eye(4)),
        LabelTable((Label(1, "nucleus"),)),
        ("objects",),
        (Object(1, "nucleus"), Object(2, "nucleus")),
    )
    assert entries_of(segmentation, [])[0].name == "nucleus (2)"


def test_as_many_columns_as_hold_the_longest_name() -> None:
    short = tuple(Entry("liver", "#ffffff", 1.0, "mL", "") for _ in range(30))
    long = (*short, Entry("x" * 20, "#ffffff", 1.0, "mL", ""))
    assert Legend.across(short, 1728).columns == 5
    assert Legend.across((Entry("x" * 35, "#ffffff", 1.0, "mL", ""), *long), 1728).columns == 4
    assert Legend.across((Entry("x" * 350, "#ffffff", 1.0, "mL", ""), *long), 1728).columns == 3


def test_a_column_beside_the_panels_is_no_higher_than_they_are() -> None:
    entries = tuple(Entry(f"label {n}", "#ffffff", 1.0, "mL", "empty" if n == 0 else "") for n in range(100))
    for height in (400, 460, 500, 777):
        assert Legend.beside(entries, height).height <= height
    assert len(Legend.beside(entries, 10_000).shown) == 24
    assert len(Legend.beside(entries, 10).shown) == 6
