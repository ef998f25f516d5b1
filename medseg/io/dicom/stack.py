"""Slices in space: sorted by position, checked, and placed on one grid.

The order of slices, their spacing and any tilt come from ImagePositionPatient alone: InstanceNumber,
SliceThickness and GantryDetectorTilt are often wrong. What does not lie on one regular grid is a fault with
its size in millimetres. LPS becomes RAS+ here, and nowhere else for DICOM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom.header import Fault, SliceHeader, joined
from medseg.volume import LPS_TO_RAS, Grid

__all__ = ["Stack", "placed"]

UNEVEN_MM = 0.01  # positions are often written with two decimals
UNEVEN = 0.01  # of the slice spacing; ITK warns at 0.1 %, dcm2niix resamples beyond 1 % or so
TILT_DEGREES = 0.1  # 0.5 mm over 300 mm; gantry tilts are set in steps of 0.5 degrees
TURNED_VOXELS = 0.5  # how far a slice's corner may be from the common plane where orientations are rounded
SAME_PLACE = 0.01  # of the mean spacing: closer slices are at one position
TELLING = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "TriggerTime", "ImageType")


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order along their normal, with positions `[n, 3]` and `heights` along the normal, LPS mm."""

    headers: tuple[SliceHeader, ...]
    positions: NDArray[np.float64]
    heights: NDArray[np.float64]
    directions: NDArray[np.float64]
    """Unit vectors `[3, 3]` in rows: along a row, along a column, normal."""

    @property
    def grid(self) -> Grid:
        """Columns, rows and slices along i, j, k, in RAS+ mm."""
        first = self.headers[0]
        assert first.spacing is not None
        rows, columns = first.size
        between_rows, between_columns = first.spacing
        affine = np.eye(4)
        affine[:3, 0] = self.directions[0] * between_columns
        affine[:3, 1] = self.directions[1] * between_rows
        affine[:3, 2] = self.step
        affine[:3, 3] = self.positions[0]
        return Grid((columns, rows, len(self.headers)), LPS_TO_RAS @ affine)

    @property
    def step(self) -> NDArray[np.float64]:
        """From one slice to the next, LPS mm, taken over the whole stack; the normal for a single slice."""
        if len(self.headers) < 2:
            normal: NDArray[np.float64] = self.directions[2]
            return normal
        mean: NDArray[np.float64] = (self.positions[-1] - self.positions[0]) / (len(self.headers) - 1)
        return mean

    def name(self, index: int) -> str:
        """The file of slice `index`, in order."""
        return self.headers[index].name

    def where(self, index: int) -> str:
        """The place of slice `index` in words: z for axial slices, else the distance along the normal."""
        axis = int(np.abs(self.directions[2]).argmax())
        return f"{'xyz'[axis]}={self.positions[index][axis]:.2f} mm"


def placed(headers: Sequence[SliceHeader]) -> tuple[Stack, Fault | None]:
    """Sort slices that each have a position and an orientation; say what keeps them off one regular grid."""
    directions = _directions(headers[0])
    positions = np.array([header.position for header in headers])
    heights = positions @ directions[2]
    order = np.lexsort((np.arange(len(headers)), heights))
    stack = Stack(tuple(headers[n] for n in order), positions[order], heights[order], directions)
    for check in (_one_slice, _duplicates, _turned, _missing, _uneven, _tilted, _sideways):
        fault = check(stack)
        if fault is not None:
            return stack, fault
    return stack, None


def _directions(header: SliceHeader) -> NDArray[np.float64]:
    assert header.orientation is not None
    along = header.orientation / np.linalg.norm(header.orientation, axis=1, keepdims=True)
    normal = np.cross(along[0], along[1])
    return np.stack([along[0], along[1], normal / np.linalg.norm(normal)])


def _tolerance(step: float) -> float:
    """Largest difference between two slice distances that counts as rounding, mm."""
    return max(UNEVEN_MM, UNEVEN * step) + 1e-6


def _one_slice(stack: Stack) -> Fault | None:
    if len(stack.headers) > 1:
        return None
    return Fault(
        "not a volume", f"{stack.name(0)} is a single slice, not a volume; give the folder of its series"
    )


def _duplicates(stack: Stack) -> Fault | None:
    gaps = np.diff(stack.heights)
    limit = SAME_PLACE * gaps.sum() / len(gaps)
    same = gaps <= limit
    if not same.any():
        return None
    first = int(same.argmax())
    pair = f"{stack.name(first)} and {stack.name(first + 1)}"
    counts = np.diff(np.flatnonzero(np.concatenate([[True], ~same, [True]])))
    each = int(counts[0])
    if np.all(counts == each):
        told = [tag for tag in TELLING if len({header.text(tag) for header in stack.headers}) > 1]
        differ = f"; they differ in {joined(told)}" if told else ""
        place = (
            f"at each of {len(counts)} positions"
            if len(counts) > 1
            else f"at one position, {stack.where(0)},"
        )
        what = f"{each} images {place} (as {pair}): phases, echoes or copies{differ}"
        return Fault("several phases", f"{what}. Separate them into one folder each", geometry=True)
    return Fault(
        "duplicate positions",
        f"duplicate: {pair} lie at the same position, {stack.where(first)}; keep one of them",
        geometry=True,
    )


def _turned(stack: Stack) -> Fault | None:
    """Orientations that differ by more than rounding, as mm at the far corner of a slice."""
    rows, columns = stack.headers[0].size
    between_rows, between_columns = (
        stack.headers[0].spacing if stack.headers[0].spacing is not None else (0.0, 0.0)
    )
    smallest = min(between_rows, between_columns, float(np.linalg.norm(stack.step)))
    for index, header in enumerate(stack.headers):
        turn = _directions(header) - stack.directions
        off = float(
            np.linalg.norm(turn[0]) * columns * between_columns
            + np.linalg.norm(turn[1]) * rows * between_rows
        )
        if off > TURNED_VOXELS * smallest:
            return Fault(
                "mixed orientation",
                f"{stack.name(index)} is turned against the other slices by {off:.2f} mm at its far corner: "
                "orientation is inconsistent",
                geometry=True,
            )
    return None


def _missing(stack: Stack) -> Fault | None:
    """Gaps of a whole number of slice distances, all other distances being alike."""
    gaps = np.diff(stack.heights)
    usual = float(
        np.sort(gaps)[(len(gaps) - 1) // 2]
    )  # the lower middle one: right for 2 slices and a gap too
    times = np.rint(gaps / usual)
    wide = np.flatnonzero(np.abs(gaps - usual) > _tolerance(usual))
    fitting = np.abs(gaps - times * usual) <= times * _tolerance(usual)
    if not len(wide) or times[wide].min() < 2 or not fitting.all():
        return None
    at = int(wide[0])
    lacking = int(times[wide].sum()) - len(wide)
    what = "1 slice is" if lacking == 1 else f"{lacking} slices are"
    return Fault(
        "missing slice",
        f"slices {stack.name(at)} and {stack.name(at + 1)} are {gaps[at]:.2f} mm apart, the others "
        f"{usual:.2f} mm: {what} probably missing after {stack.where(at)}",
        geometry=True,
    )


def _uneven(stack: Stack) -> Fault | None:
    gaps = np.diff(stack.heights)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    even = stack.heights[0] + np.arange(len(stack.heights)) * gaps.mean()
    drift = float(np.abs(stack.heights - even).max())
    if np.abs(gaps - usual).max() <= _tolerance(usual) and drift <= _tolerance(usual):
        return None
    at = int(np.abs(gaps - usual).argmax())
    pair = f"{stack.name(at)} and {stack.name(at + 1)} are {gaps[at]:.3f} mm apart, at {stack.where(at)}"
    return Fault(
        "uneven spacing",
        f"slice spacing varies from {gaps.min():.3f} to {gaps.max():.3f} mm (slices {pair}), "
        f"up to {drift:.3f} mm off an even stack",
        geometry=True,
    )


def _tilted(stack: Stack) -> Fault | None:
    along = float(stack.step @ stack.directions[2])
    aside = float(np.linalg.norm(stack.step - along * stack.directions[2]))
    degrees = math.degrees(math.atan2(aside, along))
    if degrees <= TILT_DEGREES:
        return None
    return Fault(
        "gantry tilt",
        f"gantry tilt {degrees:.1f} degrees: each slice is shifted by {aside:.2f} mm against the one before, "
        "so the voxels are not upright boxes",
        geometry=True,
    )


def _sideways(stack: Stack) -> Fault | None:
    even = stack.positions[0] + np.arange(len(stack.headers))[:, None] * stack.step
    off = np.linalg.norm(stack.positions - even, axis=1)
    assert stack.headers[0].spacing is not None
    limit = _tolerance(float(stack.headers[0].spacing.max()))
    if off.max() <= limit + _tolerance(float(np.linalg.norm(stack.step))):
        return None
    at = int(off.argmax())
    return Fault(
        "shifted slice",
        f"slice {stack.name(at)} lies {off[at]:.2f} mm off the line of the others, at {stack.where(at)}",
        geometry=True,
    )
