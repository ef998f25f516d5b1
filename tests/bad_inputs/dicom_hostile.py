"""DICOM that contradicts itself or the standard: geometry, values, syntax, nesting, lengths, directories."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.cases import NUMBERS, Built, Case, add, geometry, small, write
from bad_inputs.dicom_bytes import (
    AXIAL,
    CORNER,
    IMPLICIT,
    RLE,
    SPACING,
    Dataset,
    Slices,
    accept,
    affine_of,
    altered,
    dataset,
    doubt,
    having,
    image,
    numbered,
    renamed,
    save,
    saved,
    spoiled,
    stored_values,
    uid,
    volume,
)

__all__: list[str] = []

J2K, JPEG_LS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"

# ------------------------------------------------------------------ geometry
F = "dicom-geometry-odd"


def _one(index: int, keyword: str, value: object) -> Any:
    """One slice of twelve has another value."""

    def edit(slices: list[Dataset]) -> None:
        setattr(slices[index], keyword, value)

    return spoiled(edit)


def _half(keyword: str, value: object) -> Any:
    def edit(slices: list[Dataset]) -> None:
        for ds in slices[6:]:
            setattr(ds, keyword, value)

    return spoiled(edit)


def _raw_text(keyword: str, placeholder: str, text: bytes) -> Any:
    """A text that no library would write, put there byte by byte; same length as the placeholder."""
    assert len(placeholder) == len(text)

    def build(folder: Path, tag: str) -> Built:
        slices, _ = volume(tag)
        for ds in slices:
            setattr(ds, keyword, placeholder.split("\\"))
        path = saved(folder / "in", slices)
        for file in path.iterdir():
            file.write_bytes(file.read_bytes().replace(placeholder.encode(), text, 1))
        return path, None

    return build


def _two_patients(tag: str) -> Slices:
    other, _ = volume(tag + "other")
    for ds in other:
        ds.PatientName, ds.PatientID = "SECOND^PATIENT", "PHIID00000"
    return volume(tag)[0] + other, None


doubt("dcm_negative_pixel_spacing", F, having("PixelSpacing", ["-0.7", "0.9"]), "spacing")
doubt("dcm_infinite_pixel_spacing", F, having("PixelSpacing", ["1e400", "0.9"]), "spacing")
doubt(
    "dcm_oblique_axes",
    F,
    having("ImageOrientationPatient", ["1", "0", "0", "0.5", "0.866", "0"]),
    "orientation",
)
doubt(
    "dcm_orientation_not_unit",
    F,
    having("ImageOrientationPatient", ["2", "0", "0", "0", "2", "0"]),
    "orientation",
)
doubt("dcm_position_of_two_numbers", F, having("ImagePositionPatient", ["1", "2"]), "position")
add(
    Case(
        "dcm_position_nan", F, "reject",
        _raw_text("ImagePositionPatient", "-11\\-22\\-33", b"nan\\nan\\nan"), "position",
        notes="DS allows digits only (PS3.5 6.2)",
    )
)  # fmt: skip
add(
    Case(
        "dcm_spacing_with_comma", F, "reject",
        _raw_text("PixelSpacing", "1.25\\1.5", b"1,25\\1,5"), "spacing",
        notes="a decimal comma is not a DS: 1,25 must not become 1 or 25",
    )
)  # fmt: skip
doubt("dcm_spacing_differs_in_half", F, _half("PixelSpacing", ["0.8", "0.9"]), "spacing")
doubt("dcm_two_frames_of_reference", F, _half("FrameOfReferenceUID", "1.2.3.4"), "frame of reference|series")
doubt(
    "dcm_slice_pushed_aside",
    F,
    _one(5, "ImagePositionPatient", ["-6", "-20", "-17.5"]),
    "off|shift|aside|line|position",
)
doubt(
    "dcm_slice_turned",
    F,
    _one(5, "ImageOrientationPatient", ["0.98", "0.199", "0", "-0.199", "0.98", "0"]),
    "orientation|turned",
)
doubt(
    "dcm_two_patients", F, _two_patients, "series|more than one|patients",
    notes="two studies of two patients in one folder: never one volume",
    forbid=("SECOND^PATIENT", "PHIID00000"),
)  # fmt: skip

# ------------------------------------------------------------------ values
F = "dicom-values-odd"


def _padded(tag: str) -> Slices:
    slices, _ = volume(tag)
    for ds in slices:
        stored = stored_values(ds).copy()
        stored[:5] = -2000
        ds.PixelPaddingValue, ds.PixelData = -2000, stored.tobytes()
        ds["PixelPaddingValue"].VR = "SS"
    values = NUMBERS - 1024.0
    values[:5, 0, :] = -1024
    return slices, geometry(values, affine_of(CORNER, AXIAL, SPACING, (0, 0, 2.5)))


def _unsigned(k: int, ds: Dataset) -> None:
    """Unsigned 16 bits with values above 32767."""
    ds.PixelRepresentation, ds.RescaleIntercept = 0, "-61024"
    ds.PixelData = (stored_values(ds).astype("<u4") + 60000).astype("<u2").tobytes()


def _eight_bits(tag: str) -> Slices:
    slices, _ = volume(tag)
    for ds in slices:
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.PixelData = (stored_values(ds) % 251).astype("u1").tobytes()
        ds["PixelData"].VR = "OB"
    return slices, geometry(NUMBERS % 251 - 1024.0, affine_of(CORNER, AXIAL, SPACING, (0, 0, 2.5)))


accept("dcm_padding_becomes_air", F, _padded, notes="PixelPaddingValue outside the field of view of CT")
accept("dcm_unsigned_above_32767", F, altered(_unsigned), notes="must not wrap")
accept("dcm_eight_bits", F, _eight_bits)
add(
    Case(
        "dcm_slope_is_text", F, "reject", _raw_text("RescaleSlope", "1.25", b"1.x5"), "slope|rescale",
    )
)  # fmt: skip
doubt("dcm_bits_stored_above_allocated", F, having("BitsStored", 17), "bits|17")
doubt("dcm_rescale_types_mixed", F, _half("RescaleType", "OD"), "rescale ?type|differ|mixed")
doubt(
    "dcm_one_slice_without_slope",
    F,
    spoiled(lambda slices: slices[4].__delattr__("RescaleSlope")),
    "slope|rescale",
)

# ------------------------------------------------------------------ syntax, lengths, nesting
F = "dicom-encoding-odd"


def _compressed(ds: Dataset, syntax: str) -> None:
    kept = ds.SOPInstanceUID
    ds.compress(syntax, generate_instance_uid=False)
    renamed(ds, kept)


def _mixed_syntaxes(tag: str) -> Slices:
    slices, expected = volume(tag)
    implicit, _ = volume(tag, syntax=IMPLICIT)
    for k, syntax in enumerate((RLE, JPEG_LS, JPEG_LS)):
        _compressed(slices[k], syntax)
    return [*slices[:4], *implicit[4:8], *slices[8:]], expected


def _half_fragment(syntax: str) -> Any:
    """The code stream of one slice ends in its middle; the element around it is whole."""

    def build(tag: str) -> Slices:
        from pydicom.encaps import encapsulate, generate_frames

        # 80 x 64: a wavelet of five levels needs 32 rows
        slices = [
            image(tag, k, np.tile(numbered(k), (4, 4)), np.add(CORNER, (0, 0, 2.5 * k))) for k in range(12)
        ]
        for ds in slices:
            _compressed(ds, syntax)
        frame = next(generate_frames(slices[5].PixelData, number_of_frames=1))
        slices[5].PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
        return slices, None

    return build


def _no_fragments(slices: list[Dataset]) -> None:
    """An empty offset table and an empty fragment (PS3.5 A.4)."""
    for ds in slices:
        _compressed(ds, RLE)
        ds.PixelData = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 2


def _nested(depth: int) -> bytes:
    """Private sequences of undefined length, one in the other (PS3.5 7.5)."""
    opened = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closed = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return opened * depth + closed * depth


def _inserted(content: bytes) -> Any:
    """Bytes put in front of group 0010 of every file."""

    def build(folder: Path, tag: str) -> Built:
        slices, expected = volume(tag)
        path = saved(folder / "in", slices)
        for file in path.iterdir():
            whole = file.read_bytes()
            at = whole.index(b"\x10\x00\x10\x00PN")
            file.write_bytes(whole[:at] + content + whole[at:])
        return path, expected

    return build


def _rejected(name: str, build: Any, reason: str, **more: Any) -> None:
    add(Case(name, F, "reject", build, reason, **more))


BROKEN = "damaged|pixel ?data|truncat|nest|no image|not (a )?dicom|cut"
LONG = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0) + b"x" * 16
OPEN = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF)
accept("dcm_mixed_transfer_syntaxes", F, _mixed_syntaxes, notes="each file says its own (PS3.10 7.1)")
doubt("dcm_j2k_cut_in_the_stream", F, _half_fragment(J2K), "decode|truncat|pixel ?data|damaged|corrupt")
doubt(
    "dcm_jpegls_cut_in_the_stream", F, _half_fragment(JPEG_LS), "decode|truncat|pixel ?data|damaged|corrupt"
)
doubt("dcm_rle_cut_in_the_stream", F, _half_fragment(RLE), "decode|truncat|pixel ?data|damaged|corrupt")
doubt("dcm_empty_fragments", F, spoiled(_no_fragments), "decode|truncat|pixel ?data|damaged|corrupt|fragment")
add(
    Case(
        "dcm_nested_10_deep", F, "accept", _inserted(_nested(10)),
        notes="private sequences are legal and say nothing about the image",
    )
)  # fmt: skip
_rejected("dcm_nested_20000_deep", _inserted(_nested(20000)), BROKEN, limits=small(1024))
_rejected("dcm_length_of_four_gigabytes", _inserted(LONG), BROKEN, limits=small(1024))
_rejected("dcm_sequence_never_closed", _inserted(OPEN), BROKEN, limits=small(1024))


# ------------------------------------------------------------------ directories and names
F = "dicom-folder-odd"


def _directory(tag: str, *referenced: str) -> Dataset:
    from pydicom.dataset import Dataset as Item

    ds = dataset(tag, "1.2.840.10008.1.3.10", uid(tag, "dir"))
    ds.FileSetID = "BATTERY"
    records = []
    for name in referenced:
        record = Item()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name.split("\\")
        records.append(record)
    ds.DirectoryRecordSequence = records
    return ds


def _escaping_directory(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    path = saved(folder / "in", slices)
    save(_directory(tag, "..\\..\\..\\ETC\\PASSWD", "C:\\X"), path / "DICOMDIR")
    return path, expected


def _only_directory(folder: Path, tag: str) -> Built:
    saved(folder / "outside", volume(tag)[0])
    save(_directory(tag, "..\\outside\\IM0000.dcm"), folder / "in" / "DICOMDIR")
    return folder / "in", None


def _fifo_among_slices(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    path = saved(folder / "in", slices)
    os.mkfifo(path / "IM9999.dcm")
    (path / "zero.dcm").symlink_to("/dev/zero")
    return path, expected


def _linked_neighbour(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    path = saved(folder / "in", slices)
    saved(folder / "neighbour", volume(tag, series="s2")[0])
    (path / "next").symlink_to("../neighbour")
    return path, expected


def _odd_names(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    names = (
        b"\xff\xfe.dcm",
        b"line\nbreak.dcm",
        b"-rf",
        b"a b;c.dcm",
        b"\xc3\xa9.DCM",
        "\u202egpj.dcm".encode(),
    )
    for k, ds in enumerate(slices):
        path = save(ds, folder / "in" / f"{k}.dcm")
        if k < len(names):
            path.rename(path.parent / os.fsdecode(names[k]))
    return folder / "in", expected


def _escape_codes(tag: str) -> Slices:
    slices = volume(tag)[0] + volume(tag, series="s2")[0]
    for ds in slices:
        ds.SeriesDescription = "\x1b[31mRED\x1b]0;owned\x07\r\nmedseg: fine"
    return slices, None


def _folder(name: str, build: Any, expect: Any = "accept", reason: str = "", **more: Any) -> None:
    add(Case(name, F, expect, build, reason, **more))


_folder("dcmdir_that_escapes", _escaping_directory, notes="the directory is not followed")
_folder("dcmdir_alone", _only_directory, "reject", "no (dicom )?image|dicomdir|directory")
_folder("dcm_fifo_and_device_among_slices", _fifo_among_slices, limits=small(1024, 20), requires=("symlink",))
_folder(
    "dcm_linked_neighbour",
    _linked_neighbour,
    requires=("symlink",),
    notes="linked folders are not part of a folder",
)
_folder("dcm_odd_names", _odd_names, notes="not UTF-8, a line break, an option, a right-to-left mark")
doubt("dcm_escape_codes_in_description", F, _escape_codes, "series", forbid=("\x1b[31m", "\x1b]0"))


def _not_utf8(folder: Path, tag: str) -> Built:
    slices = saved(folder / "tmp", volume(tag)[0])
    target = folder / os.fsdecode(b"sc\xffn")
    slices.rename(target)
    return target, volume(tag)[1]


_folder("folder_name_not_utf8", _not_utf8)
_folder(
    "folder_of_other_images",
    lambda folder, _: (write(folder / "in" / "a.png", b"\x89PNG\r\n\x1a\n").parent, None),
    "reject",
    "no (dicom|image)",
)
