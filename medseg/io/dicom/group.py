"""Which images belong together: those that could be slices of one volume, or several images of its slices.

Images are gathered by the exact text of their headers first and compared within tolerances second, so that a
study of 100 000 images costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom.header import SliceHeader, joined

__all__ = ["differences", "group"]

SAME_DIRECTION = (
    1e-2  # largest difference of a direction cosine within one stack: scanners round to 2-6 digits
)
SAME_SPACING = 1e-4  # relative; over 512 columns this is a twentieth of a pixel
MOST_COMPARED = 1000  # stacks of one series that an image is compared with; a radial scan has a few hundred


def _shown(header: SliceHeader) -> tuple[str, ...]:
    """What an image shows: original or derived, and the third value on, as magnitude, phase, water or fat.

    The second value tells whether the patient was there when the image was made: nothing about its contents.
    """
    return (*header.image_type[:1], *header.image_type[2:])


# what tells one stack from another, and how to say so
EXACT: tuple[tuple[str, Callable[[SliceHeader], object]], ...] = (
    ("patient", lambda header: header.text("patient")),  # a digest: see medseg.io.child.patient
    ("stack", lambda header: header.text("StackID")),  # of one multi-frame file, PS3.3 C.7.6.16.2.2
    ("series", lambda header: header.text("SeriesInstanceUID")),
    ("study", lambda header: header.text("StudyInstanceUID")),
    ("size (Rows, Columns)", lambda header: header.size),
    ("frame of reference", lambda header: header.text("FrameOfReferenceUID")),
    ("image type", _shown),
)
PLACED = ("orientation", "pixel spacing")
MISSING = 1e30


def _place(header: SliceHeader) -> NDArray[np.float64]:
    """Orientation and pixel spacing as 8 numbers; MISSING where there is no such tag."""
    orientation, spacing = header.orientation, header.spacing
    missing = np.full(6, MISSING)
    return np.concatenate(
        [missing if orientation is None else orientation.ravel(), missing[:2] if spacing is None else spacing]
    )


def _far(places: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where places `[n, 8]` are not like one other: `[n, 2]`, for the orientation and the pixel spacing."""
    limit = np.array([SAME_DIRECTION] * 6 + [SAME_SPACING * place[6:].min()] * 2)
    far = (places != place) & (np.abs(places - place) > limit)
    return np.stack([far[:, :6].any(axis=1), far[:, 6:].any(axis=1)], axis=1)


def group(headers: Iterable[SliceHeader]) -> list[tuple[SliceHeader, ...]]:
    """Split images into stacks that could each be one volume; the largest first, then by name."""
    alike: dict[tuple[object, ...], dict[str, list[tuple[int, SliceHeader]]]] = {}
    for number, header in enumerate(headers):
        key = tuple(trait(header) for _, trait in EXACT)
        written = f"{header.text('ImageOrientationPatient')}|{header.text('PixelSpacing')}"
        alike.setdefault(key, {}).setdefault(written, []).append((number, header))
    stacks = [stack for parts in alike.values() for stack in _merged(list(parts.values()))]
    found = [tuple(header for _, header in sorted(stack, key=lambda each: each[0])) for stack in stacks]
    return sorted(found, key=lambda stack: (-len(stack), stack[0].name))


def _merged(parts: Sequence[list[tuple[int, SliceHeader]]]) -> list[list[tuple[int, SliceHeader]]]:
    """Join parts whose directions and spacing differ by rounding only: each with the first that fits."""
    places = np.empty((min(len(parts), MOST_COMPARED), 8))
    stacks: list[list[tuple[int, SliceHeader]]] = []
    for part in parts:
        place = _place(part[0][1])
        known = min(len(stacks), MOST_COMPARED)
        fitting = np.flatnonzero(~_far(places[:known], place).any(axis=1))
        if len(fitting):
            stacks[fitting[0]].extend(part)
            continue
        if known < MOST_COMPARED:
            places[known] = place
        stacks.append(list(part))
    return stacks


def differences(stacks: Sequence[Sequence[SliceHeader]]) -> str:
    """In what the stacks of one series differ, as in "orientation, pixel spacing"."""
    firsts = [stack[0] for stack in stacks]
    told = [name for name, trait in EXACT if len({trait(first) for first in firsts}) > 1]
    far = _far(np.array([_place(first) for first in firsts]), _place(firsts[0]))
    return joined(told + [name for column, name in enumerate(PLACED) if far[:, column].any()])
