"""NIfTI files in memory, with any field of the header set to anything."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from bad_inputs.cases import AFFINE, NUMBERS
from numpy.typing import NDArray

__all__ = ["HU", "gz", "nifti"]

HU = (NUMBERS - 1024).astype("<i2")


def nifti(
    data: NDArray[Any],
    affine: NDArray[np.float64] = AFFINE,
    *,
    edit: Callable[[Any], object] | None = None,
    codes: tuple[int, int] = (1, 1),
    endian: Literal["<", ">"] = "<",
    version: int = 1,
    payload: bytes | None = None,
) -> bytes:
    """A single file. `codes` are those of sform and qform; `edit(header)` has the last word on the header."""
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    header: Any = (nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header)(endianness=endian)
    header.set_data_dtype(data.dtype.newbyteorder(endian))
    header.set_data_shape(data.shape)
    header.set_sform(affine, codes[0])
    try:
        header.set_qform(affine, codes[1])
    except HeaderDataError:
        header["qform_code"] = 0
    header["pixdim"][1:4] = np.sqrt((affine[:3, :3] ** 2).sum(0))
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1
    header["xyzt_units"] = 10
    header["scl_slope"], header["scl_inter"] = 1, 0
    if version == 1:
        header["magic"] = b"n+1"
    header["vox_offset"] = 352 if version == 1 else 544
    if edit is not None:
        edit(header)
    body = data.astype(data.dtype.newbyteorder(endian)).tobytes(order="F") if payload is None else payload
    block: bytes = header.binaryblock
    return block + bytes(4) + body


def gz(content: bytes) -> bytes:
    """Gzip without a time, so that equal inputs are equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=6) as file:
        file.write(content)
    return buffer.getvalue()
