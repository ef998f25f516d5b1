"""Enhanced multi-frame CT: the order of frames, values and places of each, and what they may not be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.cases import NUMBERS, SHAPE, Built, Case, add, geometry, small
from bad_inputs.dicom_bytes import (
    AXIAL,
    CORNER,
    SPACING,
    Dataset,
    affine_of,
    dataset,
    decimal,
    numbered,
    save,
    uid,
)

__all__ = ["enhanced"]

F = "dicom-multiframe"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
Edit = Callable[[Dataset], object]


def enhanced(tag: str, order: Sequence[int] = range(SHAPE[2])) -> Dataset:
    """Frames in `order` of position; frame at position k has intercept -1024 - 10 k (PS3.3 C.7.6.16)."""
    from pydicom.dataset import Dataset as Item

    ds = dataset(tag, ENHANCED_CT, uid(tag, "mf"))
    ds.Modality, ds.ImageType, ds.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.NumberOfFrames = SHAPE[1], SHAPE[0], len(order)
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    shared, measures, turned = Item(), Item(), Item()
    measures.PixelSpacing, measures.SliceThickness = [decimal(x) for x in SPACING], "2.5"
    turned.ImageOrientationPatient = [decimal(x) for x in AXIAL]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [_frame(k) for k in order]
    stored = [(numbered(k) + 10 * k).astype("<i2") for k in order]
    ds.add_new(0x7FE00010, "OW", b"".join(frame.tobytes() for frame in stored))
    return ds


def _frame(k: int) -> Any:
    from pydicom.dataset import Dataset as Item

    frame, place, content, values = Item(), Item(), Item(), Item()
    place.ImagePositionPatient = [decimal(x) for x in np.add(CORNER, (0, 0, 2.5 * k))]
    content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", k + 1, [1, k + 1]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "1", str(-1024 - 10 * k), "HU"
    frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
    frame.PixelValueTransformationSequence = [values]
    return frame


def _file(edit: Edit | None, order: Sequence[int]) -> Callable[[Path, str], Built]:
    def build(folder: Path, tag: str) -> Built:
        ds = enhanced(tag, order)
        expected = geometry(NUMBERS - 1024.0, affine_of(CORNER, AXIAL, SPACING, (0, 0, 2.5)))
        if edit is not None:
            edit(ds)
        return save(ds, folder / "in.dcm"), expected if edit is None else None

    return build


def _frames(name: str, edit: Edit, reason: str, **more: Any) -> None:
    add(Case(name, F, "reject", _file(edit, range(SHAPE[2])), reason, **more))


def _one_group_less(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[-1]


def _one_frame_less(ds: Dataset) -> None:
    ds.PixelData = ds.PixelData[: -2 * SHAPE[0] * SHAPE[1]]


def _no_groups(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence


def _no_positions(ds: Dataset) -> None:
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence


def _two_stacks(ds: Dataset) -> None:
    """Two passes over the same six places."""
    for index, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].StackID = str(1 + index // 6)
        frame.FrameContentSequence[0].TemporalPositionIndex = 1 + index // 6
        place = np.add(CORNER, (0, 0, 2.5 * (index % 6)))
        frame.PlanePositionSequence[0].ImagePositionPatient = [decimal(x) for x in place]


def _two_orientations(ds: Dataset) -> None:
    from pydicom.dataset import Dataset as Item

    turned = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for index, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        own = Item()
        own.ImageOrientationPatient = (
            ["0", "1", "0", "0", "0", "-1"] if index > 8 else turned.ImageOrientationPatient
        )
        frame.PlaneOrientationSequence = [own]


def _missing_frame(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[5]
    size = 2 * SHAPE[0] * SHAPE[1]
    ds.PixelData = ds.PixelData[: 5 * size] + ds.PixelData[6 * size :]
    ds.NumberOfFrames = SHAPE[2] - 1


def _mixed_orders(count: int) -> Edit:
    def edit(ds: Dataset) -> None:
        ds.NumberOfFrames = count

    return edit


PIXELS = "frames|pixel ?data|bytes|truncat|size|length|functional"
add(Case("mf_in_order", F, "accept", _file(None, range(SHAPE[2]))))
add(
    Case(
        "mf_frames_shuffled", F, "accept", _file(None, [(k * 5) % 12 for k in range(12)]),
        notes="PlanePositionSequence rules, not the order of frames; each has its own intercept",
    )
)  # fmt: skip
_frames("mf_one_functional_group_less", _one_group_less, PIXELS)
_frames("mf_pixels_one_frame_short", _one_frame_less, PIXELS)
_frames("mf_no_functional_groups", _no_groups, "functional|position|spacing|orientation|frames")
_frames("mf_no_positions", _no_positions, "position")
_frames(
    "mf_two_passes_over_one_place",
    _two_stacks,
    "phase|duplicate|same position|stack|temporal|multiple|copies",
)
_frames("mf_two_orientations", _two_orientations, "orientation|turned|mixes|mixed")
_frames("mf_missing_frame", _missing_frame, "missing|gap|spacing|apart")
_frames(
    "mf_claims_two_billion_frames", _mixed_orders(2**31 - 1), PIXELS, limits=small(1024),
    notes="NumberOfFrames is an IS: at most 2**31 - 1",
)  # fmt: skip
_frames("mf_zero_frames", _mixed_orders(0), PIXELS + "|no image")
