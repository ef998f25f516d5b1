"""Series that could be a volume: grouped, judged, told, and the one that is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.dicom.group import differences, group
from medseg.io.dicom.header import Fault, SliceHeader, code, fault_of_headers
from medseg.io.dicom.rule import conditions, meant_by, selector, told
from medseg.io.dicom.stack import Stack, next_places, placed, usual_gap
from medseg.io.verdict import OK, Candidate

if TYPE_CHECKING:
    from medseg.config import SeriesRule

__all__ = ["Choice", "Series", "candidate", "chosen", "found", "plain"]

NOT_VOLUMES = ("localizer", "colour", "not a volume")
PLANE_DEGREES = 10.0  # a slice further from a plane of the body is oblique
PLANES = ("sagittal", "coronal", "axial")  # by the axis of their normal: x, y, z
MOST_LISTED = 20
OWN_FOLDER = "(no rule tells it apart: put it into a folder of its own)"


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
    def modality(self) -> str:
        """As in "CT"; empty where the files do not say, or say more than a code."""
        return code(self.headers[0].text("Modality"))

    @property
    def description(self) -> str:
        """What the operator typed; may name the patient, so it is for the terminal only."""
        return self.headers[0].text("SeriesDescription")

    @property
    def image_type(self) -> tuple[str, ...]:
        """Values of ImageType in capitals that are codes: others may name the patient."""
        return tuple(filter(None, map(code, self.headers[0].image_type)))

    @property
    def counts(self) -> bool:
        """Whether someone could mean it as a volume: no localizer, no colour picture, no single image."""
        return self.fault is None or self.fault.verdict not in NOT_VOLUMES

    @property
    def alone(self) -> bool:
        """Whether it is a single image, or several at one position."""
        return self.fault is not None and self.fault.verdict == "not a volume"

    @cached_property
    def normal(self) -> NDArray[np.float64] | None:
        """Unit vector across the slices, LPS; None where the files do not say how they lie."""
        along = self.headers[0].orientation
        if along is None:
            return None
        normal = np.cross(*along)
        length = float(np.linalg.norm(normal))
        return None if length < 0.5 else normal / length  # the directions are nearly one

    @cached_property
    def places(self) -> NDArray[np.float64] | None:
        """Different positions along the normal, mm, in order; None where a slice does not say where it is."""
        positions = [header.position for header in self.headers]
        if self.normal is None or any(position is None for position in positions):
            return None
        heights = np.sort(np.array(positions) @ self.normal)
        first: NDArray[np.float64] = heights[np.concatenate([[0], next_places(heights)])]
        return first

    @property
    def slices(self) -> int:
        """How many positions there are; images where those are unknown."""
        return len(self.headers) if self.places is None else len(self.places)

    @property
    def phases(self) -> int:
        """Images at each position where there are equally many at all, else 1."""
        whole, rest = divmod(len(self.headers), self.slices)
        return 1 if rest else whole

    @property
    def thickness(self) -> float | None:
        """Usual distance between slices in mm, whatever SliceThickness says; None for a single one."""
        if self.places is None or len(self.places) < 2:
            return None
        return usual_gap(self.places)

    @property
    def orientation(self) -> str | None:
        """How slices lie: "axial", "coronal", "sagittal"; "oblique" beyond 10 degrees."""
        if self.normal is None:
            return None
        axis = int(np.abs(self.normal).argmax())
        near = abs(float(self.normal[axis])) >= np.cos(np.radians(PLANE_DEGREES))
        return PLANES[axis] if near else "oblique"


class Choice(NamedTuple):
    """The series that is meant, a line for each that was left out, and a line on the rule that decided."""

    series: Series
    left_out: tuple[str, ...] = ()
    decided: tuple[str, ...] = ()


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


def chosen(path: Path, found: Sequence[Series], rule: SeriesRule | None = None) -> Choice:
    """The one series that could be meant; with a rule, the one that it means.

    A single image beside a volume in one series is taken for a slice that does not fit, unless the rule
    excludes it. Raises InputError (GeometryError for one series that mixes volumes) with a list of what there
    is, and UsageError where the rule's expression is none.
    """
    volumes = [series for series in found if series.counts]
    strays = [s for s in found if s.alone and any(s.uid == volume.uid for volume in volumes)]
    pool = volumes + strays or list(found)
    kept = pool
    if rule is not None:
        _refuse_two_uids(path, found, rule)
        kept, lacking = meant_by(rule, pool)
        kept = kept or meant_by(rule, found)[0]  # it may mean a localizer: that is then said of it
        if not kept:
            raise InputError(f"{path.name}: {lacking}, {_listed(pool)}")
    if len(kept) > 1:
        raise _undecided(path, kept, pool, ruled=rule is not None)
    rest = [series for series in found if series is not kept[0]]
    decided: tuple[str, ...] = ()
    if rule is not None and any(series.counts for series in rest):
        # what the rule's expression for descriptions says may be a name, and of a UID its end is told already
        asked = conditions(rule)
        by = ", ".join(
            name if name in ("uid", "description") else told({name: value}) for name, value in asked.items()
        )
        decided = (f"series: {_line(kept[0])} of {len(pool)}, by {by}",)
    return Choice(kept[0], tuple(f"left out: {_line(series)}" for series in rest), decided)


def _refuse_two_uids(path: Path, found: Sequence[Series], rule: SeriesRule) -> None:
    """The end of a UID must belong to one series, or it may be a slip of the pen."""
    if rule.uid is None or any(series.uid == rule.uid for series in found):
        return
    ending = [series for series in found if series.uid.endswith(rule.uid)]
    if len({series.uid for series in ending}) > 1:
        raise InputError(f"{path.name}: more than one series ends with {rule.uid}, {_listed(ending)}")


def _undecided(path: Path, kept: Sequence[Series], pool: Sequence[Series], *, ruled: bool) -> InputError:
    """Why none of these was taken, and how to say which is meant."""
    if len({series.uid for series in kept}) == 1 and any(series.counts for series in kept):
        sizes = " + ".join(str(len(series.headers)) for series in kept)
        differ = differences([series.headers for series in kept])
        if differ == "patient":
            return InputError(
                f"{path.name}: more than one patient in one series ({sizes} images), as "
                f"{kept[-1].headers[0].name}; put each patient's images into a folder of their own"
            )
        return GeometryError(
            f"{path.name}: one series mixes {sizes} images of different {differ}, as "
            f"{kept[-1].headers[0].name}, {_listed([series for series in kept if series.counts], kept)}"
        )
    fit = " that the rule fits" if ruled else ""
    return InputError(f"{path.name}: more than one series ({len(kept)}){fit}, {_listed(kept, pool)}")


def _listed(series: Sequence[Series], pool: Sequence[Series] | None = None) -> str:
    """The end of a refusal: each series in a few words, and what would mean it among all of `pool`."""
    lines = []
    for each in series[:MOST_LISTED]:
        words = selector(each, pool or series)
        lines.append(f"{_line(each, described=True)} {f'--series {words}' if words else OWN_FOLDER}")
    more = len(series) - len(lines)
    return f"choose one with --series: {'; '.join(lines)}{f'; and {more} more' if more > 0 else ''}"


def _line(series: Series, *, described: bool = False) -> str:
    """A series in a few words; `described` adds the operator's text, for the terminal only."""
    about = candidate(series)
    size = " x ".join(str(n) for n in about.shape or ())
    spacing = " x ".join(f"{s:.4g}" for s in about.spacing or ())
    words = [about.description if described else "", about.modality or "image"]
    words += [
        about.orientation or "" if described else "",
        size,
        f"spacing {spacing} mm" if spacing else "",
        "" if about.readable else f"({about.verdict})",
    ]
    if not described:
        words.append(f"UID ...{about.uid_tail}" if about.uid_tail else "no UID")
    return " ".join(word for word in words if word)


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
        modality=series.modality or None,
        shape=(columns, rows, len(series.headers) // series.phases),
        spacing=None if grid is None else grid.spacing,
        axis_codes=None if grid is None else grid.axis_codes,
        dtype=f"{'int' if signed else 'uint'}{bits}" if bits else "",
        files=len({header.path for header in series.headers}),
        description=plain(series.description),
        uid_tail=plain(series.uid[-8:]) or None,
        verdict=OK if fault is None else fault.verdict,
        detail=_detail(series),
        thickness_mm=series.thickness,
        orientation=series.orientation,
        image_type=series.image_type,
        phases=series.phases,
        reading_bytes=_reading_bytes(series),
    )


def _reading_bytes(series: Series) -> int:
    """Voxels of one phase, as whole numbers where scaling leaves them whole, and a mask of padding."""
    rows, columns = series.headers[0].size
    whole = all(
        slope == 1 and intercept.is_integer()
        for slope, intercept in (header.rescale for header in series.headers)
    )
    return rows * columns * (len(series.headers) // series.phases) * (3 if whole else 5)


def _detail(series: Series) -> str:
    if series.fault is not None:
        return series.fault.detail
    return "" if series.stack is None else "; ".join(series.stack.doubts())


def plain(text: str) -> str:
    """Text from a header without what a terminal or a web page could obey."""
    return re.sub(r"[^\w .,:+*/()\-]", "_", text)[:64]
