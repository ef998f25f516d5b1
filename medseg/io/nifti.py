"""NIfTI-1 and -2, single files and .hdr/.img pairs: read with every claim checked, written reproducibly.

`Source.headers` holds one entry: `{"header": the raw header's bytes, "endian": "<" or ">"}`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError, ResourceError, UsageError
from medseg.io.decoder import refuse_oversize
from medseg.io.nifti_description import description
from medseg.io.nifti_header import (
    CHANNELS_4D,
    HEADER_BYTES,
    INTENT_LABEL,
    PIXELS,
    Header,
    Layout,
    fields,
    geometry,
    layout,
)
from medseg.io.nifti_labels import extensions, read_label_names, read_label_objects
from medseg.io.nifti_stream import (
    CHUNK_BYTES,
    Opened,
    compressor,
    exactly,
    opened,
    skip,
)
from medseg.io.policy import STRICT, Policy
from medseg.io.regular_file import printable
from medseg.io.verdict import OK, Candidate
from medseg.segmentation import LabelTable
from medseg.volume import Grid, Source, Volume

__all__ = [
    "describe_nifti",
    "read_label_names",
    "read_label_objects",
    "read_nifti",
    "write_labels",
    "write_slabs",
    "write_volume",
]

GZIP_RATIO = 1032  # deflate's most: 258 bytes from two bits (zlib's technical notes)
NIFTI_1_LONGEST = 32767  # dim is a 16-bit integer there
PART = 1 << 20  # numbers that are scaled or looked at together
SLAB_BYTES = 1 << 23  # written together: several slices, as one slice of a C-ordered array is slow to gather
ROWS = 8
SEVERAL = "several volumes"


def read_nifti(path: Path, policy: Policy = STRICT) -> Volume:
    """The image as `[C, i, j, k]`; of a pair, either file may be given.

    Integers and floats keep their type. Scaled values, slope * stored + intercept, are computed in double
    precision and kept as float32, which is within 6e-8 of their size and finer than the stored integer's own
    step; as float64 where 32 or 64 bits came in that float32 cannot hold.

    A 4-D file of one volume and a 2-D image are read too; `policy.phase` picks one of several volumes, from
    1, in the file's order. Several channels come from vector images and from what `write_volume` wrote.

    Memory: the voxels once, as they will be returned, and about 5 MiB; where they are scaled, the stored
    numbers beside the values. Volumes that were not asked for are passed over.

    Raises InputError for a file that is cut, damaged, longer than it claims or not finite, and GeometryError
    where the header leaves the orientation unknown or in doubt.
    """
    with opened(path) as file:
        wanted = layout(file.header, file.name)
        _require_room(wanted, file)
        volume, decided = _which(wanted, policy.phase, file.name)
        grid, notes = geometry(file.header, wanted.shape, file.name)
        refuse_oversize(_memory_bytes(wanted), file.name)
        stored = _voxels(file, wanted, volume)
        source = Source(
            native=grid,
            format=HEADER_BYTES[len(file.block)],
            files=file.files,
            sha256=file.sha256(),
            headers=({"header": file.block, "endian": file.header.endianness},),
            verdict=SEVERAL if decided else OK,
            policies=(*wanted.notes, *notes),
            decided=decided,
        )
    return Volume(_values(stored, wanted, file.voxels_name), grid, wanted.channels, source)


def describe_nifti(path: Path) -> tuple[Candidate, ...]:
    """What the header says, without reading voxels; a doubtful geometry is told, not raised."""
    with opened(path) as file:
        return (_described(file),)


def _described(file: Opened) -> Candidate:
    known: dict[str, Any] = {"format": HEADER_BYTES[len(file.block)], "files": len(file.files)}
    try:
        wanted = layout(file.header, file.name)
        _require_room(wanted, file)
    except InputError as problem:
        return Candidate(**known, verdict="not readable", detail=_without(file, problem))
    known |= {"shape": wanted.shape, "channels": len(wanted.channels), "phases": wanted.volumes}
    known |= {"dtype": wanted.dtype.newbyteorder("=").name, "reading_bytes": _memory_bytes(wanted)}
    try:
        grid, notes = geometry(file.header, wanted.shape, file.name)
    except GeometryError as problem:
        return Candidate(**known, verdict="doubtful orientation", detail=_without(file, problem))
    known |= {"spacing": grid.spacing, "unit": grid.unit, "axis_codes": grid.axis_codes}
    try:
        _which(wanted, None, file.name)
    except InputError as problem:
        return Candidate(**known, verdict=SEVERAL, detail=_without(file, problem))
    return Candidate(**known, detail="; ".join((*wanted.notes, *notes)))


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
    _write(path, header, array.dtype, _slabs(array), b"\0\0\0\0")


def write_slabs(
    slabs: Iterable[NDArray[Any]], grid: Grid, path: Path, *, source: Source | None, slope: float = 1.0
) -> None:
    """Write one channel on `grid` that is never held whole: its slabs `[i, j, k]` come along k, in order.

    The values mean what is stored times `slope`. Orientation as `write_labels` does it. All slabs have one
    data type; raises UsageError where together they are not the grid's shape.
    """
    coming = iter(slabs)
    first = next(coming)
    header = _header(grid, source, channels=1)
    header["scl_slope"] = slope
    depth = 0

    def counted() -> Iterator[NDArray[Any]]:
        nonlocal depth
        for slab in chain((first,), coming):
            if slab.shape[:2] != grid.shape[:2] or slab.dtype != first.dtype:
                raise UsageError(f"a slab of {slab.dtype} {slab.shape} is no part of {grid!r}")
            depth += slab.shape[2]
            yield slab

    _write(path, header, first.dtype, counted(), b"\0\0\0\0")
    if depth != grid.shape[2]:
        raise UsageError(f"slabs of {depth} slices were given for {grid!r}")


def write_labels(  # noqa: PLR0913 - what labels are is said by name
    array: NDArray[Any],
    grid: Grid,
    path: Path,
    *,
    labels: LabelTable,
    source: Source | None,
    remarks: Sequence[str] = (),
    objects: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Write label values `[i, j, k]` with the labels' names and colours in the header extension.

    Where values are ids of objects, `objects` has them by the label whose objects they are.

    On the native grid of a NIfTI source, sform, qform, their codes, pixdim and unit are the source's, bit for
    bit. `remarks` go into `descrip`. Raises UsageError where array and grid disagree or the array is not
    unsigned.
    """
    if array.shape != grid.shape or array.dtype.kind != "u":
        raise UsageError(f"labels are unsigned on {grid.shape}; this array is {array.dtype} {array.shape}")
    header = _header(grid, source, *remarks, channels=1)
    header["intent_code"] = INTENT_LABEL
    _write(path, header, array.dtype, _slabs(array[None]), b"\1\0\0\0" + extensions(labels, objects))


# ---- reading


def _which(wanted: Layout, phase: int | None, name: str) -> tuple[int, tuple[str, ...]]:
    """The volume to read, from 1, and a line on that decision where there was one to make."""
    count = wanted.volumes
    if phase is None and count > 1:
        raise InputError(
            f"{name}: 4-D, holds {count} volumes (time points or channels); --phase N reads one, from 1"
        )
    if phase is not None and not 1 <= phase <= count:
        held = f"{count} volumes" if count > 1 else "1 volume"
        raise InputError(f"{name}: there is no phase {phase}: it holds {held}; give --phase 1 to {count}")
    if phase is None or count == 1:
        return 1, ()
    return phase, (f"phase {phase} of {count}: one volume of a 4-D file read",)


def _require_room(wanted: Layout, file: Opened) -> None:
    """Refuse a header that claims more than the file can hold, before anything is allocated for it."""
    claimed, size, name = wanted.offset + wanted.stored_bytes, file.size, file.voxels_name
    if claimed > size * (GZIP_RATIO if file.compressed else 1):
        held = f"a gzip file of {size}" if file.compressed else str(size)
        raise InputError(f"{name}: truncated: the header claims {claimed} bytes, {held} cannot hold them")
    if not file.compressed and size > claimed + wanted.padding_bytes:
        raise _too_long(name, claimed)


def _memory_bytes(wanted: Layout) -> int:
    """Bytes that reading takes at its peak: the stored numbers, and beside them the scaled ones."""
    numbers = wanted.voxel_bytes // wanted.dtype.itemsize
    return wanted.voxel_bytes + (numbers * _scaled_type(wanted).itemsize if wanted.scaled else 0)


def _voxels(file: Opened, wanted: Layout, volume: int) -> NDArray[np.uint8]:
    """The bytes of a volume's voxels, and the stream read to its end so that gzip's CRC-32 is checked."""
    name, end = file.voxels_name, wanted.offset + wanted.stored_bytes
    try:
        buffer = np.empty(wanted.voxel_bytes, np.uint8)
    except MemoryError as problem:
        need = wanted.voxel_bytes / 2**30
        raise ResourceError(f"{name}: {need:.1f} GiB of voxels do not fit in memory; free some") from problem
    view, position, filled = memoryview(buffer.data), file.position, 0
    for channel in range(len(wanted.channels)):
        start = wanted.offset + wanted.block(volume, channel) * wanted.block_bytes
        position += skip(file.stream, start - position)
        stop = filled + wanted.block_bytes
        while filled < stop and position >= start:
            count = file.stream.readinto(view[filled : min(stop, filled + CHUNK_BYTES)])
            if not count:
                break
            position, filled = position + count, filled + count
    position += skip(file.stream, end - position)
    if position < end:
        raise InputError(
            f"{name}: truncated: the header claims {end} bytes, the data end at {position}; copy it again"
        )
    rest = exactly(file.stream, wanted.padding_bytes + 1)
    if len(rest) > wanted.padding_bytes or any(rest):
        raise _too_long(name, end)
    return buffer


def _too_long(name: str, claimed: int) -> InputError:
    return InputError(
        f"{name}: wrong size: it holds more than the {claimed} bytes that its header claims; "
        "correct the header or export the image again"
    )


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
    return np.moveaxis(stored.reshape((*wanted.shape, len(wanted.channels)), order="F"), -1, 0)


def _scaled(stored: NDArray[Any], wanted: Layout) -> NDArray[Any]:
    """Values, slope * stored + intercept, computed in float64."""
    values = np.empty(stored.shape, _scaled_type(wanted))
    with np.errstate(over="ignore", invalid="ignore"):  # overflow becomes infinity, which is refused
        for into, part in zip(_parts(values), _parts(stored), strict=True):
            into[:] = part.astype(np.float64) * wanted.slope + wanted.intercept
    return values


def _scaled_type(wanted: Layout) -> np.dtype[Any]:
    """float32, which holds every 16-bit integer and its multiples; float64 for what has more bits."""
    wide = wanted.dtype.itemsize == 8 or (wanted.dtype.kind in "iu" and wanted.dtype.itemsize == 4)
    return np.dtype(np.float64 if wide else np.float32)


def _parts(array: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Views on stretches of a flat array, so that temporaries stay small."""
    return (array[start : start + PART] for start in range(0, array.size, PART))


def _without(file: Opened, problem: InputError) -> str:
    return str(problem).removeprefix(f"{file.name}: ").removeprefix(f"{file.voxels_name}: ")


# ---- writing


def _header(grid: Grid, source: Source | None, *remarks: str, channels: int) -> Header:
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
    header["descrip"] = description(source, *remarks)
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
    return fields(source.headers[0]["header"])


def _place(header: Header, grid: Grid) -> None:
    """Write the grid as sform, and as qform where a rotation and spacing can say it (no shear)."""
    header.set_sform(grid.affine, code=1)
    header["pixdim"][1:4] = grid.spacing
    header["xyzt_units"] = 2 if grid.unit == "mm" else 0
    directions = grid.affine[:3, :3] / grid.spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() < 1e-5:
        header.set_qform(grid.affine, code=1)


def _slabs(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Several slices `[i, j, k]` at a time of each channel of `array[C, i, j, k]`."""
    thick = max(1, SLAB_BYTES // array[0, :, :, :1].nbytes)
    for channel in array:
        for k in range(0, channel.shape[2], thick):
            yield channel[:, :, k : k + thick]


def _write(
    path: Path, header: Header, dtype: np.dtype[Any], slabs: Iterable[NDArray[Any]], told: bytes
) -> None:
    """Header, extensions and voxels, first axis fastest, a slab at a time; gzip where the name says so."""
    from nibabel.spatialimages import HeaderDataError

    try:
        header.set_data_dtype(dtype)
    except HeaderDataError as problem:
        raise UsageError(f"{printable(path)}: NIfTI has no data type {dtype}") from problem
    first = len(header.binaryblock) + len(told)
    padding = -first % 16  # voxels start at a multiple of 16, as the standard recommends
    header["vox_offset"] = first + padding
    header["magic"] = b"n+1" if len(header.binaryblock) == 348 else b"n+2"
    with compressor(path) as stream:
        stream.write(header.binaryblock + told + bytes(padding))
        little = dtype.newbyteorder("<")
        for slab in slabs:
            stream.write(_in_file_order(slab, little).data.cast("B"))


def _in_file_order(slab: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A slab `[i, j, k]` as contiguous `[k, j, i]`; no copy where it lies so already.

    Otherwise a few rows of i at a time, which stay in the processor's cache: twice as fast as all at once.
    """
    if slab.T.flags.c_contiguous:
        return slab.T.astype(dtype, copy=False)
    turned = np.empty(slab.shape[::-1], dtype)
    for i in range(0, len(slab), ROWS):
        turned[:, :, i : i + ROWS] = slab[i : i + ROWS].T
    return turned
