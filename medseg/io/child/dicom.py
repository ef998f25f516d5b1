"""Headers of DICOM files in the decoder process: a list of tags, frames, and how many pixels there are.

No value of a header that could name a patient is ever told. Those that do are asked for once, in `patient`,
for a digest that groups images.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from medseg.io.child.codecs import DEFLATED, is_decodable
from medseg.io.child.frames import FRAME_TAGS, frames_of
from medseg.io.child.patient import PATIENT_TAGS, patient_key
from medseg.io.child.pixel_data import UNDEFINED, Element, element_at, fragments_at
from medseg.io.child.read_ahead import read_ahead
from medseg.io.child.reply import RefusedError, Reply, shown
from medseg.io.content import by_content

__all__ = ["TAGS", "Layout", "dicom_headers", "guessed_syntax", "layout_of", "plain", "refuse_deflate_bomb"]

MOST_INFLATED = 256 << 20  # bytes; one slice has well under 10 MB, and deflate can grow a file a thousandfold
START = 1 << 16  # bytes; nearly every header of one image is shorter
# reading the starts of files waits for the disk or the network, not for the processor: so many files are read
# at once, each thread reading a few for each time that it takes the interpreter away from the parser
AHEAD, TOGETHER = 4, 8
MOST_BITS = 63
MOST_LAYOUTS = 10_000  # 1 kB each
LARGEST_CELL = 32  # bits
OVERLAY_TAGS = frozenset((group << 16) + 0x0102 for group in range(0x6000, 0x6020, 2))  # Overlay Bit Position

TAGS = """
    SOPClassUID SOPInstanceUID SeriesInstanceUID StudyInstanceUID FrameOfReferenceUID Modality
    SeriesDescription SeriesNumber InstanceNumber AcquisitionNumber TemporalPositionIdentifier EchoTime
    TriggerTime DiffusionBValue AcquisitionTime ContentTime ImageType Rows Columns NumberOfFrames
    SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation
    PixelSpacing ImagePositionPatient ImageOrientationPatient SliceThickness RescaleSlope RescaleIntercept
    RescaleType Units PixelPaddingValue PixelPaddingRangeLimit ModalityLUTSequence LossyImageCompression
""".split()  # noqa: SIM905  # one quoted name a line would fill the page
LAYOUT_TAGS = """
    TransferSyntaxUID Rows Columns NumberOfFrames SamplesPerPixel BitsAllocated BitsStored HighBit
    PixelRepresentation
""".split()  # noqa: SIM905


def _whole(number: str | int) -> int:
    """A whole number of at most 64 bits, which no arithmetic on it can choke on; ValueError for others."""
    value = int(number)
    if value.bit_length() > MOST_BITS:
        raise ValueError
    return value


CONVERTED: dict[str, Callable[[str], Any]] = {"CS": shown, "UI": shown, "DS": float, "IS": _whole}


def dicom_headers(request: dict[str, Any]) -> Iterator[Reply]:
    """One record for each file: the tags that geometry and values need, or why there are none."""
    _layouts.clear()
    salt = bytes.fromhex(request["salt"])
    files = request["files"]
    some = [files[n : n + TOGETHER] for n in range(0, len(files), TOGETHER)]
    # only reading goes on in threads: parsing holds the interpreter, and eight at once slow each other
    for paths, starts in zip(some, read_ahead(_starts, some, AHEAD), strict=True):
        for path, start in zip(paths, starts, strict=True):
            yield _record(path, start, salt), None


def _starts(paths: list[str]) -> list[bytes | OSError]:
    return [_start(path) for path in paths]


def _start(path: str) -> bytes | OSError:
    """The first bytes of a file, which the system then has at hand; or why there are none."""
    try:
        with Path(path).open("rb") as file:
            return file.read(START)
    except OSError as problem:
        return problem


def _record(path: str, start: bytes | OSError, salt: bytes) -> dict[str, Any]:
    if isinstance(start, OSError):
        return {"broken": f"cannot be read: {start.strerror}"}
    try:
        with Path(path).open("rb") as file:
            return _remembered(path, file, start, salt)
    except OSError as problem:
        return {"broken": f"cannot be read: {problem.strerror or 'its header is damaged'}"}
    except RefusedError as refusal:
        return {"broken": str(refusal)}
    except (ImportError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001  # a damaged file may raise anything; its words may hold values
        return {"broken": f"damaged DICOM header ({type(problem).__name__})"}


def _remembered(path: str, file: BinaryIO, start: bytes, salt: bytes) -> dict[str, Any]:
    """The record of a file; where its pixels are is kept for the request that will ask for them."""
    state = os.fstat(file.fileno())
    record, layout = _header(file, start, state.st_size, salt)
    if layout is not None and len(_layouts) < MOST_LAYOUTS:
        _layouts[path] = (_version(state), layout)
    return record


class Layout(NamedTuple):
    """What is needed to find a file's pixels and to read them."""

    values: dict[str, Any]
    """Plain values of LAYOUT_TAGS and the transfer syntax."""
    overlays: int
    """The bits of a pixel's cell that the header gives to overlays, as a mask."""
    element: Element | None
    """Where the pixel data is; None in a deflated file."""


_layouts: dict[str, tuple[tuple[int, ...], Layout]] = {}  # of the files that headers were asked of last


def layout_of(path: str, state: os.stat_result, data: bytes) -> Layout:
    """Where the pixels of a file are that has just been read: known from its header, or looked for again.

    Raises RefusedError where the header makes no sense, and whatever pydicom raises.
    """
    version, layout = _layouts.get(path, ((), None))
    if layout is not None and version == _version(state):
        return layout
    _, layout = _header(io.BytesIO(data), data[:START], len(data), b"")
    if layout is None:
        raise RefusedError("its pixel data is missing or cut off")
    return layout


def _version(state: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does."""
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _header(file: BinaryIO, start: bytes, size: int, salt: bytes) -> tuple[dict[str, Any], Layout | None]:
    """The record of a file of `size` bytes that starts like this, and where its pixels are, if it has any."""
    from pydicom import dcmread

    preamble = start[128:132] == b"DICM"
    if not preamble and by_content(start) != "DICOM":
        return {"dicom": False, "size": size}, None
    if DEFLATED.encode() in start:
        refuse_deflate_bomb(file)
        file.seek(0)
    dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=_wanted_tags())
    record = _values(dataset)
    meta = dataset.file_meta
    if not preamble and "SOPClassUID" not in record and "MediaStorageSOPClassUID" not in meta:
        return {"dicom": False, "size": size}, None
    record.update(dicom=True, preamble=preamble, repaired=[], patient=patient_key(dataset, salt))
    for keyword, stored in (
        ("SOPClassUID", "MediaStorageSOPClassUID"),
        ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
    ):
        if not record.get(keyword) and meta.get(stored):
            record[keyword] = str(meta.get(stored))
            record["repaired"].append(keyword)
    _describe_syntax(dataset, record)
    element = _describe_pixels(file, size, dataset, record)
    _describe_frames(dataset, record)
    if record["pixels"] is None:
        return record, None
    values = {keyword: record.get(keyword) for keyword in LAYOUT_TAGS}
    return record, Layout(values, _overlay_bits(dataset), element)


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
def _wanted_tags() -> list[Any]:
    """What pydicom is asked for, as its own tags: it would look up each keyword for each file."""
    from pydicom.tag import Tag

    return [*map(Tag, (*TAGS, *FRAME_TAGS)), *map(Tag, sorted(OVERLAY_TAGS)), *map(Tag, PATIENT_TAGS)]


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


def _overlay_bits(dataset: Any) -> int:
    mask = 0
    for tag in dataset.keys():  # noqa: SIM118  # a data set gives elements, and converts each
        place = dataset[tag].value if int(tag) in OVERLAY_TAGS else None
        if isinstance(place, int) and 0 < place < LARGEST_CELL:
            mask |= 1 << place
    return mask


def _describe_pixels(file: BinaryIO, size: int, dataset: Any, record: dict[str, Any]) -> Element | None:
    """Say what kind of pixel data follows the header, and how much of it the file really has."""
    if record["TransferSyntaxUID"] == DEFLATED:
        record["pixels"] = "deflated"
        return None
    implicit, little = dataset.original_encoding
    element = element_at(file, little=little is not False, implicit=bool(implicit))
    record["pixels"] = None if element is None else element.kind
    if element is None:
        return None
    if element.length == UNDEFINED:
        record["fragments"] = len(fragments_at(file, element.start, size))
    else:
        record["pixel_bytes"] = max(0, min(element.length, size - element.start))
    return element


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
