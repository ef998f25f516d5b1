from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import InputError, UsageError
from medseg.training.dataset import Case
from medseg.training.folds import single_split, subjects_folds

FILE = Path("x.nii")


def case(
    name: str, subject: str, split: str | None = None, *, labelled: bool = True, stratum: str = ""
) -> Case:
    label = FILE if labelled else None
    return Case(name, {"image": FILE}, label, subject, split, stratum=stratum)  # type: ignore[arg-type]  # as read


@st.composite
def many(draw: st.DrawFn) -> list[Case]:
    """Up to 40 cases of 2 to 12 subjects."""
    subjects = draw(st.integers(2, 12))
    owners = draw(st.lists(st.integers(0, subjects - 1), min_size=2, max_size=40))
    owners += [0, 1]
    return [case(f"c{number}", f"s{owner}") for number, owner in enumerate(owners)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases=many(), k=st.integers(2, 5), seed=st.integers(0, 99), data=st.data())
def test_folds_hold_every_case_once_and_no_subject_twice(
    cases: list[Case], k: int, seed: int, data: st.DataObject
) -> None:
    subject = {each.id: each.subject for each in cases}
    k = min(k, len(set(subject.values())))
    folds = subjects_folds(cases, k, seed)
    assert sorted(each for fold in folds for each in fold) == sorted(subject)
    owners = [{subject[each] for each in fold} for fold in folds]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert all(folds)
    largest = max(list(subject.values()).count(each) for each in set(subject.values()))
    assert max(map(len, folds)) - min(map(len, folds)) <= largest
    assert subjects_folds(data.draw(st.permutations(cases)), k, seed) == folds


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases=many(), share=st.floats(0.01, 0.99), seed=st.integers(0, 99), data=st.data())
def test_a_split_has_no_subject_on_both_sides(
    cases: list[Case], share: float, seed: int, data: st.DataObject
) -> None:
    subject = {each.id: each.subject for each in cases}
    training, validation = single_split(cases, share, seed)
    assert sorted(training + validation) == sorted(subject)
    assert training
    assert validation
    assert not {subject[each] for each in training} & {subject[each] for each in validation}
    assert single_split(data.draw(st.permutations(cases)), share, seed) == (training, validation)


def test_a_share_of_single_cases_is_exact() -> None:
    cases = [case(f"c{n}", f"s{n}") for n in range(50)]
    assert [len(part) for part in single_split(cases, 0.2)] == [40, 10]
    assert single_split(cases, 0.2, seed=1) != single_split(cases, 0.2, seed=2)
    assert [len(fold) for fold in subjects_folds(cases, 5)] == [10] * 5
    assert subjects_folds(cases, 5, seed=1) != subjects_folds(cases, 5, seed=2)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=6), k=st.integers(2, 5), data=st.data())
def test_strata_are_spread_evenly(counts: list[int], k: int, data: st.DataObject) -> None:
    """Over folds to within one case of each stratum, and of all; over a single split to its share."""
    stratum = {f"{kind}-{n}": str(kind) for kind, count in enumerate(counts) for n in range(count)}
    k = min(k, len(stratum))
    cases = [case(name, name, stratum=kind) for name, kind in stratum.items()]
    folds = subjects_folds(cases, k)
    for kind in range(len(counts)):
        held = [sum(stratum[name] == str(kind) for name in fold) for fold in folds]
        assert max(held) - min(held) <= 1
    assert subjects_folds(data.draw(st.permutations(cases)), k) == folds
    validation = single_split(cases, 0.25).validation
    assert abs(len(validation) - 0.25 * len(cases)) <= 0.75  # one at least
    for kind, count in enumerate(counts):
        assert abs(sum(stratum[name] == str(kind) for name in validation) - 0.25 * count) <= 1


def test_subjects_of_several_strata_stay_whole() -> None:
    cases = [case(f"{n}{visit}", f"s{n}", stratum=visit) for n in range(10) for visit in "ab"]
    for fold in subjects_folds(cases, 5):
        assert sorted(name[1] for name in fold) == ["a", "a", "b", "b"]
        assert len({name[0] for name in fold}) == 2
    assert len({name[0] for name in single_split(cases, 0.2).validation}) == 2


def test_one_case_of_a_large_subject_does_not_fill_the_validation() -> None:
    cases = [case(f"c{n}", "big" if n < 20 else f"s{n}") for n in range(30)]
    assert all(len(single_split(cases, 0.2, seed).validation) in (6, 20) for seed in range(20))


def test_what_the_data_say_of_splits_is_kept_to() -> None:
    cases = [case("a", "1", "train"), case("b", "2", "validation"), case("c", "3"), case("d", "4", "test")]
    assert single_split(cases) == (("a", "c"), ("b",))
    assert sorted(sum(subjects_folds(cases, 3), ())) == ["a", "b", "c"]


def test_cases_without_masks_are_left_out() -> None:
    cases = [case("a", "1"), case("b", "2"), case("c", "3", labelled=False)]
    assert subjects_folds(cases, 2) in ((("a",), ("b",)), (("b",), ("a",)))
    assert len(sum(single_split(cases), ())) == 2


def test_a_subject_on_both_sides_is_refused() -> None:
    for splits in (("validation", "train"), ("validation", None), ("test", None), ("test", "train")):
        cases = [case("a", "1", splits[0]), case("b", "1", splits[1]), case("c", "2"), case("d", "3")]
        with pytest.raises(InputError, match=r"'[ab]' .* and '[ab]' .* are of one subject"):
            single_split(cases)


def test_too_few_subjects_are_refused() -> None:
    cases = [case("a", "1"), case("b", "1"), case("c", "2")]
    with pytest.raises(UsageError, match="3 folds of 2 subjects"):
        subjects_folds(cases, 3)
    with pytest.raises(UsageError, match="of 1 subjects"):
        single_split(cases[:2])
    with pytest.raises(UsageError, match="leave some to train on"):
        single_split([case("a", "1", "validation")])
