"""Headers of DICOM files in the decoder process: a list of tags, frames, and how many pixels there are.

No value of a header that could name a patient is ever asked for.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from medseg.io.child.codecs import DEFLATED, is_decodable
from medseg.io.child.frames import FRAME_TAGS, frames_of
from medseg.io.child.pixel_data import UNDEFINED, element_at, fragments_at
from medseg.io.child.read_ahead import read_ahead
from medseg.io.child.reply import RefusedError, Reply, shown
from medseg.io.content import by_content

__all__ = ["START", "TAGS", "dicom_headers", "guessed_syntax", "plain", "refuse_deflate_bomb"]

MOST_INFLATED = 256 << 20  # bytes; one slice has well under 10 MB, and deflate can grow a file a thousandfold
START = 1 << 16  # bytes; nearly every header of one image is shorter
# reading the starts of files waits for the disk or the network, not for the processor: so many files are read
# at once, each thread reading a few for each time that it takes the interpreter away from the parser
AHEAD, TOGETHER = 4, 8
MOST_BITS = 63

TAGS = """
    SOPClassUID SOPInstanceUID SeriesInstanceUID StudyInstanceUID FrameOfReferenceUID Modality
    SeriesDescription SeriesNumber InstanceNumber AcquisitionNumber TemporalPositionIdentifier EchoTime
    TriggerTime DiffusionBValue AcquisitionTime ContentTime ImageType Rows Columns NumberOfFrames
    SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation
    PixelSpacing ImagePositionPatient ImageOrientationPatient SliceThickness RescaleSlope RescaleIntercept
    RescaleType Units PixelPaddingValue PixelPaddingRangeLimit ModalityLUTSequence LossyImageCompression
""".split()  # noqa: SIM905  # one quoted name a line would fill the page


def _whole(number: str | int) -> int:
    """A whole number of at most 64 bits, which no arithmetic on it can choke on; ValueError for others."""
    value = int(number)
    if value.bit_length() > MOST_BITS:
        raise ValueError
    return value


CONVERTED: dict[str, Callable[[str], Any]] = {"CS": shown, "UI": shown, "DS": float, "IS": _whole}


def dicom_headers(request: dict[str, Any]) -> Iterator[Reply]:
    """One record for each file: the tags that geometry and values need, or why there are none."""
    files = request["files"]
    some = [files[n : n + TOGETHER] for n in range(0, len(files), TOGETHER)]
    # only reading goes on in threads: parsing holds the interpreter, and eight at once slow each other
    for paths, starts in zip(some, read_ahead(_starts, some, AHEAD), strict=True):
        for path, start in zip(paths, starts, strict=True):
            yield _record(path, start), None


def _starts(paths: list[str]) -> list[bytes | OSError]:
    return [_start(path) for path in paths]


def _start(path: str) -> bytes | OSError:
    """The first bytes of a file, which the system then has at hand; or why there are none."""
    try:
        with Path(path).open("rb") as file:
            return file.read(START)
    except OSError as problem:
        return problem


def _record(path: str, start: bytes | OSError) -> dict[str, Any]:
    if isinstance(start, OSError):
        return {"broken": f"cannot be read: {start.strerror}"}
    try:
        with Path(path).open("rb") as file:
            return _header(file, start)
    except OSError as problem:
        return {"broken": f"cannot be read: {problem.strerror or 'its header is damaged'}"}
    except RefusedError as refusal:
        return {"broken": str(refusal)}
    except (ImportError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001  # a damaged file may raise anything; its words may hold values
        return {"broken": f"damaged DICOM header ({type(problem).__name__})"}


def _header(file: BinaryIO, start: bytes) -> dict[str, Any]:
    from pydicom import dcmread

    size = os.fstat(file.fileno()).st_size
    preamble = start[128:132] == b"DICM"
    if not preamble and by_content(start) != "DICOM":
        return {"dicom": False, "size": size}
    if DEFLATED.encode() in start:
        refuse_deflate_bomb(file)
        file.seek(0)
    dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=[*TAGS, *FRAME_TAGS])
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
    _describe_pixels(file, size, dataset, record)
    _describe_frames(dataset, record)
    return record


def _values(dataset: Any) -> dict[str, Any]:
    """Plain values of the wanted tags; those that do not parse are named under "unreadable"."""
    values: dict[str, Any] = {"unreadable": []}
    known = _known_tags()
    for tag in dataset.keys():  # noqa: SIM118  # a data set gives elements, and converts each
        keyword, kind = known.get(int(tag), (None, None))
        if keyword is None:
            continue
        try:
            values[keyword] = _value(dataset, tag, kind)
        except Exception:  # noqa: BLE001  # one tag that does not parse; the parent decides whether it matters
            values["unreadable"].append(keyword)
    return values


@functools.cache
def _known_tags() -> dict[int, tuple[str, str]]:
    """The wanted tags by number, with the kind of value (VR) that the standard gives them."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    numbers = {keyword: tag_for_keyword(keyword) for keyword in TAGS}
    return {int(tag): (keyword, dictionary_VR(tag)) for keyword, tag in numbers.items() if tag is not None}


def _value(dataset: Any, tag: Any, kind: str | None) -> Any:
    """One plain value; usual ones from their bytes, which takes a fifth of pydicom's time."""
    element = dataset.get_item(tag)
    stored = element.value
    if kind == "SQ":
        return True
    if isinstance(stored, bytes) and stored and (element.VR or kind) == kind:
        with contextlib.suppress(ValueError):
            if kind in CONVERTED:
                parts = [part.strip(" \0") for part in stored.decode("ascii").split("\\")]
                made = [CONVERTED[kind](part) for part in parts[:16]]
                return made[0] if len(parts) == 1 else made
            if kind == "US" and len(stored) == 2:
                return int.from_bytes(stored, "little" if element.is_little_endian else "big")
    return plain(dataset[tag].value)


def plain(value: Any) -> Any:
    """A tag's value as JSON knows it: numbers, text cut to a line's length, lists cut to 16; else None."""
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, str):
        return shown(str(value))
    if isinstance(value, int):
        return _whole(value)
    if hasattr(value, "__float__"):
        return float(value)
    return [plain(item) for item in list(value)[:16]]


def _describe_syntax(dataset: Any, record: dict[str, Any]) -> None:
    from pydicom.uid import UID

    uid = UID(str(dataset.file_meta.get("TransferSyntaxUID", "") or guessed_syntax(dataset)))
    record["TransferSyntaxUID"] = str(uid)
    record["transfer_syntax"] = shown(uid.name)
    record["class_name"] = shown(UID(record.get("SOPClassUID") or "").name)
    record["decodable"] = is_decodable(uid)


def guessed_syntax(dataset: Any) -> str:
    """The syntax that pydicom found by looking, for a file without file meta information."""
    implicit, little = dataset.original_encoding
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little is not False else "1.2.840.10008.1.2.2"


def _describe_pixels(file: BinaryIO, size: int, dataset: Any, record: dict[str, Any]) -> None:
    """Say what kind of pixel data follows the header, and how much of it the file really has."""
    if record["TransferSyntaxUID"] == DEFLATED:
        record["pixels"] = "deflated"
        return
    implicit, little = dataset.original_encoding
    element = element_at(file, little=little is not False, implicit=bool(implicit))
    record["pixels"] = None if element is None else element.kind
    if element is None:
        return
    if element.length == UNDEFINED:
        record["fragments"] = len(fragments_at(file, element.start, size))
    else:
        record["pixel_bytes"] = max(0, min(element.length, size - element.start))


def _describe_frames(dataset: Any, record: dict[str, Any]) -> None:
    """Add "frames", one dict of what differs for each frame, where the file describes its frames."""
    described = frames_of(dataset, record.get("NumberOfFrames") or 1, plain)
    if described is not None:
        shared, record["frames"] = described
        record.update(shared)


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
