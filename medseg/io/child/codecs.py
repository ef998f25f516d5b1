"""Compressed DICOM frames to stored values, each syntax by the decoder that refuses damage best.

All of them decode lossless streams bit for bit alike. GDCM fills what is missing with grey and says
nothing, so it comes last, and what goes into it is looked at first.
"""

from __future__ import annotations

import functools
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.reply import RefusedError, one_line

__all__ = [
    "BIG_ENDIAN",
    "DEFLATED",
    "RLE",
    "Stored",
    "decoded_frame",
    "ends_stream",
    "is_decodable",
    "is_native",
]

DEFLATED, BIG_ENDIAN, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED)
JPEG_8, JPEG_12 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
# the names pydicom has for its decoders, in the order of trial
DECODERS: dict[str, tuple[str, ...]] = {
    JPEG_8: ("pillow",),
    JPEG_12: ("pillow", "gdcm"),  # of 8 bits, else of 12
    JPEG_LOSSLESS[0]: ("gdcm",),
    JPEG_LOSSLESS[1]: ("gdcm",),
    "1.2.840.10008.1.2.4.80": ("pyjpegls",),
    "1.2.840.10008.1.2.4.81": ("pyjpegls",),
    "1.2.840.10008.1.2.4.90": ("pylibjpeg",),  # JPEG 2000
    "1.2.840.10008.1.2.4.91": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),  # HTJ2K
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),
    RLE: ("pylibjpeg", "pydicom"),
}
END = b"\xff\xd9"
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Stored(NamedTuple):
    """How the header says that one frame is stored."""

    rows: int
    columns: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of one value, little endian."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.allocated // 8}")


def is_native(syntax: str) -> bool:
    """Whether values stand in the file as they are."""
    return syntax in NATIVE


@functools.cache
def is_decodable(syntax: str) -> bool:
    """Whether this installation has a decoder for the transfer syntax."""
    return is_native(syntax) or bool(_available(syntax))


@functools.cache
def _available(syntax: str) -> list[str]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    wanted = DECODERS.get(syntax, ())
    if not wanted:
        return []
    there = get_decoder(UID(syntax)).available_plugins
    return [name for name in wanted if name in there]


def decoded_frame(stream: bytes, syntax: str, stored: Stored) -> NDArray[Any]:
    """Stored values `[rows, columns]` of one compressed frame; raises RefusedError where it is damaged."""
    by = _available(syntax)
    if syntax in JPEG_LOSSLESS or (syntax == JPEG_12 and stored.stored > 8):
        return _by_gdcm(stream, syntax, stored)
    try:
        return _by_pydicom(stream, syntax, stored, by[0])
    except (MemoryError, ImportError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as problem:  # a decoder in Rust panics with what is no Exception
        last = (str(problem).strip().splitlines() or [type(problem).__name__])[-1]  # what the decoder said
        raise RefusedError(f"its pixel data cannot be decoded: {one_line(ValueError(last))}") from problem


def _by_pydicom(stream: bytes, syntax: str, stored: Stored, plugin: str) -> NDArray[Any]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    layout: dict[str, Any] = {
        "correct_unused_bits": False,  # what lies there is looked at by the caller
        "transfer_syntax_uid": UID(syntax),
        "rows": stored.rows,
        "columns": stored.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": stored.allocated,
        "bits_stored": stored.stored,
        "pixel_representation": int(stored.signed),
        "pixel_keyword": "PixelData",
    }
    source = encapsulate([stream], has_bot=False)
    values, _ = get_decoder(UID(syntax)).as_array(source, raw=True, index=0, decoding_plugin=plugin, **layout)
    return values


def _by_gdcm(stream: bytes, syntax: str, stored: Stored) -> NDArray[Any]:
    import gdcm  # type: ignore[import-untyped]  # generated, without types

    _refuse_other_jpeg(stream, stored)
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stored.columns, stored.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(
        gdcm.PixelFormat(1, stored.allocated, stored.stored, stored.stored - 1, int(stored.signed))
    )
    text = image.GetBuffer()  # bytes, which come as text
    values = np.frombuffer(("" if text is None else text).encode("utf-8", "surrogateescape"), stored.dtype)
    if values.size != stored.rows * stored.columns:
        raise RefusedError("its pixel data cannot be decoded: the JPEG stream is damaged")
    return values.reshape(stored.rows, stored.columns)


def ends_stream(end: bytes) -> bool:
    """Whether these last bytes end a JPEG, JPEG-LS or JPEG 2000 stream; one byte may pad them."""
    return END in (end[-2:], end[-3:-1])


def _refuse_other_jpeg(stream: bytes, stored: Stored) -> None:
    """Raise where a JPEG stream is cut off or is not what the header says: GDCM would fill up or overrun."""
    if not ends_stream(stream[-3:]):
        raise RefusedError("its pixel data is cut off: the JPEG stream has no end")
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], struct.unpack(">H", stream[at + 2 : at + 4])[0]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in START_OF_FRAME and at + 10 <= len(stream):
            bits, rows, columns, parts = struct.unpack(">BHHB", stream[at + 4 : at + 10])
            if (rows, columns, parts) != (stored.rows, stored.columns, 1) or bits > stored.allocated:
                raise RefusedError(
                    f"its JPEG stream holds {rows} x {columns} pixels of {parts} x {bits} bits, "
                    f"its header says {stored.rows} x {stored.columns} of {stored.allocated}"
                )
            return
        at += 2 + length
    raise RefusedError("its pixel data cannot be decoded: the JPEG stream is damaged")
