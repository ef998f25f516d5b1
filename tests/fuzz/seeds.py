"""Small good files of every format that is read: what mutants are made of."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from bad_inputs.archives import tarred, zipped
from bad_inputs.dicom_bytes import (
    BIG_ENDIAN,
    CORNER,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    RLE,
    Dataset,
    dataset,
    image,
    numbered,
    uid,
)
from bad_inputs.dicom_frames import enhanced
from bad_inputs.nifti_bytes import HU, gz, nifti
from bad_inputs.raster import metaimage, nrrd, png, tiff
from fuzz.mutants import Seed

__all__ = ["dicom_seeds", "nifti_seeds", "other_seeds", "seeds"]

SMALL = HU[:5, :4, :3]
# offsets of the numbers in the headers, from the standards' tables
NIFTI_1 = (
    0, 40, 42, 44, 46, 48, 50, 52, 68, 70, 72, 74, 76, 80, 84, 88, 92, 108, 112, 116, 120, 123, 252, 254, 256,
    260, 264, 268, 272, 276, 280, 284, 288, 292, 296, 300, 304, 308, 312, 316, 320, 324, 328, 344, 348,
)  # fmt: skip
NIFTI_2 = (
    0, 4, 12, 14, 16, 24, 32, 40, 48, 56, 104, 112, 120, 128, 136, 168, 176, 184, 344, 348, 352, 360, 400,
    408, 416, 424, 432, 440, 448, 456, 500, 504, 540,
)  # fmt: skip
J2K, JPEG_LS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"
JPEG = "1.2.840.10008.1.2.4.70"
# slice 1 of the phantom as JPEG lossless (process 14, first-order prediction), encoded by GDCM 3.2.6
JPEG_FRAME = base64.b64decode(
    "/9j/wwALEAAQABQBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAQUP/9oACAEBAAEAAMBP1VVVVVWoqqqqqq1FVVVVVWoqqqqq"
    "q1FVVVVVWoqqqqqq1FVVVVVWoqqqqqq1FVVVVVWoqqqqqq1FVVVVVWoqqqqqq1FVVVVVWoqqqqqq1FVVVVVWoqqqqqq//9kA"
)
SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"


@cache
def seeds(family: str) -> tuple[Seed, ...]:
    """All seeds of a family; each knows the others of it as kin."""
    found = tuple({"nifti": nifti_seeds, "dicom": dicom_seeds, "other": other_seeds}[family]())
    return tuple(replace(seed, kin=[other.content for other in found if other is not seed]) for seed in found)


def nifti_seeds() -> Iterator[Seed]:
    """NIfTI-1 and -2: plain, packed, both byte orders, several types, and a pair."""
    real = (SMALL * 0.5).astype("f4")
    for name, content, fields in (
        ("int16", nifti(SMALL), NIFTI_1),
        ("float32", nifti(real), NIFTI_1),
        ("big", nifti(SMALL, endian=">"), NIFTI_1),
        ("scaled", nifti(SMALL, edit=_halved), NIFTI_1),
        ("second", nifti(SMALL, version=2), NIFTI_2),
    ):
        yield Seed("nifti", name, "in.nii", content, fields, given="in.nii")
        yield Seed("nifti", f"{name}.gz", "in.nii.gz", gz(content), fields, given="in.nii.gz")
    whole = nifti(SMALL, edit=_paired)
    header, voxels = whole[:348], whole[352:]
    yield Seed("nifti", "pair header", "in.hdr", header, NIFTI_1, "in.hdr", {"in.img": voxels})
    yield Seed("nifti", "pair image", "in.img", voxels, (), "in.hdr", {"in.hdr": header})


def _halved(header: Any) -> None:
    header["scl_slope"], header["scl_inter"] = 0.5, -3


def _paired(header: Any) -> None:
    header["magic"], header["vox_offset"] = b"ni1", 0


def dicom_seeds() -> Iterator[Seed]:
    """One slice of a series of three in each syntax, an enhanced multi-frame file, SEG and RTSTRUCT."""
    beside = {f"IM{k}.dcm": as_bytes(_slice(k)) for k in (0, 2)}
    for name, syntax in (
        ("explicit", EXPLICIT),
        ("implicit", IMPLICIT),
        ("big", BIG_ENDIAN),
        ("deflated", DEFLATED),
    ):
        yield Seed("dicom", name, "IM1.dcm", as_bytes(_slice(1, syntax)), beside=beside)
    for name, syntax in (("rle", RLE), ("jpegls", JPEG_LS), ("jpeg", JPEG)):
        yield Seed("dicom", name, "IM1.dcm", as_bytes(_packed(_slice(1), syntax)), beside=beside)
    wide = {f"IM{k}.dcm": as_bytes(_wide(k)) for k in (0, 2)}
    yield Seed("dicom", "j2k", "IM1.dcm", as_bytes(_packed(_wide(1), J2K)), beside=wide)
    yield Seed("dicom", "enhanced", "in.dcm", as_bytes(enhanced("fuzz", range(4))), given="in.dcm")
    yield Seed("dicom", "structures", "rt.dcm", as_bytes(_structures()), given="rt.dcm", beside=beside)
    yield Seed("dicom", "segments", "seg.dcm", as_bytes(_segments()), given="seg.dcm", beside=beside)


def as_bytes(ds: Dataset) -> bytes:
    """A dataset as a file."""
    from pydicom import dcmwrite

    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=False)
    return buffer.getvalue()


def _slice(k: int, syntax: str = EXPLICIT) -> Dataset:
    return image("fuzz", k, numbered(k), np.add(CORNER, (0, 0, 2.5 * k)), syntax=syntax)


def _wide(k: int) -> Dataset:
    """A slice that a wavelet of five levels can hold."""
    return image("fuzz", k, np.tile(numbered(k), (2, 2)), np.add(CORNER, (0, 0, 2.5 * k)))


def _packed(ds: Dataset, syntax: str) -> Dataset:
    """The slice, compressed without loss."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    kept = ds.SOPInstanceUID
    if syntax == JPEG:
        ds.PixelData = encapsulate([JPEG_FRAME])
        ds.file_meta.TransferSyntaxUID = UID(JPEG)
        ds["PixelData"].is_undefined_length = True
        return ds
    ds.compress(syntax, generate_instance_uid=False)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = kept
    return ds


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset as Item

    item = Item()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _code(meaning: str) -> list[Any]:
    return [_item(CodeValue="10200004", CodingSchemeDesignator="SCT", CodeMeaning=meaning)]


def _segments() -> Dataset:
    """A binary segmentation of two segments on three slices."""
    ds = enhanced("fuzz", range(3))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SEG
    ds.Modality, ds.SegmentationType, ds.NumberOfFrames = "SEG", "BINARY", 6
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    ds.SegmentSequence = [
        _item(
            SegmentNumber=n,
            SegmentLabel=f"part {n}",
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=_code("Organ"),
            SegmentedPropertyTypeCodeSequence=_code("Liver"),
        )
        for n in (1, 2)
    ]
    frames = list(ds.PerFrameFunctionalGroupsSequence) * 2
    ds.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=frame.PlanePositionSequence,
            FrameContentSequence=frame.FrameContentSequence,
            SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=1 + n // 3)],
        )
        for n, frame in enumerate(frames)
    ]
    ds.add_new(0x7FE00010, "OB", bytes([0xF0, 0x0F] * 120))
    return ds


def _structures() -> Dataset:
    """A structure set of two contours."""
    ds = dataset("fuzz", RTSTRUCT, uid("fuzz", "rt"), "rt")
    ds.Modality, ds.StructureSetLabel = "RTSTRUCT", "FUZZ"
    ds.ReferencedFrameOfReferenceSequence = [_item(FrameOfReferenceUID=ds.FrameOfReferenceUID)]
    ds.StructureSetROISequence = [
        _item(ROINumber=1, ROIName="box", ReferencedFrameOfReferenceUID=ds.FrameOfReferenceUID)
    ]
    contours = []
    for k in range(2):
        corners = [(-9, -19), (-2, -19), (-2, -12), (-9, -12)]
        points = [str(number) for x, y in corners for number in (x, y, -30 + 2.5 * k)]
        contours.append(
            _item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4, ContourData=points)
        )
    ds.ROIContourSequence = [
        _item(ReferencedROINumber=1, ROIDisplayColor=["255", "0", "0"], ContourSequence=contours)
    ]
    ds.RTROIObservationsSequence = [
        _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    ]
    return ds


def other_seeds() -> Iterator[Seed]:
    """NRRD, MetaImage, PNG, TIFF, and archives of a series."""
    members = [(f"IM{k}.dcm", as_bytes(_slice(k))) for k in range(3)]
    for name, content in (
        ("in.nrrd", nrrd()),
        ("gzip.nrrd", nrrd(gz(HU.tobytes(order="F")), encoding="gzip")),
        ("in.mha", metaimage()),
        ("in.png", png()),
        ("in.tif", tiff()),
        ("in.zip", zipped(members)),
        ("stored.zip", zipped(members, zipfile.ZIP_STORED)),
        ("in.tar", tarred(members)),
        ("in.tar.gz", gz(tarred(members))),
    ):
        yield Seed("other", name, name, content, given=name)
