"""NRRD, MetaImage, PNG and TIFF: cut, contradictory, pointing elsewhere, or claiming the earth."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bad_inputs.cases import AFFINE, SHAPE, Build, Built, Case, add, geometry, small, write
from bad_inputs.nifti_bytes import HU, gz

__all__ = ["VOXELS", "metaimage", "nrrd", "png", "tiff", "tiff_loop"]

SHORT = "truncat|short|expected|size|bytes|claims|holds"
VOXELS = HU.tobytes(order="F")


def _file(name: str, content: Callable[[], bytes], *, good: bool = False) -> Build:
    def build(folder: Path, _: str) -> Built:
        return write(folder / name, content()), geometry(HU, AFFINE) if good else None

    return build


def _reject(name: str, family: str, build: Build, reason: str, notes: str = "") -> None:
    add(Case(name, family, "reject", build, reason, limits=small(1024), notes=notes))


# ------------------------------------------------------------------ NRRD: the phantom, LPS
F = "nrrd"


def nrrd(voxels: bytes = VOXELS, **changed: str) -> bytes:
    """Changed to "" a field is left out."""
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, SHAPE)),
        "space directions": "(0.9,0,0) (0,0.7,0) (0,0,2.5)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(-10,-20,-30)",
        **{name.replace("_", " "): value for name, value in changed.items()},
    }
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    return "\n".join(lines).encode() + voxels


add(Case("nrrd_raw", F, "accept", _file("in.nrrd", nrrd, good=True)))
add(Case("nrrd_gzip", F, "accept", _file("in.nrrd", lambda: nrrd(gz(VOXELS), encoding="gzip"), good=True)))
_reject("nrrd_cut", F, _file("in.nrrd", lambda: nrrd(VOXELS[:-1])), SHORT)
_reject(
    "nrrd_gzip_cut",
    F,
    _file("in.nrrd", lambda: nrrd(gz(VOXELS)[:-40], encoding="gzip")),
    SHORT + "|gzip|corrupt",
)
_reject("nrrd_sizes_negative", F, _file("in.nrrd", lambda: nrrd(sizes="20 -16 12")), "sizes")
_reject(
    "nrrd_claims_terabytes",
    F,
    _file("in.nrrd", lambda: nrrd(sizes="99999 99999 99999")),
    SHORT + "|memory|GiB",
)
_reject("nrrd_no_space", F, _file("in.nrrd", lambda: nrrd(space="")), "space|orientation")
_reject(
    "nrrd_directions_nan",
    F,
    _file("in.nrrd", lambda: nrrd(space_directions="(nan,0,0) (0,1,0) (0,0,1)")),
    "direction|finite|nan",
)
_reject(
    "nrrd_directions_singular",
    F,
    _file("in.nrrd", lambda: nrrd(space_directions="(1,0,0) (1,0,0) (0,0,1)")),
    "direction|singular|affine",
)
_reject(
    "nrrd_detached_elsewhere", F, _file("in.nhdr", lambda: nrrd(b"", data_file="../../../../../etc/passwd")),
    "file|detached|elsewhere|data ?file", notes="a header may name any file of the machine",
)  # fmt: skip
_reject(
    "nrrd_detached_list",
    F,
    _file("in.nrrd", lambda: nrrd(b"", data_file="LIST")),
    "file|detached|data ?file",
)

# ------------------------------------------------------------------ MetaImage
F = "metaimage"


def metaimage(voxels: bytes = VOXELS, **changed: str) -> bytes:
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "-10 -20 -30",
        "ElementSpacing": "0.9 0.7 2.5",
        "DimSize": " ".join(map(str, SHAPE)),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
        **changed,
    }
    return "".join(f"{name} = {value}\n" for name, value in fields.items()).encode() + voxels


add(Case("mha_raw", F, "accept", _file("in.mha", metaimage, good=True)))
_reject("mha_cut", F, _file("in.mha", lambda: metaimage(VOXELS[:-1])), SHORT)
_reject("mha_dims_negative", F, _file("in.mha", lambda: metaimage(DimSize="20 -16 12")), "dim")
_reject(
    "mha_claims_terabytes",
    F,
    _file("in.mha", lambda: metaimage(DimSize="99999 99999 99999")),
    SHORT + "|memory|GiB",
)
_reject(
    "mha_spacing_zero",
    F,
    _file("in.mha", lambda: metaimage(ElementSpacing="0 0.7 2.5")),
    "spacing|singular|affine",
)
_reject(
    "mha_data_elsewhere",
    F,
    _file("in.mhd", lambda: metaimage(b"", ElementDataFile="/etc/passwd")),
    "file|elsewhere|data",
)
_reject("mha_data_list", F, _file("in.mha", lambda: metaimage(b"", ElementDataFile="LIST")), "file|data")
_reject(
    "mha_values_nan",
    F,
    _file("in.mha", lambda: metaimage(np.full(SHAPE, np.nan, "<f4").tobytes(), ElementType="MET_FLOAT")),
    "nan|finite",
)

# ------------------------------------------------------------------ pictures
F = "pictures"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int = 20, height: int = 16, rows: bytes | None = None) -> bytes:
    start = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    plain = b"".join(b"\0" + bytes(range(20)) for _ in range(16)) if rows is None else rows
    return b"\x89PNG\r\n\x1a\n" + start + _chunk(b"IDAT", zlib.compress(plain)) + _chunk(b"IEND", b"")


def tiff() -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.arange(320, dtype="u1").reshape(16, 20), metadata=None)
    return buffer.getvalue()


def tiff_loop() -> bytes:
    """The last link of the chain of directories points back to the first."""
    content = bytearray(tiff())
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    return bytes(content)


def _tiff_wide() -> bytes:
    content = bytearray(tiff())
    first = struct.unpack_from("<I", content, 4)[0]
    for entry in range(struct.unpack_from("<H", content, first)[0]):
        at = first + 2 + 12 * entry
        if struct.unpack_from("<H", content, at)[0] in (256, 257):  # ImageWidth, ImageLength
            struct.pack_into("<HIi", content, at + 2, 4, 1, 60000)
    return bytes(content)


add(Case("png_plain", F, "accept", _file("in.png", png), also_ok=("warn",)))
add(Case("tiff_plain", F, "accept", _file("in.tif", tiff), also_ok=("warn",)))
_reject("png_cut", F, _file("in.png", lambda: png()[:-30]), "decode|truncat|png|short")
_reject(
    "png_bad_crc",
    F,
    _file("in.png", lambda: png()[:-20] + bytes(4) + png()[-16:]),
    "decode|crc|checksum|broken|png",
)
_reject(
    "png_claims_gigapixels",
    F,
    _file("in.png", lambda: png(60000, 60000)),
    "pixels|claims|large|bomb|bytes|memory",
)
_reject(
    "png_bomb",
    F,
    _file("in.png", lambda: png(20, 16, bytes(64 << 20))),
    "decode|png|pixels|more|large|bytes",
)
_reject("tiff_cut", F, _file("in.tif", lambda: tiff()[:-100]), "decode|truncat|tiff|short|damaged|bytes")
_reject("tiff_loop_of_directories", F, _file("in.tif", tiff_loop), "tiff|loop|pages|damaged|decode")
_reject(
    "tiff_claims_gigapixels",
    F,
    _file("in.tif", _tiff_wide),
    "pixels|claims|large|bytes|memory|holds|decode|damaged",
)
