"""What is wrong with a dataset, found before hours of training: one line for each fault."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from medseg.errors import GeometryError, InputError, UsageError
from medseg.io import digests
from medseg.prediction import silent
from medseg.run.reasons import without_names
from medseg.segmentation import SIDE
from medseg.training.dataset import Case, Dataset, Example
from medseg.training.dataset.found import is_there
from medseg.training.dataset.reading import FOR_STRAY, read_image, read_reference
from medseg.training.fingerprint import CaseFacts, Measuring
from medseg.training.folds import require_apart

__all__ = ["Finding", "Severity", "check_dataset", "subjects_unstated"]

Severity = Literal["error", "warning", "info"]
Progress = Callable[[str, int, int], None]
RANK: tuple[Severity, ...] = ("error", "warning", "info")
RARE = 3  # cases: in a split or a fold there may be none of them
ALIKE = 1.01  # times: spacings that differ by less are one
MUCH_BRIGHTER = 10.0  # times between medians of two cases: no common scale
REPEATED = re.compile(r"(.*\d.*?)[-_.](?:[a-z]*\d+|[a-z])", re.IGNORECASE)  # of one patient: p012_s1, p012_b


@dataclass(frozen=True)
class Finding:
    """One thing about a dataset: what it is and what to do; `case` is None where it is not about one.

    `kind` is a stable word for programs. An error must be mended before training, a warning looked at.
    """

    severity: Severity
    kind: str
    case: str | None
    what: str
    do: str = ""

    def __str__(self) -> str:
        where = f"{self.case}: " if self.case is not None else ""
        return f"{where}{self.what}{f'; {self.do}' if self.do else ''}"

    def as_json(self) -> dict[str, Any]:
        """Plain values; no path and no name of a file."""
        return asdict(self)


def check_dataset(dataset: Dataset, progress: Progress = silent) -> tuple[Finding, ...]:
    """Everything that was found, errors first, then by case; reads every file once, keeps none in memory.

    Messages hold ids of cases, never paths, which may hold names of patients.
    """
    found = [Finding("info", "opening", None, note) for note in dataset.notes]
    found += _subjects(dataset)
    found += _labels(dataset)
    measuring, hashes = Measuring(dataset), dict[str, list[tuple[Case, str]]]()
    facts: list[CaseFacts] = []
    for number, case in enumerate(dataset.cases, start=1):
        faults = list(_files(case, hashes))
        if not faults:
            faults += _contents(case, dataset, measuring, facts)
        found += faults
        progress("check", number, len(dataset.cases))
    found += _duplicates(hashes)
    found += _presence(dataset, facts)
    found += _differences(dataset, facts)
    return tuple(sorted(found, key=lambda each: (RANK.index(each.severity), each.kind, each.case or "")))


# ---- what the dataset says


def _subjects(dataset: Dataset) -> Iterator[Finding]:
    """Cases of one person on both sides of a split, or nothing said of persons."""
    try:
        require_apart(dataset.cases)
    except InputError as problem:
        what, _, do = str(problem).partition("; ")
        yield Finding("error", "subject-in-two-splits", None, what, do)
    unlabelled = [case for case in dataset.cases if not case.labelled]
    for case in unlabelled:
        if case.split != "test":
            yield Finding("warning", "no-mask", case.id, "has no mask", "it is left out of training")
    tests = sum(case.split == "test" for case in unlabelled)
    if tests:
        yield Finding("info", "no-mask", None, f"{tests} test case{'s' * (tests > 1)} without a mask")
    unstated = subjects_unstated(dataset)
    if unstated is not None:
        yield unstated


def subjects_unstated(dataset: Dataset) -> Finding | None:
    """That nothing is said of persons, a warning where ids look like two cases of one; None where it is."""
    if dataset.subjects_stated:
        return None
    do = "say `subjects: FILE.csv` (columns case, subject) or `subjects: {pattern: …}` in dataset.yaml"
    pair = _look_alike([case.id for case in dataset.cases])
    if pair is not None:
        what = f"no subjects are stated, and {pair[0]!r} and {pair[1]!r} look like one"
        return Finding("warning", "subjects-unstated", None, what, do)
    what = "no subjects are stated: each case is taken for a person of its own"
    return Finding("info", "subjects-unstated", None, what, f"if any are of one person, {do}")


def _look_alike(ids: Sequence[str]) -> tuple[str, str] | None:
    """Two ids that seem to be of one person: they differ in their side, or in a number behind a number."""
    by_rest: dict[str, list[str]] = defaultdict(list)
    for each in ids:
        rest = SIDE.sub("*", each.lower().replace("_", " "))
        if "*" in rest:
            by_rest[rest].append(each)
    by_patient: dict[str, list[str]] = defaultdict(list)
    for each in ids:
        match = REPEATED.fullmatch(each)
        by_patient[match[1] if match else each].append(each)
    groups = [group for group in by_rest.values() if len(group) > 1]
    if 1 < len(by_patient) < len(ids):
        groups += [group for group in by_patient.values() if len(group) > 1]
    return (groups[0][0], groups[0][1]) if groups else None


def _labels(dataset: Dataset) -> Iterator[Finding]:
    if not dataset.statement.licence:
        do = "say `licence:` in dataset.yaml, as a model trained on them must"
        yield Finding("info", "licence-unstated", None, "no licence of the data is stated", do)
    if dataset.overlapping:
        what = f"{len(dataset.labels)} labels that may overlap, each in a layer of its own"
        yield Finding("info", "overlapping-labels", None, what, "a network for them has the head `sigmoid`")
    sides = dataset.labels.sides()
    if sides is not None:
        what = f"{sides[0]!r} and {sides[1]!r} are left and right of one structure"
        yield Finding("info", "sides", None, what, "images are not flipped from left to right")
    elif (sided := dataset.labels.one_sided()) is not None:
        what = f"{sided!r} lies on one side of the body"
        yield Finding("info", "sides", None, what, "images are not flipped from left to right")


# ---- each case


def _files(case: Case, hashes: dict[str, list[tuple[Case, str]]]) -> Iterator[Finding]:
    """Files that are not there or cannot be opened; their digests go into `hashes`."""
    own: dict[str, str] = {}
    for what, path in case.files.items():
        if not is_there(path):
            yield Finding(
                "error", "missing-file", case.id, f"the file of {what!r} does not exist", "correct it"
            )
            continue
        try:
            digest = " ".join(digests(path))
        except (InputError, UsageError) as problem:
            yield Finding("error", "unreadable", case.id, _told(problem, case))
            continue
        for other, known in own.items():
            if digest == known and case.files[other] != path:
                yield Finding(
                    "error", "same-file", case.id, f"{what!r} is a copy of {other!r}", "give its own"
                )
        own[what] = digest
    for what, digest in own.items():
        if what in case.images and all(case is not other for other, _ in hashes.get(digest, ())):
            hashes.setdefault(digest, []).append((case, what))


def _contents(
    case: Case, dataset: Dataset, measuring: Measuring, facts: list[CaseFacts]
) -> Iterator[Finding]:
    """What the image and the mask hold."""
    notes: list[str] = []
    try:
        volume = read_image(case, dataset)
        reference = read_reference(case, dataset, volume, tell=notes.append) if case.labelled else None
    except (InputError, UsageError) as problem:
        kind = "geometry" if isinstance(problem, GeometryError) else "unreadable"
        yield Finding("error", kind, case.id, _told(problem, case))
        return
    for note in [*notes, *(volume.source.policies if volume.source else ())]:
        if "not stated by" not in note:  # that a NIfTI says no modality is no news
            yield Finding("info", "reading", case.id, without_names(note, case.files))
    segmentation, ignore = (None, None) if reference is None else (reference.segmentation, reference.ignore)
    fact = measuring.take(case, Example(volume, segmentation, ignore))
    facts.append(fact)
    if reference is not None and reference.stray:
        what = f"its mask holds {', '.join(reference.stray)}, which no label has"
        yield Finding("error", "stray-value", case.id, what, FOR_STRAY)
    if fact.minimum == fact.maximum:
        yield Finding("error", "flat-image", case.id, f"every voxel is {fact.minimum:g}", "export it again")
    if reference is not None and not any(fact.voxels.values()) and not reference.stray:
        do = "right for a case without the structures, else draw it"
        yield Finding("warning", "empty-mask", case.id, "its mask is empty", do)


def _told(problem: Exception, case: Case) -> str:
    """A failure as reports may repeat it: what the files are in place of their paths."""
    return without_names(str(problem), case.files)


# ---- all cases together


def _duplicates(hashes: dict[str, list[tuple[Case, str]]]) -> Iterator[Finding]:
    """One image under two ids: an error where it could be on both sides of a split."""
    for copies in hashes.values():
        (first, what), *others = copies
        for other, its in others:
            apart = other.subject != first.subject
            text = f"its {its!r} is the same file as {first.id}'s {what!r}"
            do = "leave one out, or give both one subject" if apart else "leave one out"
            yield Finding("error" if apart else "warning", "duplicate-image", other.id, text, do)


def _presence(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Labels that no case has, or hardly one."""
    trainable = {case.id for case in dataset.trainable}
    usable = [fact for fact in facts if fact.id in trainable]
    if not usable:
        yield Finding("error", "no-cases", None, "no labelled case can be read", "see the other lines")
        return
    for label in dataset.labels:
        count = sum(fact.voxels.get(label.name, 0) > 0 for fact in usable)
        if not count:
            do = "correct `labels:`, or leave it out"
            yield Finding("error", "label-absent", None, f"no case has a voxel of {label.name!r}", do)
        elif count < RARE and len(usable) > count:
            what = f"{label.name!r} is in {count} of {len(usable)} cases"
            yield Finding("warning", "label-rare", None, what, "too few to learn and to validate it")


def _differences(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """What is not the same in all cases."""
    yield from _odd_ones(
        "channels",
        facts,
        lambda fact: ", ".join(fact.channels),
        "begin the pipeline with `rgb`, or convert it",
    )
    apart = "give pictures a `pixel_size:`, or make datasets of their own"
    yield from _odd_ones("unit", facts, lambda fact: fact.unit, apart)
    codes = Counter(fact.axis_codes for fact in facts)
    if len(codes) > 1:
        said = ", ".join(f"{code} {count}" for code, count in codes.most_common(6))
        do = "begin the pipeline with `reorient`"
        yield Finding("info", "orientations", None, f"orientations differ: {said}", do)
    spacings = np.array([fact.standing_spacing for fact in facts])
    if len(facts) and (spacings.max(0) / spacings.min(0)).max() > ALIKE:
        ends = (" x ".join(f"{s:.3g}" for s in each) for each in (spacings.min(0), spacings.max(0)))
        what = f"spacings along x, y, z differ: {' to '.join(ends)} {facts[0].unit}"
        yield Finding("info", "spacings", None, what, "resample them to one")
    yield from _scales(dataset, facts)


def _odd_ones(
    kind: str, facts: Sequence[CaseFacts], of: Callable[[CaseFacts], str], do: str
) -> Iterator[Finding]:
    """Cases in which something is not as in most."""
    counts = Counter(of(fact) for fact in facts)
    for fact in facts:
        usual = counts.most_common(1)[0][0]
        if of(fact) != usual:
            what = f"{kind}: {of(fact)}; {counts[usual]} cases have {usual}"
            yield Finding("error", kind, fact.id, what, do)


def _scales(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Cases whose brightness has no common scale, as in MR."""
    for channel, spec in enumerate(dataset.inputs if len(dataset.inputs) > 1 else dataset.inputs[:1]):
        medians = [fact.intensities[channel].median for fact in facts if channel < len(fact.intensities)]
        low, high = (min(medians), max(medians)) if medians else (0.0, 0.0)
        if low > 0 and high > MUCH_BRIGHTER * low:
            what = (
                f"values of {spec.name!r} have no common scale: medians of cases are {low:.3g} to {high:.3g}"
            )
            yield Finding("info", "scale", None, what, "normalise each case by itself, as `z-score` does")
