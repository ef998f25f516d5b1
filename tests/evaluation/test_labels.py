from collections.abc import Callable

import pytest

from medseg.errors import InputError
from medseg.evaluation.labels import comparable, paired
from medseg.segmentation import Segmentation

Painted = Callable[..., Segmentation]


def names(segmentation: Segmentation) -> list[str]:
    return [label.name for label in segmentation.labels]


def test_labels_of_one_name_are_one_whatever_their_values(painted: Painted) -> None:
    prediction = painted({1: ("liver", 1), 2: ("spleen", 6)})
    reference = painted({7: ("liver", 1), 3: ("spleen", 6)})
    told: list[str] = []
    found, wanted = paired(prediction, reference, told.append)
    for name in ("liver", "spleen"):
        assert (found.mask(name) == wanted.mask(name)).all()
        assert found.mask(name).any()
    assert told == []


def test_capitals_and_dashes_do_not_part_labels(painted: Painted) -> None:
    found, wanted = paired(
        painted({1: ("kidney_left", 1), 2: ("Liver", 6)}),
        painted({1: ("liver", 6), 2: ("Kidney left", 1)}),
        print,
    )
    assert sorted(names(found)) == sorted(names(wanted)) == ["Kidney left", "liver"]
    assert (found.mask("Kidney left") == wanted.mask("Kidney left")).all()


def test_spellings_that_fit_two_labels_fit_none(painted: Painted) -> None:
    told: list[str] = []
    paired(
        painted({1: ("liver", 1), 2: ("node_a", 6)}),
        painted({1: ("liver", 1), 2: ("Node a", 6), 3: ("node-a", None)}),
        told.append,
    )
    assert told == [
        "the reference has no label 'node_a': counted as absent from it",
        "the prediction has no label 'Node a', 'node-a': counted as absent from it",
    ]


@pytest.mark.parametrize("named", ["prediction", "reference"])
def test_labels_without_names_are_matched_by_value(painted: Painted, named: str) -> None:
    with_names, without = painted({2: ("liver", 1), 5: ("spleen", 6)}), painted({2: ("label 2", 1)})
    pair = (with_names, without) if named == "prediction" else (without, with_names)
    told: list[str] = []
    found, wanted = paired(*pair, told.append)
    assert sorted(names(found)) == sorted(names(wanted)) == ["liver", "spleen"]
    assert (found.mask("liver") == wanted.mask("liver")).all()
    lacking = "reference" if named == "prediction" else "prediction"
    assert told == [f"the {lacking} has no label 'spleen': counted as absent from it"]


def test_a_label_of_one_alone_gets_an_empty_mask_in_the_other(painted: Painted) -> None:
    found, wanted = paired(
        painted({1: ("liver", 1), 255: ("made up", 6)}), painted({1: ("liver", 1), 2: ("missed", 6)}), print
    )
    assert names(wanted)[:2] == ["liver", "missed"]
    assert set(names(found)) == set(names(wanted)) == {"liver", "missed", "made up"}
    assert not found.mask("missed").any()
    assert not wanted.mask("made up").any()
    assert found.mask("made up").any()


def test_nothing_at_all_is_a_table_without_labels(painted: Painted) -> None:
    found, wanted = paired(painted({}), painted({1: ("liver", 1)}), print)
    assert names(found) == names(wanted) == ["liver"]


def test_tables_with_nothing_in_common_are_refused(painted: Painted) -> None:
    with pytest.raises(
        InputError, match=r"labels 'liver', the reference 'spleen': none in common; name them"
    ):
        paired(painted({1: ("liver", 1)}), painted({1: ("spleen", 1)}), print)


def test_of_labels_that_are_not_compared_nothing_is_told(painted: Painted) -> None:
    told: list[str] = []
    found, wanted = comparable(
        painted({1: ("liver", 1), 2: ("body", 6)}),
        painted({1: ("liver", 1), 2: ("spleen", 6), 3: ("heart", 6)}),
        ("liver", "spleen"),
        told.append,
    )
    assert names(found) == names(wanted) == ["liver", "spleen"]
    assert told == ["the prediction has no label 'spleen': counted as absent from it"]
