"""DICOM files in the decoder process: headers by a list of tags, stored pixel values.

No value of a header that could name a patient is ever asked for.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from medseg.io.child.reply import MOST_TEXT, RefusedError, Reply, one_line

__all__ = ["dicom_headers", "dicom_pixels", "refuse_deflate_bomb"]

DEFLATED = "1.2.840.10008.1.2.1.99"
MOST_INFLATED = 256 << 20  # bytes; one slice has well under 10 MB, and deflate can grow a file a thousandfold
THREADS = 8  # reading headers waits for the disk or the network, not for the processor

TAGS = """
    SOPClassUID SOPInstanceUID SeriesInstanceUID StudyInstanceUID FrameOfReferenceUID Modality
    SeriesDescription SeriesNumber InstanceNumber AcquisitionNumber TemporalPositionIdentifier EchoTime
    TriggerTime ImageType Rows Columns NumberOfFrames SamplesPerPixel PhotometricInterpretation
    BitsAllocated BitsStored HighBit PixelRepresentation PixelSpacing ImagePositionPatient
    ImageOrientationPatient SliceThickness RescaleSlope RescaleIntercept RescaleType Units
    PixelPaddingValue PixelPaddingRangeLimit ModalityLUTSequence
""".split()  # noqa: SIM905  # one quoted name a line would fill the page
PIXEL_DATA = {(0x7FE0, 0x0010): "integer", (0x7FE0, 0x0008): "float", (0x7FE0, 0x0009): "float"}


# ------------------------------------------------------------------ DICOM headers
def dicom_headers(request: dict[str, Any]) -> Iterator[Reply]:
    """One record for each file: the tags that geometry and values need, or why there are none."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(THREADS) as pool:
        for record in pool.map(_record, request["files"]):
            yield record, None


def _record(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            return _header(file)
    except OSError as problem:
        return {"broken": f"cannot be read: {problem.strerror}"}
    except RefusedError as refusal:
        return {"broken": str(refusal)}
    except ImportError:
        raise
    except Exception as problem:  # noqa: BLE001  # a damaged file may raise anything; its words may hold values
        return {"broken": f"damaged DICOM header ({type(problem).__name__})"}


def _header(file: BinaryIO) -> dict[str, Any]:
    from pydicom import dcmread

    size = os.fstat(file.fileno()).st_size
    start = file.read(132)
    preamble = start[128:] == b"DICM"
    # without a preamble, a data set starts with group 2 (file meta) or 8 (identification), little endian
    if not preamble and not (start[1:2] == b"\0" and start[:1] in (b"\2", b"\x08") and start[3:4] == b"\0"):
        return {"dicom": False, "size": size}
    refuse_deflate_bomb(file)
    file.seek(0)
    dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(TAGS))
    record = _values(dataset)
    meta = dataset.file_meta
    if not preamble and "SOPClassUID" not in record and "MediaStorageSOPClassUID" not in meta:
        return {"dicom": False, "size": size}
    record.update(dicom=True, preamble=preamble, repaired=[])
    for keyword, stored in (
        ("SOPClassUID", "MediaStorageSOPClassUID"),
        ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
    ):
        if not record.get(keyword) and meta.get(stored):
            record[keyword] = str(meta.get(stored))
            record["repaired"].append(keyword)
    _describe_syntax(dataset, record)
    little = bool(dataset.original_encoding[1] is not False)
    _describe_pixels(file, size, record, little=little, implicit=bool(dataset.original_encoding[0]))
    return record


def _values(dataset: Any) -> dict[str, Any]:
    """Plain values of the wanted tags; those that do not parse are named under "unreadable"."""
    values: dict[str, Any] = {"unreadable": []}
    for keyword in TAGS:
        if keyword not in dataset:
            continue
        try:
            value = getattr(dataset, keyword)
            values[keyword] = True if keyword == "ModalityLUTSequence" else _plain(value)
        except Exception:  # noqa: BLE001  # one tag that does not parse; the parent decides whether it matters
            values["unreadable"].append(keyword)
    return values


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, str):
        return str(value)[:MOST_TEXT]
    if isinstance(value, int):
        return int(value)
    if hasattr(value, "__float__"):
        return float(value)
    return [_plain(item) for item in list(value)[:16]]


def _describe_syntax(dataset: Any, record: dict[str, Any]) -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    uid = UID(str(dataset.file_meta.get("TransferSyntaxUID", "") or _guessed_syntax(dataset)))
    record["TransferSyntaxUID"] = str(uid)
    record["transfer_syntax"] = uid.name[:MOST_TEXT]
    record["class_name"] = UID(record.get("SOPClassUID") or "").name[:MOST_TEXT]
    try:
        record["decodable"] = bool(get_decoder(uid).is_available)
    except (NotImplementedError, ValueError):
        record["decodable"] = False


def _guessed_syntax(dataset: Any) -> str:
    """The syntax that pydicom found by looking, for a file without file meta information."""
    implicit, little = dataset.original_encoding
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little is not False else "1.2.840.10008.1.2.2"


def _describe_pixels(
    file: BinaryIO, size: int, record: dict[str, Any], *, little: bool, implicit: bool
) -> None:
    """Say what kind of pixel data follows the header, and how many bytes of it the file really has."""
    if record["TransferSyntaxUID"] == DEFLATED:
        record["pixels"] = "deflated"
        return
    here = file.tell()
    order = "<" if little else ">"
    element = file.read(12)
    if len(element) < 12:
        record["pixels"] = None
        return
    record["pixels"] = PIXEL_DATA.get(struct.unpack(order + "HH", element[:4]))
    length = struct.unpack(order + "I", element[4:8] if implicit else element[8:12])[0]
    if length != 0xFFFFFFFF:
        record["pixel_bytes"] = max(0, min(length, size - here - (8 if implicit else 12)))


def refuse_deflate_bomb(file: BinaryIO) -> None:
    """Inflate a deflated data set in pieces, keeping none, to see that it stays within reason."""
    import zlib

    from pydicom.filereader import _read_file_meta_info as read_meta
    from pydicom.filereader import read_preamble

    file.seek(0)
    read_preamble(file, force=True)
    if str(read_meta(file).get("TransferSyntaxUID", "")) != DEFLATED:
        return
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while (piece := inflater.unconsumed_tail or file.read(1 << 20)) and inflated <= MOST_INFLATED:
        inflated += len(inflater.decompress(piece, 1 << 22))
    if inflated > MOST_INFLATED:
        raise RefusedError(f"its deflated data set grows beyond {MOST_INFLATED >> 20} MiB")


# ------------------------------------------------------------------ DICOM pixels
def dicom_pixels(request: dict[str, Any]) -> Iterator[Reply]:
    """Stored values `[rows, columns]` of each file, before any rescale, and the file's sha256."""
    import hashlib
    import io

    for path in request["files"]:
        data = Path(path).read_bytes()
        yield {"sha256": hashlib.sha256(data).hexdigest()}, _stored_values(io.BytesIO(data))


def _stored_values(file: BinaryIO) -> NDArray[Any]:
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import UID

    refuse_deflate_bomb(file)
    file.seek(0)
    dataset = dcmread(file, force=True)
    if "PixelData" not in dataset:
        raise RefusedError("its pixel data is missing or cut off")
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(_guessed_syntax(dataset))
    try:
        values: NDArray[Any] = pixel_array(dataset, raw=True)
    except MemoryError:
        raise
    except Exception as problem:
        raise RefusedError(f"its pixel data cannot be decoded: {one_line(problem)}") from problem
    stored, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        raise RefusedError(f"its pixel data holds values beyond the {stored} bits its header claims")
    return values
