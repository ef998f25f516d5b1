"""DICOM series: stored values, encodings, and what else lies in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from bad_inputs.cases import NUMBERS, Built, Case, add, geometry, small, write
from bad_inputs.dicom_bytes import (
    AXIAL,
    BIG_ENDIAN,
    CORNER,
    DEFLATED,
    IMPLICIT,
    MR,
    RLE,
    SC,
    SPACING,
    Dataset,
    Slices,
    accept,
    affine_of,
    altered,
    dataset,
    decimal,
    doubt,
    patch,
    renamed,
    save,
    saved,
    series,
    spoiled,
    stored_values,
    uid,
    volume,
    without,
)

__all__: list[str] = []

AX_STEP = (0.0, 0.0, 2.5)


# ------------------------------------------------------------------ stored values
F = "dicom-values"


def _own_intercept(k: int, ds: Dataset) -> None:
    ds.RescaleIntercept = str(-1024 - 10 * k)
    ds.PixelData = (stored_values(ds) + 10 * k).astype("<i2").tobytes()


def _own_slope(tag: str) -> Slices:
    slices, _ = volume(tag, slope="1", intercept="0")
    for k, ds in enumerate(slices):
        ds.RescaleSlope = decimal(0.5 + 0.25 * k)
    slopes = (0.5 + 0.25 * np.arange(12))[None, None, :]
    return slices, geometry(NUMBERS * slopes, affine_of(CORNER, AXIAL, SPACING, AX_STEP))


def _inverted(_: int, ds: Dataset) -> None:
    ds.PhotometricInterpretation = "MONOCHROME1"


def _dirty_bits(_: int, ds: Dataset) -> None:
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 0, 12, 11
    ds.PixelData = (stored_values(ds).astype("<u2") & 0x0FFF | 0xA000).astype("<u2").tobytes()


accept("dcm_per_slice_intercept", F, altered(_own_intercept))
accept("dcm_per_slice_slope", F, _own_slope, notes="PET style")
doubt(
    "dcm_zero_slope",
    F,
    lambda tag: (volume(tag, slope="0")[0], None),
    "slope|rescale|constant",
    also_ok=("warn",),
)
accept(
    "dcm_mr_no_rescale",
    F,
    lambda tag: (
        volume(tag, sop_class=MR, slope=None)[0],
        geometry(NUMBERS, affine_of(CORNER, AXIAL, SPACING, AX_STEP)),
    ),
)
accept(
    "dcm_monochrome1", F, altered(_inverted), ("warn",), notes="display polarity only: modality values stay"
)
accept(
    "dcm_12bit_dirty_high_bits",
    F,
    altered(_dirty_bits),
    notes="bits above HighBit hold an old overlay and must be masked",
)

# ------------------------------------------------------------------ encodings
F = "dicom-encoding"


def _run_lengths(_: int, ds: Dataset) -> None:
    kept = ds.SOPInstanceUID
    ds.compress(RLE, encoding_plugin="pydicom", generate_instance_uid=False)
    renamed(ds, kept)


def _no_preamble(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    path = saved(folder / "in", slices)
    for file in path.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    return path, expected


def _seventh_file(edit: Callable[[bytes], bytes]) -> Callable[[Path, str], Built]:
    def build(folder: Path, tag: str) -> Built:
        path = saved(folder / "in", volume(tag)[0])
        file = path / "IM0006.dcm"
        file.write_bytes(edit(file.read_bytes()))
        return path, None

    return build


def _claims_rle(folder: Path, tag: str) -> Built:
    path = saved(folder / "in", volume(tag)[0])
    for file in sorted(path.iterdir()):
        patch(file, b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    return path, None


def _huge(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.Rows = ds.Columns = 65535


accept("dcm_implicit_vr", F, lambda tag: volume(tag, syntax=IMPLICIT))
accept("dcm_big_endian", F, lambda tag: volume(tag, syntax=BIG_ENDIAN))
accept("dcm_deflated", F, lambda tag: volume(tag, syntax=DEFLATED))
accept("dcm_rle", F, altered(_run_lengths))
add(
    Case(
        "dcm_no_preamble", F, "accept", _no_preamble,
        also_ok=("warn", "reject"), notes="128-byte preamble and DICM missing, file meta present",
    )
)  # fmt: skip
add(
    Case(
        "dcm_one_slice_cut", F, "reject", _seventh_file(lambda content: content[:-100]),
        "truncat|short|pixel ?data|length|expected|bytes|end of file|eof",
        notes="slice 7 of 12 lost its last 100 bytes: name that file",
    )
)  # fmt: skip
add(
    Case(
        "dcm_one_slice_zero_bytes", F, "reject", _seventh_file(lambda _: b""),
        "empty|not (a )?dicom|truncat|IM0006", also_ok=("warn",),
    )
)  # fmt: skip
doubt(
    "dcm_wrong_rows_one_slice",
    F,
    spoiled(lambda slices: setattr(slices[6], "Rows", 17)),
    "rows|size|shape|length|pixel ?data|dimension|consisten",
)
doubt(
    "dcm_huge_rows_claim",
    F,
    spoiled(_huge),
    "rows|size|length|pixel ?data|expected|bytes|large",
    limits=small(),
)
add(
    Case(
        "dcm_claims_rle_is_raw", F, "reject", _claims_rle,
        "transfer|rle|decode|decompress|encaps|pixel ?data",
    )
)  # fmt: skip

# ------------------------------------------------------------------ what else a folder holds
F = "dicom-content"


def _report(tag: str) -> Dataset:
    ds = dataset(tag, "1.2.840.10008.5.1.4.1.1.88.11", uid(tag, "sr"), "sr")
    ds.Modality, ds.ValueType = "SR", "CONTAINER"
    return ds


def _only_report(folder: Path, tag: str) -> Built:
    save(_report(tag), folder / "in" / "sr.dcm")
    return folder / "in", None


def _with_junk(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    path = saved(folder / "in", slices)
    save(_report(tag), path / "sr.dcm")
    write(path / "readme.txt", b"hello\n")
    write(path / "Thumbs.db", b"\xd0\xcf\x11\xe0" * 20)
    return path, expected


def _captures(tag: str) -> Slices:
    slices, _ = volume(tag, sop_class=SC, slope=None)
    for ds in slices:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.add_new(0x7FE00010, "OB", bytes(range(240)) * (ds.Rows * ds.Columns * 3 // 240))
    return slices, None


def _script(_: int, ds: Dataset) -> None:
    ds.PatientName, ds.SeriesDescription = "<script>alert(1)</script>", "<img src=x onerror=alert(1)>"


def _traversal(k: int, ds: Dataset) -> None:
    ds.SeriesInstanceUID = "../../../../../../tmp/medseg_pwned"
    ds.StudyInstanceUID, ds.PatientID = "../medseg_pwned", "../../medseg_pwned"
    renamed(ds, f"../../medseg_pwned.{k}")


def _single_file(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag, 1)
    saved(folder / "in", slices)
    return folder / "in" / "IM0000.dcm", expected


add(
    Case(
        "dcm_only_sr", F, "reject", _only_report,
        "no image|image|not an image|SR|no (usable )?series|pixel",
    )
)  # fmt: skip
add(
    Case(
        "dcm_series_plus_junk", F, "accept", _with_junk,
        also_ok=("warn",), notes="12 slices + SR + text + Thumbs.db",
    )
)  # fmt: skip
doubt("dcm_rgb_capture", F, _captures, "rgb|colou?r|samples|photometric")
add(
    Case(
        "dcm_script_in_name", F, "accept", series(altered(_script)),
        also_ok=("warn",), forbid=("<script>alert", "<img src=x onerror"),
        notes="any HTML output must escape it",
    )
)  # fmt: skip
add(
    Case(
        "dcm_traversal_uids", F, "accept", series(altered(_traversal)),
        also_ok=("warn", "reject"), forbid=("medseg_pwned",),
        notes="UIDs and PatientID hold ../ : no file may appear outside the output folder",
    )
)  # fmt: skip
doubt("dcm_no_pixel_data", F, without("PixelData"), "pixel ?data|no image|image")
add(
    Case(
        "dcm_single_file_as_input", F, "warn", _single_file,
        "slice|single|one|series", also_ok=("accept", "reject"),
        notes="one file of a series given: 1-slice volume or a clear refusal",
    )
)  # fmt: skip
