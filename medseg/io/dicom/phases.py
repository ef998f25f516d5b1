"""Several images at each position: phases, echoes or time points, and what tells them apart."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from medseg.io.dicom.header import SliceHeader, joined

__all__ = ["Phases", "in_order", "phases"]

Place = Sequence[SliceHeader]
"""The images at one position."""
Value = tuple[float | str, ...]

# Tags that differ between phases, in the order in which they are asked; times of the day come late, since
# they tell when a file was made as often as when the image was taken.
TELLING = (
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "EchoTime",
    "TriggerTime",
    "DiffusionBValue",
    "AcquisitionTime",
    "ContentTime",
    "ImageType",
)
UNITS = {"EchoTime": " ms", "TriggerTime": " ms", "DiffusionBValue": " s/mm2"}
SHOWN = 6
# Of all positions: where fewer are shared, or in a phase of fewer, images are strays or slabs that overlap
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Phases:
    """The images of each phase, first phase first, and what tells them apart."""

    images: tuple[tuple[SliceHeader, ...], ...]
    names: tuple[str, ...]
    """One for each phase, as in "EchoTime 4.6 ms"."""
    by: str
    """All of it in a few words, as in "EchoTime 4.6, 9.2 ms"."""
    tagged: bool
    """Whether a tag tells the phases apart, and not only the order of images at each position."""


def phases(places: Sequence[Place]) -> Phases | None:
    """Split images by what tells those at one position apart; None where nothing does.

    One tag that has a value of its own for each phase, else two tags together. Where there are as many images
    at each position but no such tag, the n-th by InstanceNumber, or by frame, at each position makes phase n.
    """
    if max(map(len, places)) < 2:
        return None
    for count in (1, 2):
        for keywords in combinations(TELLING, count):
            told = _told_by(places, keywords)
            if told is not None:
                return _named(keywords, told)
    return _by_number(places)


def in_order(image: SliceHeader) -> tuple[float, str, int]:
    """The order among images at one position: InstanceNumber, those without one last, then file and frame."""
    number = image.number("InstanceNumber")
    return (math.inf if number is None else number, str(image.path), image.frame or 0)


def _told_by(places: Sequence[Place], keywords: tuple[str, ...]) -> dict[Value, list[SliceHeader]] | None:
    """Images by the value of these tags, if each position has each value once at most and none strays."""
    told: dict[Value, list[SliceHeader]] = {}
    for place in places:
        here = set()
        for image in place:
            value = tuple(_value(image, keyword) for keyword in keywords)
            if value in here or "" in value:
                return None
            here.add(value)
            told.setdefault(value, []).append(image)
    if len(told) != max(map(len, places)) or len({tuple(map(type, value)) for value in told}) > 1:
        return None
    shared = sum(len(place) > 1 for place in places)
    return told if min(shared, *map(len, told.values())) >= LEAST_SHARE * len(places) else None


def _value(image: SliceHeader, keyword: str) -> float | str:
    number = image.number(keyword)
    if number is not None:
        return number
    text = image.text(keyword)
    if keyword.endswith("Time"):
        try:
            return float(text)
        except ValueError:
            return ""
    return text


def _named(keywords: tuple[str, ...], told: dict[Value, list[SliceHeader]]) -> Phases:
    values = sorted(told)
    names = tuple(
        " and ".join(
            f"{keyword} {_shown(value)}{UNITS.get(keyword, '')}"
            for keyword, value in zip(keywords, parts, strict=True)
        )
        for parts in values
    )
    by = joined(names, SHOWN)
    if len(keywords) == 1:
        numbers = joined((_shown(value[0]) for value in values), SHOWN)
        by = f"{keywords[0]} {numbers}{UNITS.get(keywords[0], '')}"
    return Phases(tuple(tuple(told[value]) for value in values), names, by, tagged=True)


def _shown(value: float | str) -> str:
    """A number in full, or a code string without what DICOM does not allow in one."""
    return f"{value:.10g}" if isinstance(value, float) else re.sub(r"[^A-Z0-9_ \\]", "_", value)[:64]


def _by_number(places: Sequence[Place]) -> Phases | None:
    count = len(places[0])
    numbers = [[(image.number("InstanceNumber"), image.frame) for image in place] for place in places]
    if any(len(set(here)) != count or len(here) != count or (None, None) in here for here in numbers):
        return None
    ordered = [sorted(place, key=in_order) for place in places]
    by = "InstanceNumber" if places[0][0].frame is None else "the order of frames"
    return Phases(
        tuple(tuple(place[n] for place in ordered) for n in range(count)),
        tuple(f"image {n + 1} by {by} at each position" for n in range(count)),
        by,
        tagged=False,
    )
