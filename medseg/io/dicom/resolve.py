"""What an explicit policy makes of a doubtful stack of slices; without one, the doubt is a refusal.

In this order, since each step needs the one before: exact copies, several images at one position (phases or
duplicates), slices that are turned or shifted, gaps and uneven distances, gantry tilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medseg.io.dicom.copies import without_copies
from medseg.io.dicom.even_grid import EvenGrid, even_grid
from medseg.io.dicom.header import Fault, SliceHeader
from medseg.io.dicom.phases import Phases, in_order, phases
from medseg.io.dicom.stack import Stack, crowded, off_line, tilted, unevenly_spaced
from medseg.io.policy import Policy
from medseg.io.verdict import OK
from medseg.volume import Grid, Planes

__all__ = ["FaultError", "Resolved", "resolved"]

WIDEST_GAP = 0.5  # of the stack's height: what is filled in must not be most of the image
MOST_SLICES = 4  # even slices for each original one


class FaultError(Exception):
    """A fault that no policy decided; never leaves the DICOM reader."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


@dataclass(frozen=True, eq=False)
class Resolved:
    """Slices that may be read, where they lie, how they become a volume, and what was decided about them."""

    stack: Stack
    even: EvenGrid | None = None
    """Where slices have to be resampled; else they are the volume's slices."""
    planes: Planes | None = None
    """The slices where they have no grid in common."""
    overridden: tuple[str, ...] = ()
    decided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid of the volume."""
        return self.stack.grid if self.even is None else self.even.grid

    @property
    def native(self) -> Grid | Planes:
        """Where the slices lie, before any resampling."""
        return self.stack.grid if self.planes is None else self.planes

    @property
    def verdict(self) -> str:
        """The names of the faults that a policy decided; "ok" without any."""
        return ", ".join(self.overridden) or OK

    def because(self, fault: Fault, decision: str) -> Resolved:
        """With one more fault decided, and a line on how."""
        return replace(
            self,
            overridden=(*self.overridden, fault.verdict),
            decided=(*self.decided, f"{fault.verdict}: {decision}"),
        )


def resolved(stack: Stack, policy: Policy) -> Resolved:
    """Decide every doubt about a stack as `policy` says; raises FaultError for the first that it does not.

    Raises InputError where an image that must be compared with another cannot be decoded.
    """
    stack, dropped, conflict = without_copies(stack)
    notes = (f"{dropped} exact {'copy' if dropped == 1 else 'copies'} dropped",) if dropped else ()
    so_far = _one_a_place(Resolved(stack, notes=notes), policy, conflict)
    fault = off_line(so_far.stack)
    if fault is not None:
        raise FaultError(fault)
    # numbers and UIDs of one phase tell nothing: the others have the rest
    doubts = so_far.stack.doubts() if so_far.stack is stack else ()
    so_far = replace(so_far, notes=(*so_far.notes, *so_far.stack.notes(), *doubts))
    return _upright(_evenly_spaced(so_far, policy), policy)


# ------------------------------------------------------------------ one image at each position
def _one_a_place(so_far: Resolved, policy: Policy, conflict: Fault | None) -> Resolved:
    stack = so_far.stack
    fault = crowded(stack)
    places = [[stack.headers[n] for n in place] for place in stack.places()]
    told = phases(places)
    if fault is None:
        if policy.phase not in (None, 1):
            detail = f"there is no phase {policy.phase}: the series has one phase"
            raise FaultError(Fault("no such phase", detail))
        return so_far
    if fault.verdict == "not a volume":
        raise FaultError(fault)
    if conflict is not None and policy.duplicates != "first":
        raise FaultError(conflict)
    if policy.phase is not None and told is not None:
        return _checked(_one_phase(so_far, fault, told, policy.phase))
    if policy.duplicates != "first":
        raise FaultError(fault)
    return _checked(_firsts(so_far, conflict or fault, places, told))


def _checked(so_far: Resolved) -> Resolved:
    fault = crowded(so_far.stack)
    if fault is not None:
        raise FaultError(fault)
    return so_far


def _one_phase(so_far: Resolved, fault: Fault, told: Phases, number: int) -> Resolved:
    count = len(told.images)
    if not 1 <= number <= count:
        detail = f"there is no phase {number}: the series has {count} phases, told apart by {told.by}"
        raise FaultError(Fault("no such phase", detail))
    kept = replace(so_far, stack=so_far.stack.only(told.images[number - 1]))
    return kept.because(fault, f"phase {number} of {count} read, {told.names[number - 1]}")


def _firsts(
    so_far: Resolved, fault: Fault, places: Sequence[Sequence[SliceHeader]], told: Phases | None
) -> Resolved:
    """The image with the lowest InstanceNumber at each position, unless that would mix phases."""
    for place in places:
        _refuse_tie(place, fault)
    kept = [min(place, key=in_order) for place in places]
    if told is not None:
        phase_of = {id(image): n for n, images in enumerate(told.images) for image in images}
        if len({phase_of[id(image)] for image in kept}) > 1:
            detail = f"{fault.detail}; --duplicates first would mix them"
            raise FaultError(fault._replace(detail=detail))
    left_out = sum(map(len, places)) - len(places)
    at = sum(len(place) > 1 for place in places)
    images = "1 image" if left_out == 1 else f"{left_out} images"
    positions = "1 position" if at == 1 else f"{at} positions"
    decision = f"{images} at {positions} left out, the lowest InstanceNumber kept"
    return replace(so_far, stack=so_far.stack.only(kept)).because(fault, decision)


def _refuse_tie(place: Sequence[SliceHeader], fault: Fault) -> None:
    """Raise FaultError where no number says which image is the first; frames of one file have an order."""
    first, *others = sorted(place, key=in_order)
    for other in others:
        if other.path != first.path and other.number("InstanceNumber") == first.number("InstanceNumber"):
            told = fault.detail.partition("; ")[0]
            raise FaultError(
                fault._replace(
                    detail=f"{told}; --duplicates first cannot decide: nothing says which is first, "
                    f"{first.name} or {other.name} (InstanceNumber); remove one of them"
                )
            )


# ------------------------------------------------------------------ one grid
def _evenly_spaced(so_far: Resolved, policy: Policy) -> Resolved:
    stack = so_far.stack
    fault = unevenly_spaced(stack)
    if fault is None:
        return so_far
    if policy.gaps == "allow":
        step = float((stack.heights[-1] - stack.heights[0]) / (len(stack.heights) - 1))
        decision = f"slices taken as {step:.3f} mm apart; a slice lies up to {stack.drift:.2f} mm from there"
        return replace(so_far, stack=stack.evened()).because(fault, decision)
    if policy.gaps == "refuse":
        raise FaultError(fault)
    even = even_grid(stack, upright=False)
    _within_reason(stack, even, fault)
    made = int(np.count_nonzero(even.weight))
    widest = float(np.diff(stack.heights).max())
    decision = (
        f"{len(stack.heights)} slices resampled onto {even.grid.shape[2]}, {even.grid.spacing[2]:.3f} mm "
        f"apart; {made} of them interpolated, the widest gap {widest:.2f} mm"
    )
    return replace(so_far, even=even, planes=stack.planes).because(fault, decision)


def _within_reason(stack: Stack, even: EvenGrid, fault: Fault) -> None:
    gaps = np.diff(stack.heights)
    height, slices = float(gaps.sum()), even.grid.shape[2]
    reason = ""
    if gaps.max() > WIDEST_GAP * height * (1 + 1e-6):
        reason = f"the widest gap, {gaps.max():.2f} mm, is more than half of the {height:.2f} mm there are"
    elif slices > MOST_SLICES * len(stack.heights):
        reason = f"{len(stack.heights)} slices would become {slices}"
    if reason:
        told = fault.detail.partition("; --gaps")[0]
        raise FaultError(fault._replace(detail=f"{told}. --gaps resample does not fill it in: {reason}"))


def _upright(so_far: Resolved, policy: Policy) -> Resolved:
    stack = so_far.stack
    fault = tilted(stack)
    if fault is None:
        return so_far
    if policy.tilt == "refuse":
        raise FaultError(fault)
    even = even_grid(stack, upright=True)
    aside = float(np.linalg.norm(stack.slope()))
    furthest = aside * float(stack.heights[-1] - stack.heights[0])
    decision = (
        f"{np.degrees(np.arctan(aside)):.1f} degrees, slices up to {furthest:.2f} mm aside, resampled onto "
        "upright boxes"
    )
    return replace(so_far, even=even).because(fault, decision)
