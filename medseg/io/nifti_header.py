"""The NIfTI-1 and NIfTI-2 header: what it claims, checked before a single voxel is allocated.

Standard: https://nifti.nimh.nih.gov/nifti-1 and nifti-2 (field names below are those of the standard).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.volume import Grid

__all__ = [
    "CHANNELS_4D",
    "GZIP_MAGIC",
    "INTENT_LABEL",
    "PIXELS",
    "Header",
    "Layout",
    "fields",
    "geometry",
    "header_bytes",
    "layout",
    "parse",
]

Header: TypeAlias = Any  # nibabel.Nifti1Header or Nifti2Header, which carry no types

HEADER_BYTES = {348: "NIfTI-1", 540: "NIfTI-2"}
# In a single file, voxels start behind the header and the four bytes that announce extensions.
FIRST_VOXEL = {348: 352, 540: 544}
SINGLE = {348: b"n+1\0", 540: b"n+2\0\r\n\x1a\n"}
PAIR = {348: b"ni1\0", 540: b"ni2\0\r\n\x1a\n"}
DATATYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
COLOURS = {128: "RGB24", 2304: "RGBA32"}
REFUSED = {
    0: "unknown", 1: "1-bit", 32: "complex64", 1536: "float128", 1792: "complex128", 2048: "complex256",
}  # fmt: skip
GZIP_MAGIC = b"\x1f\x8b"
INTENT_LABEL = 1002
INTENT_VECTOR = 1007
CHANNELS_4D = b"medseg channels"
"""`intent_name` of a 4-D file whose last axis is channels, not time; the standard has no mark for it."""
PIXELS = b"medseg: pixels"
"""`aux_file` of a picture without a scale, written with unit 0: NIfTI has no pixels, and 0 is read as mm."""
MOST_CHANNELS = 1024  # so that a header cannot make us build millions of names
MOST_PADDING = 4096  # bytes; some writers fill up a block of the disk
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_NAMES = {1: "metres", 3: "micrometres"}
SMALLEST_MM, LARGEST_MM = 1e-9, 1e9  # beyond these, in any unit, a header is damaged
AGREEMENT = 1e-3  # voxels, as Grid.same_as
MISNAMED_SINGLE = "its header is that of a single file, and its name that of a pair; rename it to .nii"
MISNAMED_PAIR = (
    "its header is that of a .hdr/.img pair, and its name that of a single file; rename it to .hdr"
)


@dataclass(frozen=True)
class Layout:
    """How the voxels lie in the file: `shape` (i, j, k), channels, type, and the scaling to apply.

    The file is a row of blocks of `shape`. One volume is a block for each channel, `stride` blocks apart:
    that is 1, or the number of time points where a vector's parts lie behind all of time.
    """

    shape: tuple[int, int, int]
    channels: tuple[str, ...]
    volumes: int
    stride: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    notes: tuple[str, ...] = ()
    """What was read otherwise than a stray field would have it, one line each."""

    @property
    def block_bytes(self) -> int:
        """Bytes of one channel of one volume."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all channels of one volume."""
        return self.block_bytes * len(self.channels)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all volumes in the file."""
        return self.voxel_bytes * self.volumes

    @property
    def padding_bytes(self) -> int:
        """Zeros that may follow the last voxel: padding, where they are too few to be a slice."""
        return min(MOST_PADDING, math.prod(self.shape[:2]) * self.dtype.itemsize - 1)

    def block(self, volume: int, channel: int) -> int:
        """Which block of the file holds a channel (from 0) of a volume (from 1)."""
        rest, first = divmod(volume - 1, self.stride)
        return first + self.stride * (channel + len(self.channels) * rest)

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are not yet the values; slope 0 means "not scaled" (NIfTI-1, scl_slope)."""
        return self.slope != 0 and (self.slope, self.intercept) != (1.0, 0.0)


def header_bytes(read: Callable[[int], bytes], name: str) -> bytes:
    """Take the header from the start of a stream; raises InputError where it is cut or is no NIfTI header."""
    first = read(348)
    if len(first) < 348:
        raise InputError(
            f"{name}: truncated: {len(first)} bytes, and a NIfTI header has 348; copy the file again"
        )
    sizes = (int.from_bytes(first[:4], "little", signed=True), int.from_bytes(first[:4], "big", signed=True))
    if 540 in sizes:
        first += read(540 - 348)
        if len(first) < 540:
            raise InputError(f"{name}: truncated in its NIfTI-2 header of 540 bytes; copy the file again")
    elif 348 not in sizes:
        if first[:2] == GZIP_MAGIC:
            raise InputError(f"{name}: compressed twice: gzip within gzip; unpack it once")
        if first[344:348] in {SINGLE[348], PAIR[348]}:
            raise InputError(
                f"{name}: damaged NIfTI header: sizeof_hdr is {sizes[0]}, not 348; export it again"
            )
        raise InputError(f"{name}: not a NIfTI file: no NIfTI header at its start; check the file's format")
    return first


def fields(block: bytes) -> Header:
    """The header's fields, unchecked, in either endianness."""
    import nibabel

    order = "<" if int.from_bytes(block[:4], "little") == len(block) else ">"
    kind: Any = nibabel.Nifti1Header if len(block) == 348 else nibabel.Nifti2Header
    return kind(block, endianness=order, check=False)


def parse(block: bytes, name: str, *, pair: bool = False) -> Header:
    """The header's fields (a nibabel header, either endianness) from the bytes of `header_bytes`.

    `pair` tells whether its voxels are in a file of their own. Raises InputError where its magic says
    otherwise or is none, and GeometryError for Analyze 7.5, which has no magic and no orientation.
    """
    header = fields(block)
    magic = block[344:348] if len(block) == 348 else block[4:12]
    expected, other = (PAIR, SINGLE) if pair else (SINGLE, PAIR)
    if magic == other[len(block)]:
        raise InputError(f"{name}: {MISNAMED_SINGLE if pair else MISNAMED_PAIR}")
    if pair and len(block) == 348 and magic != expected[348]:
        raise GeometryError(
            f"{name}: no orientation: an Analyze 7.5 header (no NIfTI magic), in which left and right are "
            "unknown; convert the original images again, to NIfTI"
        )
    if magic != expected[len(block)]:
        raise InputError(
            f"{name}: not a NIfTI file: its magic is {magic!r}, not {expected[len(block)]!r}; "
            "check the file's format"
        )
    return header


def layout(header: Header, name: str) -> Layout:
    """What the header claims about the voxels; raises InputError where it makes no sense or is not read."""
    dims = _dims(header, name)
    dtype = _datatype(header, name)
    channels, volumes, stride = _channels(header, dims)
    slope, intercept, notes = _scaling(header, name)
    i, j, k = (*dims, 1, 1, 1)[:3]
    offset = _offset(header, name)
    return Layout((i, j, k), channels, volumes, stride, dtype, offset, slope, intercept, notes)


def _dims(header: Header, name: str) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise InputError(
            f"{name}: damaged header: dim[0] is {count}, and an image has 1 to 7 dimensions; export it again"
        )
    dims = tuple(int(n) for n in header["dim"][1 : count + 1])
    if min(dims) < 1:
        raise InputError(f"{name}: damaged header: dimensions {dims} must all be at least 1; export it again")
    return dims


def _channels(header: Header, dims: tuple[int, ...]) -> tuple[tuple[str, ...], int, int]:
    """Channel names, the number of volumes, and the blocks between two channels of one volume.

    A vector lies along the fifth axis, behind time.
    """
    marked = header["intent_name"].item() == CHANNELS_4D and len(dims) == 4
    vector = int(header["intent_code"]) == INTENT_VECTOR and len(dims) >= 5
    count = dims[3] if marked else dims[4] if vector else 1
    names = tuple(f"channel {n + 1}" for n in range(count)) if 1 < count <= MOST_CHANNELS else ("image",)
    stride = dims[3] if vector and len(names) > 1 else 1
    return names, math.prod(dims[3:]) // len(names), stride


def _datatype(header: Header, name: str) -> np.dtype[Any]:
    """The type of one number, in the file's byte order."""
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code in COLOURS:
        raise InputError(
            f"{name}: RGB colours ({COLOURS[code]}), not intensities: they would be read as three scans; "
            "convert it to grey values first"
        )
    if code not in DATATYPES:
        known = REFUSED.get(code, "undefined")
        raise InputError(
            f"{name}: data type {code} ({known}) is not read; convert it to an integer or float type"
        )
    dtype = np.dtype(DATATYPES[code]).newbyteorder(header.endianness)
    expected = 8 * dtype.itemsize
    if bits != expected:
        raise InputError(
            f"{name}: damaged header: bitpix is {bits}, and data type {code} has {expected}; export it again"
        )
    return dtype


def _scaling(header: Header, name: str) -> tuple[float, float, tuple[str, ...]]:
    """Slope (0 where nothing is to be scaled), intercept, and a note where a stray field was passed over.

    Slope 0 means "not scaled", whatever the intercept (NIfTI-1, scl_slope). NaN is what some writers leave
    there when they do not scale; the standard's C library reads it as 0. An intercept beside it is a
    contradiction.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if math.isnan(slope) and (math.isnan(intercept) or intercept == 0):
        return 0.0, 0.0, ("scl_slope is NaN: values taken as not scaled",)
    if slope == 0:
        stray = f"scl_inter {intercept:g} not applied: scl_slope is 0, which means not scaled"
        return 0.0, 0.0, () if intercept == 0 else (stray,)
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError(
            f"{name}: scl_slope {slope:g} and scl_inter {intercept:g} must be finite; export it again"
        )
    return slope, intercept, ()


def _offset(header: Header, name: str) -> int:
    """Bytes before the first voxel, in the file that holds the voxels."""
    pair = header["magic"].item()[:2] == b"ni"
    offset, first = float(header["vox_offset"]), 0 if pair else FIRST_VOXEL[len(header.binaryblock)]
    if not math.isfinite(offset) or offset < first or offset != int(offset):
        raise InputError(
            f"{name}: damaged header: vox_offset is {offset:g}, and must be a whole number from {first}"
        )
    return int(offset)


def geometry(header: Header, shape: tuple[int, int, int], name: str) -> tuple[Grid, tuple[str, ...]]:
    """The grid in RAS+ millimetres and what was done to get there, one line each.

    The sform is used where its code is set, else the qform. Raises GeometryError where neither is set, where
    both are and disagree, or where the affine is singular or not finite.
    """
    code = int(header["xyzt_units"]) & 7
    if code not in MM_PER_UNIT:
        raise InputError(f"{name}: xyzt_units names an undefined unit of length ({code}); set it to mm")
    coded = [form for form in ("sform", "qform") if int(header[f"{form}_code"]) > 0]
    if not coded:
        raise GeometryError(
            f"{name}: no orientation: sform and qform codes are 0, so left and right are unknown; set one"
        )
    grids = [_grid(header, form, shape, name) for form in coded]
    if len(grids) == 2:
        _require_agreement(header, grids[0], grids[1], name)
    if code == 0 and header["aux_file"].item() == PIXELS:
        return replace(grids[0], unit="px"), ()
    notes = _stray_pixdim(header, grids[0])
    if code not in UNIT_NAMES:
        return grids[0], notes
    scale = np.diag([*[MM_PER_UNIT[code]] * 3, 1.0])
    return Grid(shape, scale @ grids[0].affine), (*notes, f"affine converted from {UNIT_NAMES[code]} to mm")


def _stray_pixdim(header: Header, grid: Grid) -> tuple[str, ...]:
    """A note where pixdim contradicts the affine, which can only be a sform's: a qform is built on pixdim."""
    pixdim = [float(p) for p in header["pixdim"][1:4]]
    if np.allclose(pixdim, grid.spacing, rtol=AGREEMENT, atol=0):
        return ()
    told, true = (" x ".join(f"{p:.6g}" for p in lengths) for lengths in (pixdim, grid.spacing))
    return (f"pixdim {told} contradicts the sform, whose spacing {true} is used",)


def _grid(header: Header, form: str, shape: tuple[int, int, int], name: str) -> Grid:
    from nibabel.spatialimages import HeaderDataError

    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by Grid, in words
            grid = Grid(shape, header.get_sform() if form == "sform" else _qform(header))
    except (GeometryError, HeaderDataError, ValueError) as problem:
        raise GeometryError(f"{name}: {form} cannot be used: {problem}; correct the header") from problem
    if min(grid.spacing) < SMALLEST_MM or np.abs(grid.affine).max() > LARGEST_MM:
        raise GeometryError(
            f"{name}: {form} cannot be used: a spacing or position is absurd; correct the header"
        )
    return grid


def _qform(header: Header) -> NDArray[np.float64]:
    """The qform's affine; qfac 0 counts as 1 (NIfTI-1, method 2)."""
    if header["pixdim"][0] == 0:
        header = header.copy()
        header["pixdim"][0] = 1
    affine: NDArray[np.float64] = header.get_qform()
    return affine


def _require_agreement(header: Header, sform: Grid, qform: Grid, name: str) -> None:
    """Refuse two orientations that differ by more than the qform's own rounding."""
    if sform.same_as(qform, AGREEMENT) or sform.same_as(_unrounded(header, sform, qform), AGREEMENT):
        return
    mm = float(np.linalg.norm(sform.corners() - qform.corners(), axis=1).max())
    raise GeometryError(
        f"{name}: doubtful orientation: sform and qform differ by up to {mm:.2f} mm; correct the header"
    )


def _unrounded(header: Header, sform: Grid, qform: Grid) -> Grid:
    """The qform with the real part of its quaternion as close to the sform's as the header leaves open.

    The real part is not stored but computed as sqrt(1 - b^2 - c^2 - d^2). Near half a turn it is small, and
    the last bit of a 32-bit b, c or d moves the corner of a large image by up to a voxel, though both forms
    were written from one matrix. Nothing else is excused: a shift, a spacing or a shear stays a conflict.
    """
    from nibabel.quaternions import mat2quat, quat2mat

    imaginary = np.array([header["quatern_b"], header["quatern_c"], header["quatern_d"]])
    doubt = 4 * float(np.finfo(imaginary.dtype).eps)  # nibabel takes 3 of these for 0, and rounding adds one
    square = 1 - float(np.sum(imaginary.astype(np.float64) ** 2))
    lowest, highest = np.sqrt(max(0.0, square - doubt)), np.sqrt(max(0.0, square) + doubt)
    directions = sform.affine[:3, :3] / sform.spacing
    directions[:, 2] *= np.sign(np.linalg.det(directions))
    real = np.clip(mat2quat(directions)[0], lowest, highest)
    back = quat2mat(header.get_qform_quaternion()).T
    affine = qform.affine.copy()
    affine[:3, :3] = quat2mat([real, *imaginary]) @ back @ qform.affine[:3, :3]
    return Grid(qform.shape, affine)
