"""Images that are there more than once: same place, same pixels, same rescale. Only pixels can tell."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
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


class Copies(NamedTuple):
    """A stack without the copies that were in it, how many those were, and images that contradict each other."""

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
    content = dict(zip(map(id, shared), _contents(stack, shared), strict=True))
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


def _contents(stack: Stack, images: Sequence[SliceHeader]) -> list[tuple[Any, ...]]:
    """What makes two images equal: pixels as a digest, what they are rescaled by, and where the first one lies."""
    digests: list[str] = []

    def take(_fields: dict[str, Any], pixels: NDArray[Any] | None) -> None:
        assert pixels is not None
        digests.append(hashlib.sha256(np.ascontiguousarray(pixels, np.int64)).hexdigest())

    for image in images:  # TODO
        frames = [None if image.frame is None else [image.frame]]
        request = {"do": "dicom-pixels", "frames": frames}
        decode(request, files=[image.path], take=take, most_bytes=math.prod(stack.size) * 4)
    origins = [
        np.round(image.position, SAME_ORIGIN).tolist() for image in images if image.position is not None
    ]
    return [
        (digest, *(image.text(keyword) for keyword in VALUES), *origin)
        for digest, origin, image in zip(digests, origins, images, strict=True)
    ]


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
