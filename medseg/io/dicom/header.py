"""Headers of DICOM images: what they say of a slice, and what in them forbids reading it.

Nothing here touches pixels. Positions and directions are LPS millimetres, as DICOM writes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fault", "SliceHeader", "code", "fault_of_headers", "is_image", "joined"]

UNIT_LENGTH = 1e-2  # a direction whose length is further from 1 is not rounding
MOST_TABLE_BITS = 16
LINEAR = ("RescaleSlope", "RescaleIntercept")
CODE = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 6.2, CS
SLICED = ("CT", "MR", "PT")  # what is hardly ever anything else than slices
NOT_IMAGES = ("RT ", "Segmentation", "Parametric Map")  # though their names may hold "Image Storage"


class Fault(NamedTuple):
    """Why a series is not read: a short name, the reason in one line, and whether it is about geometry."""

    verdict: str
    detail: str
    geometry: bool = False


@dataclass(frozen=True)
class SliceHeader:
    """What the header of one image says: a file's, or one frame's of a multi-frame file.

    `name` is the file's path below the folder that was read, with the frame's number where there are several.
    """

    path: Path
    name: str
    values: dict[str, Any] = field(repr=False)
    frame: int | None = None
    """Index of the frame within its file, from 0; None for a file of one image."""

    def text(self, keyword: str) -> str:
        """A tag as text, empty where it is missing; the items of a list are joined by backslashes."""
        value = self.values.get(keyword)
        if isinstance(value, list):
            return "\\".join(str(item) for item in value)
        return "" if value is None else str(value).strip()

    def number(self, keyword: str) -> float | None:
        """A single number, or None where the tag is missing, empty or not one finite number."""
        value = self.values.get(keyword)
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    def readable(self, keyword: str) -> bool:
        """Whether a tag is one number, or not there; False for one that is written and makes no sense."""
        given = keyword in self.values.get("unreadable", ()) or self.values.get(keyword) is not None
        return not given or self.number(keyword) is not None

    def whole(self, keyword: str, default: int) -> int:
        """A whole number, or `default` where there is none."""
        value = self.number(keyword)
        return default if value is None else int(value)

    def vector(self, keyword: str, length: int) -> NDArray[np.float64] | None:
        """`length` finite numbers, or None."""
        value = self.values.get(keyword)
        if not isinstance(value, list) or len(value) != length:
            return None
        if not all(isinstance(item, (int, float)) and math.isfinite(item) for item in value):
            return None
        return np.array(value, np.float64)

    @property
    def position(self) -> NDArray[np.float64] | None:
        """Centre of the first pixel, LPS mm."""
        return self.vector("ImagePositionPatient", 3)

    @property
    def orientation(self) -> NDArray[np.float64] | None:
        """Directions `[2, 3]`: along a row (growing column) and along a column (growing row), LPS."""
        value = self.vector("ImageOrientationPatient", 6)
        return None if value is None else value.reshape(2, 3)

    @property
    def spacing(self) -> NDArray[np.float64] | None:
        """PixelSpacing in mm: between rows, then between columns."""
        return self.vector("PixelSpacing", 2)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.whole("Rows", 0), self.whole("Columns", 0)

    @property
    def image_type(self) -> tuple[str, ...]:
        """Values of ImageType in capitals, as in ORIGINAL, PRIMARY, AXIAL; () where there are none."""
        text = self.text("ImageType").upper()
        return tuple(value.strip() for value in text.split("\\")) if text else ()

    @property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept from stored value to modality value; 1 and 0 where the file has none."""
        slope, intercept = self.number("RescaleSlope"), self.number("RescaleIntercept")
        return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def is_image(header: SliceHeader) -> bool:
    """Whether the file is an image, and not a report, a segmentation, a plan or a directory.

    A private or emptied class tells nothing: such a file is an image if it has rows and columns. So is one
    without a modality, which every object of a series has: its header must have been cut off before it.
    """
    uid, kind = header.text("SOPClassUID"), header.text("class_name")
    if kind != uid:
        return "Image Storage" in kind and not any(word in kind for word in NOT_IMAGES)
    # a class newer than the dictionary in use looks private: label map segmentations of 2024 do
    return header.text("Modality") != "SEG" and (min(header.size) > 0 or not header.text("Modality"))


def code(text: str) -> str:
    """A code string in capitals, as of a modality; empty for any other text, which may be a name."""
    capitals = text.strip().upper()
    return capitals if CODE.fullmatch(capitals) else ""


def joined(names: Iterable[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


# ------------------------------------------------------------------ what forbids reading
def fault_of_headers(stack: Sequence[SliceHeader]) -> Fault | None:
    """The first thing in the headers, geometry between slices aside, that forbids reading this stack."""
    for check in HEADER_CHECKS:
        for header in stack:
            fault = check(header)
            if fault is not None:
                return fault
    return _mixed_values(stack)


def _grey(header: SliceHeader) -> Fault | None:
    colours = header.text("PhotometricInterpretation")
    if header.whole("SamplesPerPixel", 1) != 1 or (colours and not colours.startswith("MONOCHROME")):
        return Fault("colour", f"{header.name} is a colour image ({colours}), not a volume of intensities")
    return None


def _described_frames(header: SliceHeader) -> Fault | None:
    """Frames without a place of their own: cine loops, projections, stacks that lost their places."""
    if not header.readable("NumberOfFrames"):
        return Fault("damaged header", f"{header.name} has a NumberOfFrames that is not a number")
    frames = header.whole("NumberOfFrames", 1)
    if frames < 2 or header.frame is not None:
        return None
    what = f"{header.name} is a multi-frame image ({frames} frames) without a position for each frame"
    if header.text("Modality") in SLICED:
        return Fault("no position", what, geometry=True)
    return Fault("not a volume", f"{what}, so not a volume")


def _usual_pixels(header: SliceHeader) -> Fault | None:
    if header.values.get("pixels") == "float":
        return Fault(
            "unsupported pixels", f"{header.name} holds floating-point pixel data, which is not read"
        )
    rows, columns = header.size
    if min(rows, columns) < 1:
        return Fault("damaged header", f"{header.name} has no valid Rows and Columns")
    bits, stored = header.whole("BitsAllocated", 0), header.whole("BitsStored", 0)
    if bits == 1:
        return Fault(
            "not a volume", f"{header.name} has one bit a pixel: a mask, not a volume of intensities"
        )
    high = header.whole("HighBit", stored - 1)
    if bits not in (8, 16, 32) or not 0 < stored <= high + 1 <= bits:
        return Fault(
            "unsupported pixels",
            f"{header.name} stores {stored} of {bits} bits up to bit {high}, which is not read",
        )
    if header.whole("PixelRepresentation", 0) not in (0, 1):
        return Fault("damaged header", f"{header.name} has no valid PixelRepresentation")
    return None


def _whole_pixels(header: SliceHeader) -> Fault | None:
    if not header.values.get("decodable"):
        syntax = header.text("transfer_syntax")
        return Fault(
            "no decoder", f"{header.name} is compressed as {syntax}, for which there is no decoder here"
        )
    frames = max(1, header.whole("NumberOfFrames", 1))
    whole = header.values.get("fragments")
    if whole is not None and whole < frames:
        return Fault(
            "truncated",
            f"{header.name} is truncated: {frames} compressed frame(s) are claimed, {whole} are there",
        )
    claimed = math.prod(header.size) * frames * (header.whole("BitsAllocated", 0) // 8)
    there = header.values.get("pixel_bytes")
    if there is not None and there < claimed:
        return Fault(
            "truncated",
            f"{header.name} is truncated: {claimed} bytes of pixel data are needed, it holds {there}",
        )
    return None


def _placed(header: SliceHeader) -> Fault | None:
    if header.spacing is None:
        return Fault(
            "no PixelSpacing", f"{header.name} has no PixelSpacing, so its scale is unknown", geometry=True
        )
    if header.spacing.min() <= 0:
        return Fault(
            "no PixelSpacing",
            f"{header.name} has a PixelSpacing of {header.spacing.tolist()} mm",
            geometry=True,
        )
    if header.position is None:
        return Fault("no position", f"{header.name} has no ImagePositionPatient", geometry=True)
    if header.orientation is None:
        return Fault("no orientation", f"{header.name} has no ImageOrientationPatient", geometry=True)
    lengths = np.linalg.norm(header.orientation, axis=1)
    if np.abs(lengths - 1).max() > UNIT_LENGTH or abs(np.dot(*header.orientation)) > UNIT_LENGTH:
        return Fault(
            "no orientation",
            f"{header.name}: ImageOrientationPatient is not two directions at right angles",
            geometry=True,
        )
    return None


def _rescaled(header: SliceHeader) -> Fault | None:
    if header.values.get("ModalityLUTSequence"):
        if header.whole("BitsStored", 0) > MOST_TABLE_BITS:
            return Fault("unsupported values", f"{header.name} has a Modality LUT for more than 16 bits")
        return None
    for keyword in LINEAR:
        if not header.readable(keyword):
            return Fault("damaged header", f"{header.name} has a {keyword} that is not a number")
    for keyword, other in (LINEAR, LINEAR[::-1]):
        if header.number(keyword) is None and header.number(other) is not None:
            return Fault(
                "damaged header", f"{header.name} has a {other} but no {keyword}: restore it or export again"
            )
    if header.rescale[0] == 0:
        return Fault(
            "damaged header", f"{header.name} has a RescaleSlope of 0: every value would be the same"
        )
    return None


HEADER_CHECKS = (_grey, _described_frames, _usual_pixels, _placed, _whole_pixels, _rescaled)


def _mixed_values(stack: Sequence[SliceHeader]) -> Fault | None:
    for keyword in ("RescaleType", "Units", "Modality"):
        kinds = {header.text(keyword) for header in stack}
        if len(kinds) > 1:
            shown = joined(sorted(code(kind) or ("unknown" if kind else "none") for kind in kinds))
            return Fault(
                "mixed values", f"its slices differ in {keyword} ({shown}): their values cannot be compared"
            )
    if len({bool(header.values.get("ModalityLUTSequence")) for header in stack}) > 1:
        return Fault("mixed values", "some of its slices have a Modality LUT Sequence and others have none")
    for keyword in LINEAR:
        without = [header for header in stack if header.number(keyword) is None]
        if 0 < len(without) < len(stack):
            return Fault("mixed values", f"{without[0].name} has no {keyword} and other slices have one")
    stored = {header.whole("BitsStored", 0) for header in stack}
    if len(stored) > 1:
        bits = joined(str(number) for number in sorted(stored))
        return Fault("mixed values", f"its slices differ in BitsStored ({bits}): some may be cut off")
    return None
