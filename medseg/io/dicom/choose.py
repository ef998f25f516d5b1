"""Series that could be a volume: grouped, judged, told, and the one that is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import GeometryError, InputError
from medseg.io.dicom.group import differences, group
from medseg.io.dicom.header import Fault, SliceHeader, fault_of_headers
from medseg.io.dicom.stack import Stack, placed
from medseg.io.verdict import OK, Candidate

__all__ = ["Series", "candidate", "chosen", "found", "plain"]

NOT_VOLUMES = ("localizer", "colour", "not a volume")


@dataclass(frozen=True, eq=False)
class Series:
    """Images that could be one volume, in order where they could be placed, and what forbids reading them."""

    headers: tuple[SliceHeader, ...]
    stack: Stack | None
    fault: Fault | None

    @property
    def uid(self) -> str:
        """The series UID; empty in some anonymised files."""
        return self.headers[0].text("SeriesInstanceUID")

    @property
    def counts(self) -> bool:
        """Whether someone could mean it as a volume: no localizer, no colour picture, no single image."""
        return self.fault is None or self.fault.verdict not in NOT_VOLUMES


def found(headers: Sequence[SliceHeader]) -> list[Series]:
    """Every stack of images among these headers, the largest first, each judged."""
    return [_judged(stack) for stack in group(headers)]


def _judged(headers: tuple[SliceHeader, ...]) -> Series:
    if "LOCALIZER" in headers[0].image_type[2:]:
        return Series(headers, None, Fault("localizer", f"{len(headers)} localizer image(s), not a volume"))
    fault = fault_of_headers(headers)
    if fault is not None:
        return Series(headers, None, fault)
    stack, fault = placed(headers)
    return Series(headers, stack, fault)


def chosen(path: Path, found: Sequence[Series]) -> tuple[Series, tuple[str, ...]]:
    """The one series that could be meant, and a line for each that was left out."""
    meant = [series for series in found if series.counts]
    if not meant and len(found) == 1:
        return found[0], ()
    stray = next(
        (s for s in found for m in meant if s.fault and s.fault.verdict == "not a volume" and s.uid == m.uid),
        None,
    )
    if len(meant) == 1 and stray is None:
        others = [series for series in found if series is not meant[0]]
        return meant[0], tuple(f"left out: {_line(series)}" for series in others)
    mixed = [series for series in found if series.uid == found[0].uid]
    if len(mixed) == len(found) or stray is not None:
        sizes = " + ".join(str(len(series.headers)) for series in mixed)
        differ = differences([series.headers for series in mixed])
        raise GeometryError(
            f"{path.name}: one series mixes {sizes} images of different {differ}, as "
            f"{mixed[-1].headers[0].name}; separate them into one folder each"
        )
    listed = "; ".join(_line(series, described=True) for series in (meant or found))
    raise InputError(
        f"{path.name}: more than one series ({len(meant or found)}), give one folder only: {listed}"
    )


def _line(series: Series, *, described: bool = False) -> str:
    """A series in a few words; `described` adds the operator's text, for the terminal only."""
    told = candidate(series)
    size = " x ".join(str(n) for n in told.shape or ())
    spacing = " x ".join(f"{s:.4g}" for s in told.spacing or ())
    words = [told.description if described else "", told.modality or "image", size]
    words += [
        f"spacing {spacing} mm" if spacing else "",
        "" if told.readable else f"({told.verdict})",
    ]
    tail = f"UID ...{told.uid_tail}" if told.uid_tail else "no UID"
    return " ".join([*(word for word in words if word), tail])


def candidate(series: Series) -> Candidate:
    """What `medseg info` says of one series."""
    first = series.headers[0]
    rows, columns = first.size
    fault, grid = series.fault, None
    if series.stack is not None and (
        fault is None or fault.verdict not in ("not a volume", "several phases")
    ):
        grid = series.stack.grid
    signed, bits = first.whole("PixelRepresentation", 0), first.whole("BitsAllocated", 0)
    return Candidate(
        format="DICOM series",
        modality=plain(first.text("Modality")) or None,
        shape=(columns, rows, len(series.headers)),
        spacing=None if grid is None else grid.spacing,
        axis_codes=None if grid is None else grid.axis_codes,
        dtype=f"{'int' if signed else 'uint'}{bits}" if bits else "",
        files=len(series.headers),
        description=plain(first.text("SeriesDescription")),
        uid_tail=plain(series.uid[-8:]) or None,
        verdict=OK if fault is None else fault.verdict,
        detail="" if fault is None else fault.detail,
    )


def plain(text: str) -> str:
    """Text from a header without what a terminal or a web page could obey."""
    return re.sub(r"[^\w .,:+*/()\-]", "_", text)[:64]
