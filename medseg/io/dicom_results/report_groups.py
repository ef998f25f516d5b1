"""What a structured report says: a group of numbers and findings for each segment, and for each lesion in it.

The groups are plain values, from which the report is built and against which it is read back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from medseg.errors import InputError
from medseg.io.dicom_results.origin import Origin, one_line
from medseg.io.dicom_results.quantities import (
    LEAST,
    MOST,
    UNKNOWN,
    YES_NO,
    Quantity,
    quantity_of,
    unit_of,
)
from medseg.io.dicom_results.segments import Segment, segments_of, tracking_uid
from medseg.io.dicom_results.terms import Code, Term, private, term_of
from medseg.prediction import Measured, Result

__all__ = ["Entry", "Group", "groups_of"]


ALL = "All objects of the label, each of which is a segment of its own"
PART = "Lesion {} of those in the segment, the largest first"
MOST_COMMENT = 1024  # characters of a flag
MOST_GROUPS = 10_000  # each of some ten numbers: a minute and a gigabyte


class Entry(NamedTuple):
    """A number with its unit, or a coded finding, which has none: a word, or that a value is unknown."""

    quantity: Quantity
    value: float | int | Code
    unit: Code | None
    comment: str = ""


@dataclass(frozen=True)
class Group:
    """What was measured of one segment, of one lesion within a segment, or of all objects of a label.

    `segment` is the number that the group refers to; None for a label whose objects are segments each.
    """

    name: str
    uid: str
    term: Term
    segment: int | None
    entries: tuple[Entry, ...]
    comment: str = ""


def groups_of(result: Result, origin: Origin) -> tuple[Group, ...]:
    """All groups in the order of the labels; each label has one, also where nothing was measured of it.

    Raises InputError for more than a report can be read with.
    """
    rows: dict[tuple[str, int | None], list[Measured]] = {}
    for row in result.measurements:
        rows.setdefault((row.label, row.object), []).append(row)
    segments: dict[str, dict[int | None, Segment]] = {}
    for segment in segments_of(result.segmentation):
        segments.setdefault(segment.label.name, {})[segment.object_id] = segment
    codes = _Codes(result)
    made: list[Group] = []
    for label in result.segmentation.labels:
        own = segments[label.name]
        numbers = {None, *own, *(number for name, number in rows if name == label.name)}
        for number in sorted(numbers, key=lambda each: -1 if each is None else each):
            found = rows.get((label.name, number), [])
            if number is None and None not in own and not found:
                continue  # its objects are the segments, and nothing was measured of it as a whole
            named = own.get(number, Segment(0, label, number))
            there = own.get(number, own.get(None))
            made.append(
                Group(
                    name=named.name,
                    uid=tracking_uid(origin, result.provenance, named),
                    term=term_of(label),
                    segment=None if there is None else there.number,
                    entries=tuple(codes.entries(found)),
                    comment="" if number in own else ALL if number is None else PART.format(number),
                )
            )
    if len(made) > MOST_GROUPS:
        raise InputError(
            f"{len(made)} labels, lesions and objects; a structured report holds {MOST_GROUPS}. "
            "Leave small ones out (remove-small), or use the CSV table"
        )
    return tuple(made)


class _Codes:
    """How rows of this result are coded: what intensities are of, and which words are its labels."""

    def __init__(self, result: Result) -> None:
        source = result.volume.source
        self._modality = source.modality if source is not None else None
        self._labels = {label.name: label for label in result.segmentation.labels}

    def entries(self, rows: Iterable[Measured]) -> Iterator[Entry]:
        """The entries of rows in their order; the ends of an interval follow their number."""
        for row in rows:
            comment, value = one_line(row.flag, MOST_COMMENT), _plain(row.value)
            if value is None:  # as a finding: a number without a value stops common readers
                yield Entry(Quantity(private(row.quantity)), UNKNOWN, None, comment)
                continue
            quantity = quantity_of(row.quantity, unit=row.unit, modality=self._modality)
            if isinstance(value, str):
                yield Entry(quantity, self._finding(value), None, comment)
                continue
            yield Entry(quantity, value, unit_of(row.unit), comment)
            for end, limit in zip((LEAST, MOST), row.interval or (), strict=False):
                number = _plain(limit)
                if number is None:
                    yield Entry(_end(quantity, end), UNKNOWN, None)
                else:
                    yield Entry(_end(quantity, end), float(number), unit_of(row.unit))

    def _finding(self, value: str) -> Code:
        term = term_of(self._labels[value]) if value in self._labels else None
        if term is not None and term.modifier is None and term.region is None:
            return term.type  # a code alone: "kidney" for "left kidney" would lose the side
        return YES_NO.get(value) or private(one_line(value))


def _end(quantity: Quantity, end: Code) -> Quantity:
    """An end of an interval: the least or most of the quantity, or of one that is a statistic already."""
    if quantity.derivation is None:
        return Quantity(quantity.name, end)
    words = f"{quantity.derivation.meaning} of {quantity.name.meaning}, {end.meaning.lower()}"
    return Quantity(private(words))


def _plain(value: float | int | str | None) -> float | int | str | None:
    """A value as Python's own: a plugin may give NumPy's. None for what is no number."""
    if value is None or isinstance(value, str):
        return value
    item = getattr(value, "item", None)
    number: float | int = item() if callable(item) else value
    return number if math.isfinite(number) else None
