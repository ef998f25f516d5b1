"""NIfTI beyond the single file: .hdr/.img pairs, NIfTI-2, other units, and files that grow when unpacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.cases import AFFINE, NUMBERS, Build, Built, Case, add, geometry, small, write
from bad_inputs.nifti_bytes import HU, gz, nifti

__all__: list[str] = []

SHORT = "truncat|short|expected|size|bytes"
DAMAGED = "dim|shape|size|truncat|bytes|claims|header"


# ------------------------------------------------------------------ pairs
F = "nifti-pair"


def _pair(header: Any) -> None:
    header["magic"], header["vox_offset"] = b"ni1", 0


def _written(
    given: str,
    *,
    cut: int = 0,
    without: str = "",
    edit: Callable[[Any], object] = _pair,
    expected: bool = False,
) -> Build:
    """in.hdr and in.img; `cut` bytes are lost from the voxels, one file may be missing, one is given."""

    def build(folder: Path, _: str) -> Built:
        whole = nifti(HU, edit=edit)
        parts = {"in.hdr": whole[:348], "in.img": whole[352 : len(whole) - cut]}
        for name, content in parts.items():
            if name != without:
                write(folder / name, content)
        return folder / given, geometry(HU, AFFINE) if expected else None

    return build


def _analyze(header: Any) -> None:
    header["magic"], header["vox_offset"] = bytes(4), 0
    header["sform_code"] = header["qform_code"] = 0


def _header_of_single_file(folder: Path, _: str) -> Built:
    write(folder / "in.hdr", nifti(HU)[:352])
    write(folder / "in.img", HU.tobytes(order="F"))
    return folder / "in.hdr", None


add(Case("pair_header_given", F, "accept", _written("in.hdr", expected=True)))
add(Case("pair_image_given", F, "accept", _written("in.img", expected=True)))
add(
    Case(
        "pair_image_missing", F, "reject", _written("in.hdr", without="in.img"),
        r"\.img|pair|missing|exist",
    )
)  # fmt: skip
add(
    Case(
        "pair_header_missing", F, "reject", _written("in.img", without="in.hdr"),
        r"\.hdr|pair|missing|exist",
    )
)  # fmt: skip
add(Case("pair_image_short", F, "reject", _written("in.hdr", cut=100), SHORT))
add(
    Case(
        "pair_is_analyze", F, "reject", _written("in.hdr", edit=_analyze), "magic|analyze|nifti|orientation",
        notes="Analyze 7.5 has no magic and no orientation: left and right are unknown",
    )
)  # fmt: skip
add(
    Case(
        "pair_header_of_single_file", F, "reject", _header_of_single_file,
        "truncat|pair|magic|single|bytes", notes="magic n+1 promises voxels in the same file",
    )
)  # fmt: skip


# ------------------------------------------------------------------ NIfTI-2, units, growth
F = "nifti-odd"


def _single(content: Callable[[], bytes], affine: Any = None) -> Build:
    def build(folder: Path, _: str) -> Built:
        return write(folder / "in.nii.gz", content()), None if affine is None else geometry(HU, affine)

    return build


def _field(name: str, value: object, index: int | None = None) -> Callable[[Any], None]:
    def edit(header: Any) -> None:
        if index is None:
            header[name] = value
        else:
            header[name][index] = value

    return edit


def _grown(folder: Path, _: str) -> Built:
    """A good image, and a gigabyte of zeros behind it: 1 MB of gzip."""
    whole = gz(nifti(HU)) + gz(bytes(1 << 24)) * 64
    return write(folder / "in.nii.gz", whole), None


MICROMETRES = np.diag([1e3, 1e3, 1e3, 1.0]) @ AFFINE
add(Case("nii2_plain", F, "accept", _single(lambda: gz(nifti(HU, version=2)), AFFINE)))
add(Case("nii2_big_endian", F, "accept", _single(lambda: gz(nifti(HU, version=2, endian=">")), AFFINE)))
add(
    Case(
        "nii2_dim_beyond_memory", F, "reject",
        _single(lambda: gz(nifti(HU, version=2, edit=_field("dim", 1 << 40, 1)))),
        DAMAGED, limits=small(1024), notes="64-bit dimensions whose product is 2**52 bytes",
    )
)  # fmt: skip
add(
    Case(
        "nii2_dims_overflow", F, "reject",
        _single(lambda: gz(nifti(HU, version=2, edit=_field("dim", [3, 1 << 32, 1 << 32, 2, 1, 1, 1, 1])))),
        DAMAGED, limits=small(1024), notes="the product is 2**65: 0 in 64 bits",
    )
)  # fmt: skip
add(
    Case(
        "nii_units_micrometres", F, "accept",
        _single(lambda: gz(nifti(HU, MICROMETRES, edit=_field("xyzt_units", 3))), MICROMETRES),
        notes="xyzt_units 3: what is written back keeps the unit",
    )
)  # fmt: skip
add(
    Case(
        "niigz_zero_padding", F, "accept", _single(lambda: gz(nifti(HU)) + bytes(512), AFFINE),
        notes="zeros behind the last gzip member are padding, as on tapes (gzip manual)",
    )
)  # fmt: skip
add(
    Case(
        "niigz_grows_behind_the_voxels", F, "reject", _grown, "size|claims|bytes|more",
        limits=small(1024), notes="1 MB of gzip that holds 1 GB",
    )
)  # fmt: skip
add(
    Case(
        "niigz_claims_terabytes", F, "reject",
        _single(lambda: gz(nifti(HU, edit=_field("dim", [3, 32767, 32767, 32767, 1, 1, 1, 1])))),
        DAMAGED, limits=small(1024),
    )
)  # fmt: skip
add(
    Case(
        "dt_slope_inf", F, "reject", _single(lambda: gz(nifti(HU, edit=_field("scl_slope", np.inf)))),
        "slope|finite|inf",
    )
)  # fmt: skip
add(
    Case(
        "dt_rgba32", F, "reject",
        _single(lambda: gz(nifti(HU.astype("u1"), edit=_rgba, payload=bytes(4 * NUMBERS.size)))),
        "rgb|colou?r|data ?type",
    )
)  # fmt: skip
add(
    Case(
        "dt_float128", F, "reject",
        _single(lambda: gz(nifti(HU, edit=_long_double, payload=bytes(16 * NUMBERS.size)))),
        "float128|data ?type|dtype",
    )
)  # fmt: skip


def _rgba(header: Any) -> None:
    header["datatype"], header["bitpix"] = 2304, 32


def _long_double(header: Any) -> None:
    header["datatype"], header["bitpix"] = 1536, 128
