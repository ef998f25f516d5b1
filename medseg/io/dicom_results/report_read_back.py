"""What was written as a structured report, read again and compared with the measurements.

The tree is walked by itself, as a data set among data sets: nothing of the library that made it takes part. A
difference is an error, so that what is released says what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medseg.io.dicom_results.difference import different
from medseg.io.dicom_results.references import Reference
from medseg.io.dicom_results.report_groups import Entry, Group
from medseg.io.dicom_results.terms import Code

if TYPE_CHECKING:
    from pydicom import Dataset

    from medseg.io.dicom_results.origin import Origin

__all__ = ["Found", "found_in", "require_same"]

MEASUREMENTS, GROUP = ("126010", "DCM"), ("125007", "DCM")
IDENTIFIER, UNIQUE = ("112039", "DCM"), ("112040", "DCM")
FINDING, SEGMENT, SERIES = ("121071", "DCM"), ("121191", "DCM"), ("121232", "DCM")
DERIVATION, COMMENT, CATEGORY = ("121401", "DCM"), ("121106", "DCM"), ("276214006", "SCT")
SITE, SIDE, PART = ("363698007", "SCT"), ("272741003", "SCT"), ("106233006", "SCT")
NEAR = 1e-9  # of a number: what a decimal string of 16 characters can hold

Pair = tuple[str, str]


class Number(NamedTuple):
    """A number of the tree: concept, statistic, value as text and as it is, unit, comment."""

    name: Pair
    derivation: Pair | None
    text: float
    value: float
    unit: Pair
    comment: str


class Found(NamedTuple):
    """A group of the tree."""

    name: str
    uid: str
    finding: Pair
    site: tuple[Pair, Pair | None] | None
    """Where it is, and on which side or in which part of it."""
    segment: tuple[str, str, int] | None
    """SOP class and instance of the segmentation, and the segment's number there."""
    series: str | None
    numbers: tuple[Number, ...]
    findings: tuple[tuple[Pair, Pair, str], ...]
    """Of each coded finding: concept, value, comment."""


def require_same(path: Path, groups: Sequence[Group], files: Mapping[int, Reference], origin: Origin) -> None:
    """Raise MedsegError where a file does not say just what `groups` say, of the segments in `files`."""
    from pydicom import dcmread

    report = dcmread(path)
    if (report.CompletionFlag, report.VerificationFlag) != ("COMPLETE", "UNVERIFIED"):
        raise different(path, "it is marked as verified, or as not complete")
    _require_evidence(path, report, files, origin)
    found = found_in(report)
    if len(found) != len(groups):
        raise different(path, f"it has {len(found)} groups of measurements, not {len(groups)}")
    for there, meant in zip(found, groups, strict=True):
        _require_group(path, there, meant, files, str(origin.first.SeriesInstanceUID))


def found_in(report: Dataset) -> list[Found]:
    """Every group of measurements of a report, in its order."""
    return [
        _group(item)
        for container in _children(report).get(MEASUREMENTS, ())
        for item in _children(container).get(GROUP, ())
    ]


# ------------------------------------------------------------------ the tree
def _group(item: Dataset) -> Found:
    children = _children(item)
    (name,), (uid,), (finding,) = children[IDENTIFIER], children[UNIQUE], children[FINDING]
    segments, series = children.get(SEGMENT), children.get(SERIES)
    numbers, findings = list[Number](), list[tuple[Pair, Pair, str]]()
    for child in item.ContentSequence:
        if child.ValueType == "NUM":
            numbers.append(_number(child))
        elif child.ValueType == "CODE" and child.RelationshipType == "CONTAINS":
            called = _pair(child.ConceptNameCodeSequence[0])
            if called not in (CATEGORY, FINDING):
                findings.append((called, _value(child), _comment(_children(child))))
    return Found(
        name=str(name.TextValue),
        uid=str(uid.UID),
        finding=_value(finding),
        site=_site(children.get(SITE)),
        segment=_segment(segments[0]) if segments else None,
        series=str(series[0].UID) if series else None,
        numbers=tuple(numbers),
        findings=tuple(findings),
    )


def _site(items: Sequence[Dataset] | None) -> tuple[Pair, Pair | None] | None:
    if items is None:
        return None
    (item,) = items
    children = _children(item)
    modifiers = [_value(child) for name in (SIDE, PART) for child in children.get(name, ())]
    return _value(item), modifiers[0] if modifiers else None


def _segment(item: Dataset) -> tuple[str, str, int]:
    image = item.ReferencedSOPSequence[0]
    return (
        str(image.ReferencedSOPClassUID),
        str(image.ReferencedSOPInstanceUID),
        int(image.ReferencedSegmentNumber),
    )


def _number(item: Dataset) -> Number:
    children = _children(item)
    derivations = children.get(DERIVATION)
    (measured,) = item.MeasuredValueSequence
    text = float(measured.NumericValue)
    return Number(
        name=_pair(item.ConceptNameCodeSequence[0]),
        derivation=_value(derivations[0]) if derivations else None,
        text=text,
        value=float(measured.get("FloatingPointValue", text)),
        unit=_pair(measured.MeasurementUnitsCodeSequence[0]),
        comment=_comment(children),
    )


def _comment(children: Mapping[Pair, Sequence[Dataset]]) -> str:
    return "".join(str(child.TextValue) for child in children.get(COMMENT, ()))


def _children(item: Dataset) -> dict[Pair, list[Dataset]]:
    """What an item contains, by the concepts that name it."""
    found: dict[Pair, list[Dataset]] = {}
    for child in item.get("ContentSequence") or ():
        if "ConceptNameCodeSequence" in child:
            found.setdefault(_pair(child.ConceptNameCodeSequence[0]), []).append(child)
    return found


def _value(item: Dataset) -> Pair:
    return _pair(item.ConceptCodeSequence[0])


def _pair(code: Dataset) -> Pair:
    value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
    return str(value), str(code.CodingSchemeDesignator)


# ------------------------------------------------------------------ comparison
def _require_evidence(path: Path, report: Dataset, files: Mapping[int, Reference], origin: Origin) -> None:
    """Hold the list of what the report was made of against the segmentations and the images."""
    there = {
        str(object_.ReferencedSOPInstanceUID)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in report.get(keyword, ())
        for series in study.ReferencedSeriesSequence
        for object_ in series.ReferencedSOPSequence
    }
    images = {str(image.SOPInstanceUID) for image in (*origin.datasets, *origin.others)}
    if there != images | {file.sop_instance for file in files.values()}:
        raise different(path, "it does not list the segmentation and the images as its evidence")


def _require_group(
    path: Path, there: Found, meant: Group, files: Mapping[int, Reference], series: str
) -> None:
    if (there.name, there.uid) != (meant.name, meant.uid):
        raise different(path, f"a group is of {there.name!r}, not of {meant.name!r}")
    file = None if meant.segment is None else files[meant.segment]
    segment = None if file is None else (file.sop_class, file.sop_instance, meant.segment)
    if there.segment != segment or there.series != (None if file is None else series):
        raise different(path, f"the group of {meant.name!r} refers to another segment, or another series")
    if there.finding != meant.term.type[:2]:
        raise different(path, f"the group of {meant.name!r} is of another finding")
    if there.site != _meant_site(meant):
        raise different(path, f"{meant.name!r} lies elsewhere, or on another side")
    numbers = [entry for entry in meant.entries if entry.unit is not None]
    if len(numbers) != len(there.numbers):
        raise different(path, f"{meant.name!r} has {len(there.numbers)} numbers, not {len(numbers)}")
    for number, entry in zip(there.numbers, numbers, strict=True):
        if not _same_number(number, entry):
            raise different(
                path, f"{entry.quantity.name.meaning!r} of {meant.name!r} is not what was measured"
            )
    findings = [
        (entry.quantity.name[:2], entry.value[:2], entry.comment)
        for entry in meant.entries
        if isinstance(entry.value, Code)
    ]
    if findings != list(there.findings):
        raise different(path, f"findings of {meant.name!r} are not what was measured")


def _meant_site(meant: Group) -> tuple[Pair, Pair | None] | None:
    term = meant.term
    place, modifier = (term.region, term.region_modifier) if term.region else (term.type, term.modifier)
    if term.region is None and modifier is None:
        return None
    return place[:2], None if modifier is None else modifier[:2]


def _same_number(number: Number, entry: Entry) -> bool:
    derivation = entry.quantity.derivation
    if number.name != entry.quantity.name[:2] or number.comment != entry.comment:
        return False
    if number.derivation != (None if derivation is None else derivation[:2]):
        return False
    assert entry.unit is not None
    assert not isinstance(entry.value, Code)
    exact = number.value == entry.value
    return exact and math.isclose(number.text, entry.value, rel_tol=NEAR) and number.unit == entry.unit[:2]
