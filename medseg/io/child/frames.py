"""Frames of a multi-frame DICOM file: where each lies and how its values are scaled, from functional groups.

What every frame shares stands once in the file (Shared Functional Groups), the rest once for each frame, in
the order of the pixels (PS3.3 C.7.6.16). Converted classic images keep some tags in groups of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from medseg.io.child.reply import RefusedError

__all__ = ["FRAME_TAGS", "MOST_FRAMES", "frames_of"]

MOST_FRAMES = 100_000  # a whole-body cardiac CT has some 10 000; more is a damaged or hostile header

SHARED, EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
FRAME_TAGS = (SHARED, EACH)
"""What has to be read of a file for `frames_of`."""

PLACES = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
# functional group -> tags that mean the same in a classic image, and the name they have there
GROUPS: dict[str, dict[str, str]] = {
    "PixelMeasuresSequence": {"PixelSpacing": "PixelSpacing", "SliceThickness": "SliceThickness"},
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelValueTransformationSequence": {
        "RescaleSlope": "RescaleSlope",
        "RescaleIntercept": "RescaleIntercept",
        "RescaleType": "RescaleType",
    },
    "FrameContentSequence": {
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "StackID": "StackID",
    },
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRDiffusionSequence": {"DiffusionBValue": "DiffusionBValue"},
    "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": "TriggerTime"},
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "MRImageFrameTypeSequence": {"FrameType": "ImageType"},
    "PETFrameTypeSequence": {"FrameType": "ImageType"},
}
CONVERTED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
GROUPS |= {
    group: {
        keyword: keyword
        for keyword in (
            "AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "TriggerTime", "DiffusionBValue",
        )
    }
    for group in CONVERTED
}  # fmt: skip
Values = dict[str, Any]


def frames_of(dataset: Any, claimed: int, plain: Callable[[Any], Any]) -> tuple[Values, list[Values]] | None:
    """What all frames share, and one dict of what differs for each frame, in the order of the pixels.

    None where nothing tells frames apart. `claimed` is NumberOfFrames, `plain` turns a tag's value into one
    that JSON knows. Where there are several frames, a place that no group gives is None, whatever the file
    itself says: it cannot hold for all. Raises RefusedError for more frames than are described.
    """
    each = dataset.get(EACH)
    if each is None:
        return None
    if max(claimed, len(each)) > MOST_FRAMES:
        raise RefusedError(
            f"its header claims {max(claimed, len(each))} frames; at most {MOST_FRAMES} are read"
        )
    if len(each) != claimed:
        raise RefusedError(f"its header claims {claimed} frames and describes {len(each)}; it is damaged")
    shared = _values(dataset.get(SHARED) or (), plain)
    lacking: Values = {} if claimed == 1 else dict.fromkeys(PLACES)
    return lacking | shared, [_values([item], plain) for item in each]


def _values(items: Iterable[Any], plain: Callable[[Any], Any]) -> Values:
    """Values of the known groups in one item, under the names they have in a classic image."""
    values: Values = {}
    for item in items:
        for group, tags in GROUPS.items():
            for inner in item.get(group) or ():
                for keyword, name in tags.items():
                    if keyword in inner:
                        values[name] = plain(inner.get(keyword))
    return values
