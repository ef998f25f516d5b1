"""NIfTI-1 and NIfTI-2 single files, .nii and .nii.gz: read with every claim checked, written reproducibly.

`Source.headers` holds one entry: `{"header": the raw header's bytes, "endian": "<" or ">"}`.
"""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError, ResourceError, UsageError
from medseg.io.decoder import refuse_oversize
from medseg.io.nifti_header import (
    CHANNELS_4D,
    HEADER_BYTES,
    INTENT_LABEL,
    PIXELS,
    Header,
    Layout,
    geometry,
    header_bytes,
    layout,
    parse,
)
from medseg.io.nifti_labels import extensions, label_names
from medseg.io.regular_file import HashedFile, open_regular, printable
from medseg.io.verdict import Candidate
from medseg.segmentation import LabelTable
from medseg.volume import Grid, Source, Volume

__all__ = ["describe_nifti", "read_label_names", "read_nifti", "write_labels", "write_volume"]

CHUNK_BYTES = 1 << 22
SLACK_BYTES = 4096  # padding that some writers leave behind the last voxel
GZIP_RATIO = 1032  # deflate's most: 258 bytes from two bits (zlib's technical notes)
MOST_EXTENSION_BYTES = 1 << 24
NIFTI_1_LONGEST = 32767  # dim is a 16-bit integer there
COMPRESSION = 4  # of 9: images become 1 % larger than at 6 and take half the time
RESEARCH = b"medseg: research use only"


def read_nifti(path: Path) -> Volume:
    """The image as `[C, i, j, k]`; integers keep their type, scaled values become float32.

    A 4-D file of one volume and a 2-D image are read too; several channels come from RGB, RGBA and vector
    images. Raises InputError for a file that is cut, damaged, longer than it claims or not finite, and
    GeometryError where the header leaves the orientation unknown or in doubt.
    """
    name = printable(path)
    with open_regular(path) as file:
        with _decompressed(path, file, name) as stream:
            block = header_bytes(stream.read, name)
            header = parse(block, name)
            wanted = layout(header, name)
            grid, policies = geometry(header, wanted.shape, name)
            _require_room(wanted, file.size, name, compressed=stream is not file)
            refuse_oversize(_memory_bytes(wanted), name)
            array = _voxels(stream, wanted, len(block), name)
        source = Source(
            native=grid,
            format=HEADER_BYTES[len(block)],
            files=(path,),
            sha256=(file.sha256(),),
            headers=({"header": block, "endian": header.endianness},),
            policies=policies,
        )
    return Volume(_values(array, wanted, name), grid, wanted.channels, source)


def describe_nifti(path: Path) -> tuple[Candidate, ...]:
    """What the header says, without reading voxels; a doubtful geometry is told, not raised."""
    name = printable(path)
    with open_regular(path) as file, _decompressed(path, file, name) as stream:
        block = header_bytes(stream.read, name)
        size, compressed = file.size, stream is not file
    header = parse(block, name)
    format_ = HEADER_BYTES[len(block)]
    try:
        wanted = layout(header, name)
        _require_room(wanted, size, name, compressed=compressed)
    except InputError as problem:
        return (Candidate(format_, verdict="not readable", detail=_without(name, problem)),)
    known: dict[str, Any] = {"shape": wanted.shape, "channels": len(wanted.channels)}
    known["dtype"] = wanted.dtype.newbyteorder("=").name
    try:
        grid, policies = geometry(header, wanted.shape, name)
    except GeometryError as problem:
        return (Candidate(format_, **known, verdict="doubtful orientation", detail=_without(name, problem)),)
    detail = "; ".join(policies)
    found: dict[str, Any] = {"spacing": grid.spacing, "unit": grid.unit, "axis_codes": grid.axis_codes}
    return (Candidate(format_, **known, **found, detail=detail),)


def read_label_names(path: Path) -> dict[int, str]:
    """Label names by value from the file's header extension; empty where it has none."""
    name = printable(path)
    with open_regular(path) as file, _decompressed(path, file, name) as stream:
        block = header_bytes(stream.read, name)
        header = parse(block, name)
        length = layout(header, name).offset - len(block)
        return label_names(_exactly(stream, min(length, MOST_EXTENSION_BYTES)), header.endianness)


def write_volume(volume: Volume, path: Path) -> None:
    """Write an image; several channels become a 4-D file whose last axis is channels.

    Where the grid is still the source's and the source was NIfTI, orientation fields are copied bit for bit.
    """
    array = volume.array
    if array.dtype.kind == "b" or array.dtype == np.float16:  # NIfTI has neither
        array = array.astype(np.uint8 if array.dtype.kind == "b" else np.float32)
    header = _header(volume.grid, volume.source, channels=len(array))
    if len(array) > 1:
        header["intent_name"] = CHANNELS_4D
    _write(path, header, array, b"\0\0\0\0")


def write_labels(
    array: NDArray[Any], grid: Grid, path: Path, *, labels: LabelTable, source: Source | None
) -> None:
    """Write label values `[i, j, k]` with the labels' names and colours in the header extension.

    On the native grid of a NIfTI source, sform, qform, their codes, pixdim and unit are the source's, bit for
    bit. Raises UsageError where array and grid disagree or the array is not unsigned.
    """
    if array.shape != grid.shape or array.dtype.kind != "u":
        raise UsageError(f"labels are unsigned on {grid.shape}; this array is {array.dtype} {array.shape}")
    header = _header(grid, source, channels=1)
    header["intent_code"] = INTENT_LABEL
    _write(path, header, array[None], b"\1\0\0\0" + extensions(labels))


# ---- reading


@contextmanager
def _decompressed(path: Path, file: HashedFile, name: str) -> Iterator[io.RawIOBase | gzip.GzipFile]:
    """The file's content; what gzip finds wrong (length, CRC-32, garbage) becomes an InputError."""
    try:
        if path.name.lower().endswith(".gz"):
            raw = io.BufferedReader(file, CHUNK_BYTES)
            try:
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield stream
            finally:
                raw.detach()  # so that it does not close the file, whose digest is still wanted
        else:
            yield file
    except EOFError as problem:
        raise InputError(f"{name}: truncated: the gzip stream ends early; copy the file again") from problem
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise InputError(f"{name}: corrupt gzip data ({problem}); copy the file again") from problem
    except OSError as problem:
        raise InputError(f"{name}: cannot be read ({problem.strerror or problem})") from problem


def _require_room(wanted: Layout, size: int, name: str, *, compressed: bool) -> None:
    """Refuse a header that claims more than the file can hold, before anything is allocated for it."""
    claimed = wanted.offset + wanted.voxel_bytes
    if claimed > size * (GZIP_RATIO if compressed else 1):
        held = f"a gzip file of {size}" if compressed else str(size)
        raise InputError(f"{name}: truncated: the header claims {claimed} bytes, {held} cannot hold them")
    if not compressed and size > claimed + SLACK_BYTES:
        raise InputError(f"{name}: wrong size: the header claims {claimed} bytes, the file has {size}")


def _memory_bytes(wanted: Layout) -> int:
    """Bytes that reading takes at its peak: the stored numbers, and beside them the scaled ones."""
    scaled = wanted.voxel_bytes // wanted.dtype.itemsize * max(4, wanted.dtype.itemsize)
    return wanted.voxel_bytes + (scaled if wanted.scaled else 0)


def _exactly(stream: io.RawIOBase | gzip.GzipFile, count: int) -> bytes:
    """The next `count` bytes, or fewer at the end of the stream."""
    parts = bytearray()
    while len(parts) < count:
        part = stream.read(min(count - len(parts), CHUNK_BYTES))
        if not part:
            break
        parts += part
    return bytes(parts)


def _voxels(
    stream: io.RawIOBase | gzip.GzipFile, wanted: Layout, position: int, name: str
) -> NDArray[np.uint8]:
    """The bytes of all voxels, and the stream read to its end so that gzip's CRC-32 is checked."""
    while position < wanted.offset:
        skipped = len(stream.read(min(wanted.offset - position, CHUNK_BYTES)) or b"")
        if not skipped:
            raise InputError(f"{name}: truncated: vox_offset is {wanted.offset}, the data end at {position}")
        position += skipped
    try:
        buffer = np.empty(wanted.voxel_bytes, np.uint8)
    except MemoryError as problem:
        need = wanted.voxel_bytes / 2**30
        raise ResourceError(f"{name}: {need:.1f} GiB of voxels do not fit in memory; free some") from problem
    view, filled = memoryview(buffer.data), 0
    while filled < len(view):
        count = stream.readinto(view[filled : filled + CHUNK_BYTES])
        if not count:
            held = f"expected {len(view)} bytes of voxels, found {filled}"
            raise InputError(f"{name}: truncated: {held}; copy the file again")
        filled += count
    rest = len(_exactly(stream, SLACK_BYTES + 1))
    if rest > SLACK_BYTES:
        raise InputError(f"{name}: wrong size: it holds more than the {filled} bytes of voxels it claims")
    return buffer


def _values(buffer: NDArray[np.uint8], wanted: Layout, name: str) -> NDArray[Any]:
    """Numbers `[C, i, j, k]` in native byte order, scaled where the header says so, all finite.

    NaN and infinity are refused: they spread through every filter and mean that comes after.
    """
    stored = buffer.view(wanted.dtype)
    if not wanted.dtype.isnative:
        stored = stored.byteswap(inplace=True).view(wanted.dtype.newbyteorder("="))
    if wanted.scaled:
        stored = _scaled(stored, wanted)
    if stored.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in _parts(stored))
        if bad:
            raise InputError(
                f"{name}: {bad} of {stored.size} values are not finite (NaN or inf); repair the image"
            )
    count = len(wanted.channels)
    if wanted.interleaved:
        return np.ascontiguousarray(stored.reshape((count, *wanted.shape), order="F"))
    return np.moveaxis(stored.reshape((*wanted.shape, count), order="F"), -1, 0)


def _scaled(stored: NDArray[Any], wanted: Layout) -> NDArray[Any]:
    """Values, slope * stored + intercept, computed in float64 and kept as float32 (float64 if it came so)."""
    kind = np.float64 if stored.dtype == np.float64 else np.float32
    values = np.empty(stored.shape, kind)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow becomes infinity, which is refused
        for into, part in zip(_parts(values), _parts(stored), strict=True):
            into[:] = part.astype(np.float64) * wanted.slope + wanted.intercept
    return values


def _parts(array: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Views on stretches of a flat array, so that temporaries stay small."""
    return (array[start : start + CHUNK_BYTES] for start in range(0, array.size, CHUNK_BYTES))


def _without(name: str, problem: InputError) -> str:
    return str(problem).removeprefix(f"{name}: ")


# ---- writing


def _header(grid: Grid, source: Source | None, *, channels: int) -> Header:
    """A fresh little-endian header for `grid`; only orientation is ever taken from the source's."""
    import nibabel

    original = _original(grid, source)
    second = max(grid.shape) > NIFTI_1_LONGEST or (source is not None and source.format == "NIfTI-2")
    kind: Any = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    header = kind(endianness="<")
    header.set_data_shape(grid.shape if channels == 1 else (*grid.shape, channels))
    if original is None:
        _place(header, grid)
    else:
        for field in ORIENTATION:
            header[field] = original[field]
        header["xyzt_units"] = int(original["xyzt_units"]) & 7
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["descrip"] = RESEARCH
    if grid.unit == "px":
        header["aux_file"] = PIXELS
    return header


ORIENTATION = (
    "pixdim", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z",
    "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
)  # fmt: skip


def _original(grid: Grid, source: Source | None) -> Header | None:
    """The source's header, if it was NIfTI and `grid` is still its own."""
    if source is None or not source.format.startswith("NIfTI") or grid != source.native or not source.headers:
        return None
    return parse(source.headers[0]["header"], "source header")


def _place(header: Header, grid: Grid) -> None:
    """Write the grid as sform, and as qform where a rotation and spacing can say it (no shear)."""
    header.set_sform(grid.affine, code=1)
    header["pixdim"][1:4] = grid.spacing
    header["xyzt_units"] = 2 if grid.unit == "mm" else 0
    directions = grid.affine[:3, :3] / grid.spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() < 1e-5:
        header.set_qform(grid.affine, code=1)


def _write(path: Path, header: Header, array: NDArray[Any], told: bytes) -> None:
    """Header, extensions and voxels, first axis fastest, a slab at a time; gzip where the name says so."""
    from nibabel.spatialimages import HeaderDataError

    try:
        header.set_data_dtype(array.dtype)
    except HeaderDataError as problem:
        raise UsageError(f"{printable(path)}: NIfTI has no data type {array.dtype}") from problem
    first = len(header.binaryblock) + len(told)
    padding = -first % 16  # voxels start at a multiple of 16, as the standard recommends
    header["vox_offset"] = first + padding
    header["magic"] = b"n+1" if len(header.binaryblock) == 348 else b"n+2"
    with path.open("wb") as file, _compressor(path, file) as stream:
        stream.write(header.binaryblock + told + bytes(padding))
        little = array.dtype.newbyteorder("<")
        for channel in array:
            for k in range(channel.shape[2]):
                stream.write(channel[:, :, k].astype(little, copy=False).tobytes(order="F"))


@contextmanager
def _compressor(path: Path, file: io.BufferedWriter) -> Iterator[io.BufferedWriter | gzip.GzipFile]:
    """The stream to write to; gzip gets no time and no name, so that equal images give equal files."""
    if path.name.lower().endswith(".gz"):
        with gzip.GzipFile("", "wb", COMPRESSION, file, 0) as stream:
            yield stream
    else:
        yield file
