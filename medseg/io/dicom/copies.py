"""Images that are there more than once: same place, same pixels, same rescale. Only pixels can tell."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.decoder import decode
from medseg.io.dicom.header import Fault, SliceHeader
from medseg.io.dicom.phases import in_order, phases
from medseg.io.dicom.stack import Stack

__all__ = ["Copies", "without_copies"]

logger = logging.getLogger(__name__)

# besides pixels, what an image's values are made of
VALUES = ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit", "Units")
SAME_ORIGIN = 2  # decimals in mm
Content = tuple[Any, ...]


class Copies(NamedTuple):
    """A stack without its copies, how many those were, and images that contradict each other."""

    stack: Stack
    dropped: int
    conflict: Fault | None


def without_copies(stack: Stack) -> Copies:
    """Drop all but one of several equal images; images at shared positions are decoded for it, and no others.

    Nothing is decoded where a tag tells phases apart and each image has a UID of its own. Equal images of
    different UIDs are no copies where other positions have as many different ones: phases may be equal in an
    empty slice. Raises InputError where an image that must be compared cannot be decoded.
    """
    places = [[stack.headers[n] for n in place] for place in stack.places()]
    shared = [image for place in places if len(place) > 1 for image in place]
    if not shared or (_uids_differ(shared) and _told_apart(places)):
        return Copies(stack, 0, None)
    content = _contents(shared)
    same_uid = [_first_of_each(place, lambda image: (_uid(image), content[id(image)])) for place in places]
    kept = [_first_of_each(place, lambda image: content[id(image)]) for place in same_uid]
    if len({len(place) for place in same_uid}) == 1 < len({len(place) for place in kept}):
        kept = same_uid
    left = stack.only([image for place in kept for image in place])
    dropped = len(stack.headers) - len(left.headers)
    logger.debug("%d images compared, %d copies", len(shared), dropped)
    return Copies(left, dropped, _conflict(kept))


def _uid(image: SliceHeader) -> str:
    """What names an image; frames of one file share its UID. Empty where the file has none."""
    uid = image.text("SOPInstanceUID")
    return f"{uid} {image.frame}" if uid else ""


def _uids_differ(images: Sequence[SliceHeader]) -> bool:
    uids = {_uid(image) for image in images}
    return "" not in uids and len(uids) == len(images)


def _told_apart(places: Sequence[Sequence[SliceHeader]]) -> bool:
    told = phases(places)
    return told is not None and told.tagged


def _contents(images: Sequence[SliceHeader]) -> dict[int, Content]:
    """What two images must have in common to be equal, by the `id` of the header.

    A digest of the pixels, how they are rescaled, and where the first one lies.
    """
    asked: dict[Path, list[SliceHeader]] = {}
    for image in images:
        asked.setdefault(image.path, []).append(image)
    frames = [
        None if of_file[0].frame is None else [image.frame for image in of_file] for of_file in asked.values()
    ]
    left = [image for of_file in asked.values() for image in of_file]
    contents: dict[int, Content] = {}

    def take(fields: dict[str, Any], pixels: NDArray[Any] | None) -> None:
        image = left.pop(0)
        assert image.position is not None
        digest = hashlib.sha256(np.ascontiguousarray(pixels, np.int64).data).hexdigest()
        origin = np.round(image.position, SAME_ORIGIN).tolist()
        # values that come from a table are equal for certain only where the whole file is
        table = fields["sha256"] if image.values.get("ModalityLUTSequence") else ""
        contents[id(image)] = (digest, table, *(image.text(keyword) for keyword in VALUES), *origin)

    most_bytes = math.prod(images[0].size) * 4
    decode({"do": "dicom-pixels", "frames": frames}, files=list(asked), take=take, most_bytes=most_bytes)
    return contents


def _first_of_each(place: Sequence[SliceHeader], key: Any) -> list[SliceHeader]:
    """The first image of each kind, in the order of InstanceNumber and name."""
    if len(place) == 1:
        return list(place)
    kinds: dict[Any, SliceHeader] = {}
    for image in sorted(place, key=in_order):
        kinds.setdefault(key(image), image)
    return list(kinds.values())


def _conflict(places: Sequence[Sequence[SliceHeader]]) -> Fault | None:
    """Different images under one UID: one of them is not what it says it is."""
    for place in places:
        seen: dict[str, SliceHeader] = {}
        for image in place:
            uid = _uid(image)
            if uid and uid in seen:
                return Fault(
                    "conflicting copies",
                    f"{seen[uid].name} and {image.name} have one SOPInstanceUID and different pixels; remove "
                    "the wrong one, or let --duplicates first keep the lowest InstanceNumber",
                    geometry=True,
                )
            seen[uid] = image
    return None
