"""Whether a DICOM segmentation or structure set was made for the image it is to be laid on."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.errors import GeometryError, InputError
from medseg.io.masks.layers import Tell
from medseg.volume import Volume

__all__ = ["require_same_image"]


def require_same_image(
    name: str, *, frames: Sequence[str], series: Sequence[str], onto: Volume, tell: Tell
) -> None:
    """Refuse another frame of reference or series than the image's; say what could not be checked.

    `frames` and `series` are the UIDs that the file refers to; empty ones tell nothing.
    """
    wanted_frames, wanted_series = set(filter(None, frames)), set(filter(None, series))
    own_frames, own_series = _told(onto, "FrameOfReferenceUID"), _told(onto, "SeriesInstanceUID")
    foreign = sorted(wanted_frames - own_frames)
    if foreign and own_frames:
        raise GeometryError(
            f"{name}: drawn in frame of reference {_ends(foreign)}, the image lies in "
            f"{_ends(sorted(own_frames))}: their coordinates have nothing to do with each other"
        )
    if wanted_series and own_series and not wanted_series & own_series:
        raise InputError(
            f"{name}: made for series {_ends(sorted(wanted_series))}, the image is series "
            f"{_ends(sorted(own_series))}; give the image that it was drawn on"
        )
    if not wanted_frames or not own_frames:
        who = "it" if not wanted_frames else "the image"
        tell(f"{who} names no frame of reference: placed by coordinates alone")
    elif not wanted_series or not own_series:
        who = "it" if not wanted_series else "the image"
        tell(f"{who} names no series: placed by frame of reference and coordinates")


def _told(onto: Volume, keyword: str) -> set[str]:
    headers = () if onto.source is None else onto.source.headers
    return {str(header[keyword]) for header in headers if header.get(keyword)}


def _ends(uids: Sequence[str]) -> str:
    """The last characters of UIDs, as they tell apart and name nobody."""
    return " and ".join(f"…{uid[-12:]}" for uid in uids[:3])
