"""Which cases are trained on and which are validated with, split by subject."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from medseg.errors import InputError, UsageError
from medseg.training.dataset import Case

__all__ = ["Parts", "require_apart", "single_split", "subjects_folds"]


class Parts(NamedTuple):
    """Ids of the cases to train on and of those to validate with, each in order."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


def subjects_folds(cases: Iterable[Case], k: int, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Ids of the cases to validate with in each of `k` folds; all cases of a subject are in one.

    Labelled cases that are not kept for a test; about as many in each fold, and about as many of each
    stratum. The same whatever their order.

    Raises UsageError where there are fewer subjects than folds, InputError where a subject is in the test set
    too.
    """
    cases = list(cases)
    by_subject, strata = _by_subject(cases), {case.id: case.stratum for case in cases}
    if not 2 <= k <= len(by_subject):
        raise UsageError(f"{k} folds of {len(by_subject)} subjects: give from 2 to as many folds as subjects")
    folds: list[list[str]] = [[] for _ in range(k)]
    held = [Counter[str]() for _ in range(k)]  # cases of each stratum
    for subject in _shuffled(by_subject, seed, by_size=True):
        own = Counter(strata[name] for name in by_subject[subject])
        alike = [sum(counts[stratum] for stratum in own) for counts in held]
        fewest = min(range(k), key=lambda n: (alike[n], len(folds[n])))
        folds[fewest] += by_subject[subject]
        held[fewest] += own
    return tuple(tuple(sorted(fold)) for fold in folds)


def single_split(cases: Iterable[Case], share: float = 0.2, seed: int = 0) -> Parts:
    """Cases to train on, and a `share` of them and of each stratum, by whole subjects, to validate with.

    Where any case says that it is for validation, what the cases say is kept to, and one that says nothing is
    trained on. Raises InputError where a subject would be on both sides, UsageError where one side would be
    empty.
    """
    chosen = list(cases)
    require_apart(chosen)
    usable = [case for case in chosen if case.labelled and case.split != "test"]
    if any(case.split == "validation" for case in usable):
        validation = sorted(case.id for case in usable if case.split == "validation")
        training = sorted(case.id for case in usable if case.split != "validation")
        if not training:
            raise UsageError("every labelled case is kept for validation or test; leave some to train on")
        return Parts(tuple(training), tuple(validation))
    by_subject = _by_subject(chosen)
    if not 0 < share < 1 or len(by_subject) < 2:
        raise UsageError(
            f"a share of {share:g} of {len(by_subject)} subjects: give a number between 0 and 1, and at "
            "least two subjects"
        )
    return _share(by_subject, {case.id: case.stratum for case in usable}, share, seed)


def _share(by_subject: dict[str, list[str]], strata: dict[str, str], share: float, seed: int) -> Parts:
    """Subjects are taken until a next one would lead further away from the share.

    The next one is of the stratum that lacks most cases.
    """
    wanted = share * sum(map(len, by_subject.values()))
    lacking = {name: share * count for name, count in Counter(strata.values()).items()}
    stratum = {subject: strata[min(ids)] for subject, ids in by_subject.items()}
    held: list[str] = []
    order = _shuffled(by_subject, seed)
    while len(order) > 1:
        subject = max(order, key=lambda each: lacking[stratum[each]])
        order.remove(subject)
        size = len(by_subject[subject])
        if not held or abs(len(held) + size - wanted) < abs(len(held) - wanted):
            held += by_subject[subject]
            lacking[stratum[subject]] -= size
        if len(held) >= wanted:
            break
    rest = {case for ids in by_subject.values() for case in ids} - set(held)
    return Parts(tuple(sorted(rest)), tuple(sorted(held)))


def require_apart(cases: Sequence[Case]) -> None:
    """Refuse, as an InputError, a subject with cases in two splits; one that says none is trained on."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    told = any(case.split == "validation" for case in cases)
    for case in cases:
        if case.labelled or case.split is not None:
            part = case.split or "train"
            part = part if part == "test" or told else "train"
            said[case.subject].setdefault(part, case.id)
    for parts in said.values():
        if len(parts) > 1:
            (one, first), (other, second) = sorted(parts.items())[:2]
            raise InputError(
                f"cases {first!r} ({one}) and {second!r} ({other}) are of one subject; put both on one side"
            )


def _by_subject(cases: Iterable[Case]) -> dict[str, list[str]]:
    """Ids of labelled cases that are not kept for a test, by subject."""
    chosen = list(cases)
    require_apart(chosen)
    found: dict[str, list[str]] = defaultdict(list)
    for case in chosen:
        if case.labelled and case.split != "test":
            found[case.subject].append(case.id)
    return dict(found)


def _shuffled(by_subject: dict[str, list[str]], seed: int, *, by_size: bool = False) -> list[str]:
    """Subjects in an order by their names and the seed alone; with `by_size` the largest first."""

    def key(subject: str) -> tuple[int, str]:
        size = -len(by_subject[subject]) if by_size else 0
        return size, hashlib.sha256(f"{seed}\0{subject}".encode()).hexdigest()

    return sorted(by_subject, key=key)
