"""NIfTI: damaged containers, headers that lie, data types, orientations, shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.cases import AFFINE, NUMBERS, SHAPE, Build, Built, Case, Geometry, add, geometry, write
from bad_inputs.nifti_bytes import HU, gz, nifti
from numpy.typing import ArrayLike, NDArray

__all__: list[str] = []

Bytes = Callable[[], bytes]
Edit = Callable[[Any], object]
EMPTY = "empty|0 bytes|truncat|too short|header"
SHORT = "truncat|short|expected|size|bytes"
FORMAT = "not (a )?(valid )?nifti|format|recogni|magic|header"
GZIP = "gzip|compress|extension"


def _file(content: Bytes, name: str = "in.nii.gz", expected: Callable[[], Geometry] | None = None) -> Build:
    def build(folder: Path, _: str) -> Built:
        return write(folder / name, content()), None if expected is None else expected()

    return build


def _plain() -> Geometry:
    return geometry(HU, AFFINE)


def _flipped(content: bytes, at: int, bits: int) -> bytes:
    spoiled = bytearray(content)
    spoiled[at] ^= bits
    return bytes(spoiled)


# ------------------------------------------------------------------ the container is damaged
F = "nifti-file"
add(Case("nii_empty", F, "reject", _file(lambda: b"", "in.nii"), EMPTY))
add(Case("niigz_empty", F, "reject", _file(lambda: b""), EMPTY + "|gzip"))
add(
    Case(
        "niigz_cut_half", F, "reject",
        _file(lambda: (b := gz(nifti(HU)))[: len(b) // 2]),
        "truncat|incomplete|corrupt|end-of-stream|unexpected end|short",
    )
)  # fmt: skip
add(
    Case(
        "niigz_cut_in_header", F, "reject",
        _file(lambda: gz(nifti(HU))[:40]),
        "truncat|incomplete|corrupt|header|short",
    )
)  # fmt: skip
add(
    Case(
        "niigz_bad_crc", F, "reject",
        _file(lambda: _flipped(gz(nifti(HU)), -8, 0xFF)),
        "crc|checksum|corrupt",
        notes="all voxels decode, the gzip CRC-32 does not match; nibabel alone does not look",
    )
)  # fmt: skip
add(
    Case(
        "niigz_bitflip", F, "reject",
        _file(lambda: _flipped(b := gz(nifti(HU)), len(b) * 2 // 3, 0x10)),
        "crc|checksum|corrupt|invalid|decompress|inflate",
    )
)  # fmt: skip
add(
    Case(
        "nii_cut_voxels", F, "reject", _file(lambda: nifti(HU)[: 352 + HU.nbytes // 2], "in.nii"), SHORT
    )
)  # fmt: skip
add(Case("nii_cut_last_byte", F, "reject", _file(lambda: nifti(HU)[:-1], "in.nii"), SHORT))
add(
    Case(
        "nii_header_only", F, "reject",
        _file(lambda: nifti(HU)[:348], "in.nii"),
        "truncat|short|expected|size|no (voxel|image)|bytes",
    )
)  # fmt: skip
add(
    Case(
        "nii_half_header", F, "reject",
        _file(lambda: nifti(HU)[:200], "in.nii"),
        "header|truncat|short|not a nifti|bytes",
    )
)  # fmt: skip
add(
    Case(
        "nii_is_text", F, "reject",
        _file(lambda: b"this is a text file, not an image\n" * 40, "in.nii"),
        FORMAT,
    )
)  # fmt: skip
add(
    Case(
        "nii_is_png", F, "reject",
        _file(lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "in.nii"),
        FORMAT,
    )
)  # fmt: skip
add(
    Case(
        "nii_is_gz", F, "reject",
        _file(lambda: gz(nifti(HU)), "in.nii", _plain),
        GZIP + "|not (a )?(valid )?nifti",
        also_ok=("warn", "accept"),
        notes="gzip content under .nii",
    )
)  # fmt: skip
add(
    Case(
        "niigz_is_raw", F, "reject",
        _file(lambda: nifti(HU), "in.nii.gz", _plain),
        GZIP,
        also_ok=("warn", "accept"),
        notes="plain NIfTI under .nii.gz",
    )
)  # fmt: skip
add(
    Case(
        "niigz_multimember", F, "accept",
        _file(lambda: gz(nifti(HU)[:1000]) + gz(nifti(HU)[1000:]), expected=_plain),
        notes="RFC 1952 allows concatenated members",
    )
)  # fmt: skip
add(
    Case(
        "nii_random_bytes", F, "reject",
        _file(lambda: np.random.default_rng(7).bytes(5000), "in.nii"),
        FORMAT,
    )
)  # fmt: skip


# ------------------------------------------------------------------ one field of the header is wrong
F = "nifti-header"


def _set(field: str, value: object, index: int | None = None) -> Edit:
    def edit(header: Any) -> None:
        if index is None:
            header[field] = value
        else:
            header[field][index] = value

    return edit


def _header(name: str, edit: Edit, reason: str, **more: Any) -> None:
    add(Case(name, F, "reject", _file(lambda: gz(nifti(HU, edit=edit))), reason, **more))


_header("hdr_bad_magic", _set("magic", b"zzz"), "magic|not (a )?(valid )?nifti|format|recogni|header")
_header(
    "hdr_sizeof_999",
    _set("sizeof_hdr", 999),
    "header|sizeof_hdr|format|not (a )?(valid )?nifti|recogni",
    also_ok=("warn",),
)
_header("hdr_dim0_0", _set("dim", 0, 0), "dim|shape")
_header("hdr_dim0_neg", _set("dim", -3, 0), "dim|shape|endian|header|format")
_header("hdr_dim0_9", _set("dim", 9, 0), "dim|shape|endian|header|format")
_header("hdr_dim_zero", _set("dim", 0, 3), "dim|shape|empty|size")
_header("hdr_dim_neg", _set("dim", -5, 2), "dim|shape|negative|size")
_header("hdr_dim_too_long", _set("dim", 40, 3), SHORT, notes="claims 40 slices, holds 12")
_header("hdr_datatype_999", _set("datatype", 999), "data ?type|dtype|code")
_header("hdr_datatype_0", _set("datatype", 0), "data ?type|dtype|code|unknown")
_header("hdr_vox_offset_past_end", _set("vox_offset", 1e7), "offset|truncat|short|expected|bytes|size")
_header("hdr_vox_offset_neg", _set("vox_offset", -16), "offset")
_header("hdr_vox_offset_nan", _set("vox_offset", np.nan), "offset|nan|finite")
add(
    Case(
        "hdr_bitpix_wrong", F, "warn",
        _file(lambda: gz(nifti(HU, edit=_set("bitpix", 8))), expected=_plain),
        "bitpix|bits",
        also_ok=("reject", "accept"),
        notes="datatype int16 rules",
    )
)  # fmt: skip


# ------------------------------------------------------------------ data types and scaling
F = "nifti-dtype"
STORED = (NUMBERS - 1024).astype("i2")


def _dtype(
    name: str, array: NDArray[Any], *, values: ArrayLike | None = None, notes: str = "", **more: Any
) -> None:
    def build(folder: Path, _: str) -> Built:
        expected = geometry(array if values is None else values, AFFINE)
        return write(folder / "in.nii.gz", gz(nifti(array, **more))), expected

    add(Case(name, F, "accept", build, notes=notes))


def _scaled(slope: float, intercept: float | None = None) -> Edit:
    def edit(header: Any) -> None:
        header["scl_slope"] = slope
        if intercept is not None:
            header["scl_inter"] = intercept

    return edit


_dtype("dt_uint8", (NUMBERS % 251).astype("u1"))
_dtype("dt_uint16", (NUMBERS + 60000).astype("u2"), notes="values above 32767 must not wrap")
_dtype("dt_int32", (NUMBERS * 1000 - 70000).astype("i4"), notes="values outside int16 must not wrap")
_dtype("dt_int64", (NUMBERS - 1024).astype("i8"))
_dtype("dt_float64", (NUMBERS * 0.5 - 100.25).astype("f8"))
_dtype("dt_big_endian_i2", STORED, endian=">")
_dtype("dt_slope_0", STORED, edit=_scaled(0), notes="slope 0 means no scaling (NIfTI-1 standard)")
_dtype("dt_slope_neg", STORED, edit=_scaled(-2), values=-2.0 * (NUMBERS - 1024))
_dtype("dt_slope_inter", NUMBERS.astype("u2"), edit=_scaled(0.5, -1024), values=NUMBERS * 0.5 - 1024)
add(
    Case(
        "dt_complex64", F, "reject",
        _file(lambda: gz(nifti((NUMBERS + 1j).astype("c8")))),
        "complex|data ?type|dtype",
    )
)  # fmt: skip
add(
    Case(
        "dt_rgb24", F, "reject",
        _file(lambda: gz(nifti(np.zeros(SHAPE, "u1"), edit=_rgb, payload=bytes(3 * NUMBERS.size)))),
        "rgb|colou?r|data ?type|dtype|struct",
    )
)  # fmt: skip


def _rgb(header: Any) -> None:
    header["datatype"], header["bitpix"] = 128, 24


# ------------------------------------------------------------------ orientation
F = "nifti-geometry"
SIDE = "sform|qform|affine|orientation|conflict|differ"
SINGULAR = "singular|affine|sform|degenerate|invert"


def _rotation(axis: int, degrees: float) -> NDArray[np.float64]:
    angle = np.deg2rad(degrees)
    i, j = [(1, 2), (0, 2), (0, 1)][axis]
    matrix = np.eye(4)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def _placed(name: str, affine: NDArray[np.float64], codes: tuple[int, int] = (1, 1), notes: str = "") -> None:
    content = _file(lambda: gz(nifti(HU, affine, codes=codes)), expected=lambda: geometry(HU, affine))
    add(Case(name, F, "accept", content, notes=notes))


def _refused(name: str, reason: str, edit: Edit, codes: tuple[int, int]) -> None:
    add(Case(name, F, "reject", _file(lambda: gz(nifti(HU, edit=edit, codes=codes))), reason))


def _doubtful(name: str, reason: str, edit: Edit, notes: str = "") -> None:
    content = _file(lambda: gz(nifti(HU, edit=edit)), expected=_plain)
    add(Case(name, F, "warn", content, reason, also_ok=("reject",), notes=notes))


_placed("geo_left_handed_LAS", np.diag([-0.9, 0.7, 2.5, 1.0]))
_placed("geo_right_handed_RAS", np.diag([0.9, 0.7, 2.5, 1.0]))
_placed("geo_oblique_30", _rotation(0, 30) @ AFFINE, notes="30 degrees about x")
_placed("geo_double_oblique", _rotation(2, 20) @ _rotation(0, 35) @ AFFINE)
_placed(
    "geo_permuted_PSR",
    np.array([[0, 0, 2.5, 1.0], [-0.9, 0, 0, 2.0], [0, 0.7, 0, 3.0], [0, 0, 0, 1.0]]),
)
_placed("geo_qform_only", _rotation(1, 25) @ AFFINE, codes=(0, 1))
_placed("geo_sform_only", _rotation(1, 25) @ AFFINE, codes=(1, 0))
add(
    Case(
        "geo_no_sform_qform", F, "warn",
        _file(lambda: gz(nifti(HU, codes=(0, 0)))),
        "orientation|sform|qform|affine|assum",
        also_ok=("reject",),
        notes="spacing known, orientation is not; side (left/right) must not be invented in silence",
    )
)  # fmt: skip
_doubtful(
    "geo_sform_qform_conflict",
    SIDE,
    lambda header: header.set_qform(_rotation(2, 90) @ AFFINE, 1),
    notes="sform rules (code equal)",
)
_doubtful(
    "geo_sform_qform_lr_flip",
    SIDE + "|left|right",
    lambda header: header.set_qform(np.diag([-1, 1, 1, 1.0]) @ AFFINE, 1),
)
_refused("geo_sform_zero_row", SINGULAR, _set("srow_z", [0, 0, 0, 0]), (1, 0))


def _equal_columns(header: Any) -> None:
    header["srow_x"], header["srow_y"], header["srow_z"] = [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]


_refused("geo_sform_equal_columns", SINGULAR, _equal_columns, (1, 0))
_refused("geo_sform_nan", "nan|finite|affine|sform", _set("srow_x", [np.nan, 0, 0, 0]), (1, 0))
_refused("geo_pixdim_nan", "nan|finite|spacing|pixdim|affine", _set("pixdim", np.nan, 3), (0, 1))
_refused("geo_pixdim_inf", "inf|finite|spacing|pixdim|affine", _set("pixdim", np.inf, 2), (0, 1))
_refused("geo_pixdim_zero", "zero|spacing|pixdim|affine|singular", _set("pixdim", 0, 1), (0, 1))


# ------------------------------------------------------------------ shapes and content
F = "nifti-shape"


def _shape(name: str, array: NDArray[Any], also_ok: tuple[str, ...] = ("warn",), notes: str = "") -> None:
    content = _file(lambda: gz(nifti(array)), expected=lambda: geometry(array, AFFINE))
    add(Case(name, F, "accept", content, also_ok=also_ok, notes=notes))


_shape("shape_1_voxel", np.full((1, 1, 1), 40, "i2"))
_shape("shape_2d", HU[:, :, 3], ("warn", "reject"), notes="dim[0]=2")
_shape("shape_1_slice", HU[:, :, 3:4])
_shape("shape_smaller_than_any_patch", HU[:5, :4, :3])
_shape("shape_needle", np.arange(300, dtype="i2").reshape(1, 1, 300))
add(
    Case(
        "shape_4d_one_volume", F, "accept",
        _file(lambda: gz(nifti(HU[..., None])), expected=_plain),
        also_ok=("warn",),
    )
)  # fmt: skip
add(
    Case(
        "shape_4d_three_volumes", F, "reject",
        _file(lambda: gz(nifti(np.stack([HU, HU + 1, HU + 2], -1).astype("i2")))),
        "4-?d|dimension|volumes|channels|time",
        notes="must not take volume 0 in silence",
    )
)  # fmt: skip
add(
    Case(
        "val_all_nan", F, "reject", _file(lambda: gz(nifti(np.full(SHAPE, np.nan, "f4")))), "nan|finite"
    )
)  # fmt: skip
SOME_NAN = np.where(NUMBERS % 10 == 3, np.nan, NUMBERS).astype("f4")
add(
    Case(
        "val_some_nan", F, "warn",
        _file(lambda: gz(nifti(SOME_NAN)), expected=lambda: geometry(SOME_NAN, AFFINE)),
        "nan|finite",
        also_ok=("reject",),
    )
)  # fmt: skip
_shape("val_constant", np.full(SHAPE, 100, "i2"), notes="normalisation must not divide by zero")
