"""NIfTI files written by hand, so that a header may claim anything; pairs and single files."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253
import numpy as np
from numpy.typing import NDArray

nibabel: Any = untyped_nibabel
SHAPE = (5, 4, 3)
AFFINE = np.array([[-0.9, 0, 0, 10.0], [0, -0.7, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1.0]])
NUMBERS = np.arange(60).reshape(SHAPE, order="F")
SHEAR = np.array([[1, 0, 0, 0], [0, 1, 0.26, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

Edit = Callable[[Any], object]


def turned(degrees: float, axis: int = 0) -> NDArray[np.float64]:
    """A 4x4 rotation about a world axis."""
    t = np.deg2rad(degrees)
    matrix = np.eye(4)
    i, j = [a for a in range(3) if a != axis]
    matrix[i, i], matrix[j, j], matrix[i, j], matrix[j, i] = np.cos(t), np.cos(t), -np.sin(t), np.sin(t)
    return matrix


def header_for(
    array: NDArray[Any],
    affine: NDArray[np.float64] = AFFINE,
    order: str = "<",
    kind: type = nibabel.Nifti1Header,
) -> Any:
    """A sound header; its qform code is 0 where a qform cannot say the affine."""
    header = kind(endianness=order)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1, strip_shears=True)
    header["qform_code"] = 0 if np.abs(header.get_qform() - affine).max() > 1e-4 else 1
    header["xyzt_units"] = 10
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"], header["vox_offset"] = ((b"n+1", 352), (b"n+2", 544))[kind is nibabel.Nifti2Header]
    header["descrip"] = b"PATIENT^NAME"
    return header


def unchanged(header: Any) -> None:
    """No edit."""


def store(
    path: Path,
    array: NDArray[Any],
    edit: Edit = unchanged,
    header: Any = None,
    payload: bytes | None = None,
) -> Path:
    """Write a single file; `payload` in place of the array's bytes."""
    header = header_for(array) if header is None else header
    edit(header)
    body = in_file_order(array, header) if payload is None else payload
    write(path, header.binaryblock + b"\0\0\0\0" + body)
    return path


def store_pair(
    path: Path, array: NDArray[Any], edit: Edit = unchanged, header: Any = None, image: str | None = None
) -> Path:
    """Write a pair, `path` its header, `image` the other's suffix; returns the header's path."""
    header = header_for(array) if header is None else header
    header["magic"], header["vox_offset"] = header["magic"].item().replace(b"n+", b"ni"), 0
    edit(header)
    write(path, header.binaryblock + b"\0\0\0\0")
    stem, _, suffix = path.name.partition(".")
    suffix = suffix.replace("hdr", "img").replace("HDR", "IMG") if image is None else image
    write(path.with_name(f"{stem}.{suffix}"), in_file_order(array, header))
    return path


def in_file_order(array: NDArray[Any], header: Any) -> bytes:
    """The array's bytes, first axis fastest, in the header's byte order."""
    return array.astype(array.dtype.newbyteorder(header.endianness)).tobytes(order="F")


def write(path: Path, content: bytes) -> None:
    """Write bytes, through gzip where the name says so."""
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)


def field(name: str, value: object, index: int | None = None) -> Edit:
    """An edit that sets one field, or one element of it."""

    def edit(header: Any) -> None:
        if index is None:
            header[name] = value
        else:
            header[name][index] = value

    return edit


def both(*edits: Edit) -> Edit:
    """Several edits in a row."""

    def edit(header: Any) -> None:
        for one in edits:
            one(header)

    return edit


def assert_same_header(path: Path, original: Path) -> None:
    """Affine, sform, qform, codes and pixdim bit for bit, as nibabel loads both."""
    ours, theirs = nibabel.load(path), nibabel.load(original)
    assert np.array_equal(ours.affine, theirs.affine)
    assert ours.header["pixdim"].tobytes() == as_stored(theirs.header, "pixdim")
    for form in ("get_sform", "get_qform"):
        (a, a_code), (b, b_code) = (getattr(image.header, form)(coded=True) for image in (ours, theirs))
        assert a_code == b_code
        assert (a is None and b is None) or np.array_equal(a, b)
    assert int(ours.header["xyzt_units"]) & 7 == int(theirs.header["xyzt_units"]) & 7


def as_stored(header: Any, name: str) -> bytes:
    """A field's bytes as a little-endian NIfTI-1 or NIfTI-2 header holds it."""
    value = header[name]
    return bytes(value.astype(value.dtype.newbyteorder("<")).tobytes())
