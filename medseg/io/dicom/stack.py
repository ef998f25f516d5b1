"""Slices in space: sorted by position, checked, and placed on one grid.

The order of slices, their spacing and any tilt come from ImagePositionPatient alone: InstanceNumber,
SliceThickness and GantryDetectorTilt are often wrong. What does not lie on one regular grid is a fault with
its size in millimetres. LPS becomes RAS+ here and in `even_grid`, and nowhere else for DICOM.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom.header import Fault, SliceHeader
from medseg.io.dicom.phases import phases
from medseg.volume import LPS_TO_RAS, Grid, Planes

__all__ = [
    "Stack", "crowded", "next_places", "off_line", "placed", "stacked", "tilted", "tolerance",
    "unevenly_spaced", "usual_gap",
]  # fmt: skip

# docs/explanation/geometry.md has these in a table
UNEVEN_MM = 0.01  # positions are often written with two decimals
UNEVEN = 0.01  # of the slice spacing; ITK warns at 0.1 %, dcm2niix resamples beyond 1 % or so
TILT_DEGREES = 0.1  # 0.5 mm over 300 mm; gantry tilts are set in steps of 0.5 degrees
TURNED_VOXELS = 0.5  # how far a slice's corner may be from the common plane where orientations are rounded
TOLD_VOXELS = 0.1  # from here on, an accepted turn is worth a note
SAME_PLACE = 0.01  # of the mean spacing: closer slices are at one position
LEAST_COUNTED = 3  # slices whose numbers tell a rule
SAME_PLACE_MM = 1e-3  # ... and so are these, whatever the mean: all images may be at one position


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order along their normal, with positions `[n, 3]` and `heights` along the normal, LPS mm."""

    headers: tuple[SliceHeader, ...]
    positions: NDArray[np.float64]
    heights: NDArray[np.float64]
    directions: NDArray[np.float64]
    """Unit vectors `[3, 3]` in rows: along a row, along a column, normal."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows: voxels along i and j."""
        rows, columns = self.headers[0].size
        return columns, rows

    @property
    def in_plane(self) -> NDArray[np.float64]:
        """Steps `[2, 3]` from one column to the next and from one row to the next, LPS mm."""
        assert self.headers[0].spacing is not None
        steps: NDArray[np.float64] = self.directions[:2] * self.headers[0].spacing[::-1, None]
        return steps

    @property
    def grid(self) -> Grid:
        """Columns, rows and slices along i, j, k, in RAS+ mm; true for evenly spaced slices only."""
        affine = np.eye(4)
        affine[:3, :2] = self.in_plane.T
        affine[:3, 2] = self.step
        affine[:3, 3] = self.positions[0]
        return Grid((*self.size, len(self.headers)), LPS_TO_RAS @ affine)

    @property
    def planes(self) -> Planes:
        """Each slice where it is, in RAS+ mm; its thickness is half the way to both of its neighbours."""
        gaps = np.diff(self.heights)
        thickness = (np.append(gaps, gaps[-1]) + np.insert(gaps, 0, gaps[0])) / 2
        affines = np.tile(np.eye(4), (len(self.headers), 1, 1))
        affines[:, :3, :2] = self.in_plane.T
        affines[:, :3, 2] = self.directions[2] * thickness[:, None]
        affines[:, :3, 3] = self.positions
        return Planes(self.size, LPS_TO_RAS @ affines)

    @property
    def step(self) -> NDArray[np.float64]:
        """From one slice to the next, LPS mm, taken over the whole stack; the normal for a single slice."""
        if len(self.headers) < 2:
            normal: NDArray[np.float64] = self.directions[2]
            return normal
        mean: NDArray[np.float64] = (self.positions[-1] - self.positions[0]) / (len(self.headers) - 1)
        return mean

    @property
    def usual(self) -> float:
        """The slice distance most neighbours have, mm."""
        return usual_gap(self.heights)

    @property
    def drift(self) -> float:
        """How far a slice is from where equal distances would have it, mm."""
        return float(np.abs(self.heights - self.evened().heights).max())

    def evened(self) -> Stack:
        """The same slices at equal distances between the first and the last."""
        at = np.arange(len(self.headers))[:, None]
        positions = self.positions[0] + at * self.step
        return replace(self, positions=positions, heights=positions @ self.directions[2])

    def places(self) -> list[NDArray[np.intp]]:
        """Indices of the slices at each position along the normal."""
        return np.split(np.arange(len(self.headers)), next_places(self.heights))

    def only(self, headers: Sequence[SliceHeader]) -> Stack:
        """A stack of these of its slices."""
        wanted = {id(header) for header in headers}
        at = [n for n, header in enumerate(self.headers) if id(header) in wanted]
        kept = tuple(self.headers[n] for n in at)
        return Stack(kept, self.positions[at], self.heights[at], self.directions)

    def steps(self) -> NDArray[np.intp] | None:
        """How many regular slice distances lie between neighbours; None where distances are uneven."""
        gaps, usual = np.diff(self.heights), self.usual
        times = np.rint(gaps / usual).astype(np.intp)
        if times.min() < 1 or np.any(np.abs(gaps - times * usual) > times * tolerance(usual)):
            return None
        along = np.concatenate([[0], np.cumsum(times)])
        even = self.heights[0] + along * (self.heights[-1] - self.heights[0]) / along[-1]
        return times if np.abs(self.heights - even).max() <= tolerance(usual) else None

    def slope(self) -> NDArray[np.float64]:
        """How far slices move aside for each mm along the normal, LPS mm, from first to last."""
        way: NDArray[np.float64] = self.positions[-1] - self.positions[0]
        height = self.heights[-1] - self.heights[0]
        aside: NDArray[np.float64] = way / height - self.directions[2]
        return aside

    def name(self, index: int) -> str:
        """The file of slice `index`, in order."""
        return self.headers[index].name

    def where(self, index: int) -> str:
        """The place of slice `index` in words: z for axial slices, else the distance along the normal."""
        axis = int(np.abs(self.directions[2]).argmax())
        return f"{'xyz'[axis]}={self.positions[index][axis]:.2f} mm"

    def turns(self) -> NDArray[np.float64]:
        """How far each slice is turned against the first, mm at its far corner."""
        written = np.array([header.orientation for header in self.headers])
        along = written / np.linalg.norm(written, axis=2, keepdims=True)
        lengths = np.linalg.norm(self.in_plane, axis=1) * self.size
        off: NDArray[np.float64] = np.linalg.norm(along - self.directions[:2], axis=2) @ lengths
        return off

    def notes(self) -> tuple[str, ...]:
        """What is accepted as rounding and still worth knowing."""
        most = float(self.turns().max())
        if most <= TOLD_VOXELS * self.smallest():
            return ()
        return (f"orientations differ by up to {most:.2f} mm at the far corner: the first slice's is taken",)

    def doubts(self) -> tuple[str, ...]:
        """What tags say against a whole stack of one image a slice; positions alone know nothing of it."""
        told = []
        numbers = [header.number("InstanceNumber") for header in self.headers if header.frame is None]
        known = [number for number in numbers if number is not None]
        steps = set(np.abs(np.diff(known)).tolist())
        if len(known) == len(self.headers) >= LEAST_COUNTED and len(steps) == 1 and max(steps) > 1:
            step = max(steps)
            those = "every second image" if step == 2 else f"{step - 1:g} of {step:g} images"
            told.append(f"InstanceNumber counts by {step:g}: {those} may be missing, or be of another kind")
        uids = Counter((header.text("SOPInstanceUID"), header.frame) for header in self.headers)
        shared = sum(count for (uid, _), count in uids.items() if uid and count > 1)
        if shared:
            told.append(f"{shared} slices share a SOPInstanceUID: no result can refer to one of them")
        return tuple(told)

    def smallest(self) -> float:
        """Smallest distance between two voxels, mm."""
        return float(min(*np.linalg.norm(self.in_plane, axis=1), np.linalg.norm(self.step)))


def next_places(heights: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where, among heights in order, each position but the first one begins."""
    gaps = np.diff(heights)
    limit = max(SAME_PLACE_MM, SAME_PLACE * gaps.sum() / max(1, len(gaps)))
    return np.flatnonzero(gaps > limit) + 1


def usual_gap(heights: NDArray[np.float64]) -> float:
    """The median distance of neighbours, of heights in order; the lower middle one, right for two gaps."""
    gaps = np.sort(np.diff(heights))
    return float(gaps[(len(gaps) - 1) // 2])


def stacked(headers: Sequence[SliceHeader]) -> Stack:
    """Sort slices that each have a position and an orientation; the first one's orientation counts."""
    directions = _directions(headers[0])
    positions = np.array([header.position for header in headers])
    heights = positions @ directions[2]
    order = np.lexsort((np.arange(len(headers)), heights))
    return Stack(tuple(headers[n] for n in order), positions[order], heights[order], directions)


def placed(headers: Sequence[SliceHeader]) -> tuple[Stack, Fault | None]:
    """Slices in order, and what keeps them off one regular grid: the first fault of all."""
    stack = stacked(headers)
    for check in (crowded, off_line, unevenly_spaced, tilted):
        fault = check(stack)
        if fault is not None:
            return stack, fault
    return stack, None


def tolerance(step: float) -> float:
    """Largest difference between two slice distances that counts as rounding, mm."""
    return max(UNEVEN_MM, UNEVEN * step) + 1e-6


def _directions(header: SliceHeader) -> NDArray[np.float64]:
    assert header.orientation is not None
    along = header.orientation / np.linalg.norm(header.orientation, axis=1, keepdims=True)
    normal = np.cross(along[0], along[1])
    return np.stack([along[0], along[1], normal / np.linalg.norm(normal)])


# ------------------------------------------------------------------ checks, in their order
def crowded(stack: Stack) -> Fault | None:
    """Too few positions for a volume, or several images at one position."""
    places = stack.places()
    if len(stack.headers) == 1:
        what = f"{stack.name(0)} is a single slice"
        return Fault("not a volume", f"{what}, not a volume; give the folder of its series")
    most = max(map(len, places))
    if most == 1:
        return None
    first = next(place for place in places if len(place) > 1)
    pair = f"{stack.name(first[0])} and {stack.name(first[1])}"
    if len(places) == 1:
        what = f"{most} images at one position, {stack.where(0)} (as {pair})"
        return Fault("not a volume", f"{what}: one slice over time, or copies, not a volume", geometry=True)
    images = [[stack.headers[n] for n in place] for place in places]
    told = phases(images)
    uniform = {len(place) for place in places} == {most}
    if told is None and not uniform:
        detail = f"duplicate: {pair} lie at the same position, {stack.where(int(first[0]))}"
        return Fault(
            "duplicate positions",
            f"{detail}; keep one of them, or let --duplicates first keep the lowest InstanceNumber",
            geometry=True,
        )
    what = f"{'' if uniform else 'up to '}{most} images at each of {len(places)} positions (as {pair})"
    if told is None:
        reason = "phases, echoes or copies that nothing tells apart. Separate them into one folder each"
    elif told.tagged:
        reason = f"{most} phases told apart by {told.by}; --phase N reads one of them"
    else:
        reason = f"{most} phases that no tag tells apart; --phase N reads the N-th by {told.by}"
    return Fault("several phases", f"{what}: {reason}", geometry=True)


def off_line(stack: Stack) -> Fault | None:
    """A slice that is turned against the others, or shifted in its plane: no policy makes sense of it."""
    return _turned(stack) or _sideways(stack)


def _turned(stack: Stack) -> Fault | None:
    """Orientations that differ by more than rounding, as mm at the far corner of a slice."""
    off = stack.turns()
    if off.max() <= TURNED_VOXELS * stack.smallest():
        return None
    at = int(np.argmax(off > TURNED_VOXELS * stack.smallest()))
    return Fault(
        "mixed orientation",
        f"{stack.name(at)} is turned against the other slices by {off[at]:.2f} mm at its far corner: "
        "orientation is inconsistent",
        geometry=True,
    )


def _sideways(stack: Stack) -> Fault | None:
    """Origins off one straight line, whatever their distances along it."""
    along = (stack.heights - stack.heights[0])[:, None]
    off = np.linalg.norm(
        stack.positions - stack.positions[0] - along * (stack.slope() + stack.directions[2]), axis=1
    )
    assert stack.headers[0].spacing is not None
    limit = tolerance(float(stack.headers[0].spacing.max())) + tolerance(float(np.linalg.norm(stack.step)))
    if off.max() <= limit:
        return None
    # the shifted slice may be the first or the last: medians find the line of the others
    slope = np.median(np.diff(stack.positions, axis=0) / np.diff(along, axis=0), axis=0)
    rest = stack.positions - along * slope
    off = np.linalg.norm(rest - np.median(rest, axis=0), axis=1)
    at = int(off.argmax())
    return Fault(
        "shifted slice",
        f"slice {stack.name(at)} lies {off[at]:.2f} mm off the line of the others, at {stack.where(at)}",
        geometry=True,
    )


def unevenly_spaced(stack: Stack) -> Fault | None:
    """Slices missing from a regular stack, or distances that differ by more than rounding."""
    gaps, steps, usual = np.diff(stack.heights), stack.steps(), stack.usual
    if steps is None:
        at = int(np.abs(gaps - usual).argmax())
        pair = f"{stack.name(at)} and {stack.name(at + 1)} are {gaps[at]:.3f} mm apart, at {stack.where(at)}"
        return Fault(
            "uneven spacing",
            f"slice spacing varies from {gaps.min():.3f} to {gaps.max():.3f} mm (slices {pair}), "
            f"up to {stack.drift:.3f} mm off an even stack{_tilt_too(stack)}; --gaps resample makes it even",
            geometry=True,
        )
    lacking = int(steps.sum()) - len(steps)
    if lacking == 0:
        return None
    wide = np.flatnonzero(steps > 1)
    at = int(wide[0])
    after = "after" if len(wide) == 1 else f"in {len(wide)} places, first after"
    what, them = ("1 slice is", "it") if lacking == 1 else (f"{lacking} slices are", "them")
    return Fault(
        "missing slice",
        f"slices {stack.name(at)} and {stack.name(at + 1)} are {gaps[at]:.2f} mm apart, the others "
        f"{usual:.2f} mm: {what} probably missing {after} {stack.where(at)}{_tilt_too(stack)}; "
        f"--gaps resample fills {them} in",
        geometry=True,
    )


def _tilt_too(stack: Stack) -> str:
    fault = tilted(stack)
    return "" if fault is None else f", and {fault.detail.partition(':')[0]}"


def tilted(stack: Stack) -> Fault | None:
    """Slices that move aside from one to the next: their voxels are not upright boxes."""
    aside = float(np.linalg.norm(stack.slope()))
    degrees = math.degrees(math.atan(aside))
    if degrees <= TILT_DEGREES:
        return None
    return Fault(
        "gantry tilt",
        f"gantry tilt {degrees:.1f} degrees: each slice is shifted by {aside * stack.usual:.2f} mm against "
        "the one before, so the voxels are not upright boxes; --tilt resample makes them so",
        geometry=True,
    )
