"""What runs in the decoder process: read a request, decode files, write replies; end with the parent.

It is started as a script and imports nothing of medseg, so that it is up in a fraction of a second and holds
neither torch nor results. A message is a 4-byte big-endian length and that much JSON; the bytes of an array
follow its reply, in C order. `Decoder` in decoder.py is the other end.

No value of a header that could name a patient is ever asked for: DICOM files are read with a list of tags.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["main"]

Reply = tuple[dict[str, Any], "NDArray[Any] | None"]

DEFLATED = "1.2.840.10008.1.2.1.99"
MOST_INFLATED = 256 << 20  # bytes; one slice has well under 10 MB, and deflate can grow a file a thousandfold
MOST_TEXT = 200
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


class RefusedError(Exception):
    """What is wrong with a file, in words that may be shown."""


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
    _refuse_deflate_bomb(file)
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


def _refuse_deflate_bomb(file: BinaryIO) -> None:
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

    _refuse_deflate_bomb(file)
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
        raise RefusedError(f"its pixel data cannot be decoded: {_one_line(problem)}") from problem
    stored, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        raise RefusedError(f"its pixel data holds values beyond the {stored} bits its header claims")
    return values


# ------------------------------------------------------------------ NRRD, MetaImage, pictures
def itk(request: dict[str, Any]) -> Iterator[Reply]:
    """Voxels `[k, j, i]` or `[k, j, i, channel]` with LPS geometry, by the image reader that is named."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(request["image_io"])
    reader.SetFileName(request["files"][0])
    try:
        image = reader.Execute()
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[-1]
        raise RefusedError(f"cannot be decoded: {reason[:MOST_TEXT]}") from problem
    geometry = {
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
        "channels": image.GetNumberOfComponentsPerPixel(),
    }
    yield geometry, sitk.GetArrayViewFromImage(image)


def png(request: dict[str, Any]) -> Iterator[Reply]:
    """A picture `[row, column]` or `[row, column, channel]`; palettes become colours, one bit 0 and 1."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = int(request["most_pixels"])
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        with Image.open(request["files"][0], formats=["PNG"]) as picture:
            picture.load()
            palette = "RGBA" if "transparency" in picture.info else "RGB"
            plain = picture.convert(palette) if picture.mode == "P" else picture
            mode, values = plain.mode, np.asarray(plain)
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as problem:
        raise RefusedError(f"cannot be decoded: {_one_line(problem)}") from problem
    if mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16"):
        raise RefusedError(f"pictures of kind {mode} are not read")
    yield {}, values


def tiff_header(request: dict[str, Any]) -> Iterator[Reply]:
    """What a TIFF file holds: pages, shape, type, colour model, compression, orientation."""
    import tifffile

    try:
        with tifffile.TiffFile(request["files"][0]) as file:
            # a reduced page is a thumbnail of the one before it
            full = [number for number, page in enumerate(file.pages) if not page.aspage().is_reduced]
            page = file.pages[full[0] if full else 0].aspage()
            orientation = page.tags.get("Orientation")
            yield (
                {
                    "pages": len(full),
                    "page": full[0] if full else 0,
                    "size": list(page.shape),
                    "axes": page.axes,
                    "kind": "" if page.dtype is None else page.dtype.str,
                    "bits": page.bitspersample,
                    "colours": tifffile.PHOTOMETRIC(page.photometric).name,
                    "compression": tifffile.COMPRESSION(page.compression).name,
                    "orientation": 1 if orientation is None else int(orientation.value),
                    "byte_counts": [int(sum(page.databytecounts)), int(page.nbytes)],
                    "last_byte": max(
                        map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)), default=0
                    ),
                },
                None,
            )
    except tifffile.TiffFileError as problem:
        raise RefusedError(f"damaged TIFF: {_one_line(problem)}") from problem


def tiff(request: dict[str, Any]) -> Iterator[Reply]:
    """One page of a TIFF file, `[row, column]` or `[row, column, channel]`, uncompressed or deflated."""
    import tifffile

    try:
        yield {}, tifffile.imread(request["files"][0], key=int(request["page"]))
    except (tifffile.TiffFileError, ValueError) as problem:
        raise RefusedError(f"cannot be decoded: {_one_line(problem)}") from problem


def status(_request: dict[str, Any]) -> Iterator[Reply]:
    """What this process has loaded and how much it may use: for `medseg doctor` and tests."""
    yield {"modules": sorted(sys.modules), "memory": resource.getrlimit(resource.RLIMIT_AS)[0]}, None


TASKS: dict[str, Callable[[dict[str, Any]], Iterator[Reply]]] = {
    "dicom-headers": dicom_headers,
    "dicom-pixels": dicom_pixels,
    "itk": itk,
    "png": png,
    "tiff-header": tiff_header,
    "tiff": tiff,
    "status": status,
}


# ------------------------------------------------------------------ the loop
def _one_line(problem: BaseException) -> str:
    """The first line of a library's words, without control characters."""
    text = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
    return "".join(letter for letter in text if letter.isprintable())[:MOST_TEXT]


def _limit(what: int, value: int) -> None:
    """Lower or raise a soft limit, as far as the hard one allows."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _send(replies: BinaryIO, fields: dict[str, Any], array: NDArray[Any] | None = None) -> None:
    if array is not None:
        kind = np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
        array = np.ascontiguousarray(array, kind)
        fields = {**fields, "dtype": array.dtype.str, "shape": array.shape}
    message = json.dumps(fields).encode()
    replies.write(struct.pack(">I", len(message)) + message)
    if array is not None and array.size:
        replies.write(array.reshape(-1).view(np.uint8).data)
    replies.flush()


def _answer(request: dict[str, Any], replies: BinaryIO) -> None:
    try:
        _limit(resource.RLIMIT_AS, int(request["memory"]))
        for fields, array in TASKS[request["do"]](request):
            _send(replies, fields, array)
        _send(replies, {"done": True})
    except RefusedError as refusal:
        _send(replies, {"error": str(refusal)})
    except MemoryError:
        _send(
            replies, {"error": f"decoding it needs more than {request['memory'] / 2**30:.2g} GiB of memory"}
        )
    except ImportError as problem:
        _send(replies, {"error": f"this installation cannot decode it: {problem.name} is missing or broken"})
    except BrokenPipeError:
        raise SystemExit(0) from None  # the parent is gone
    except OSError as problem:
        _send(replies, {"error": f"cannot be read: {problem.strerror or type(problem).__name__}"})
    except Exception as problem:  # noqa: BLE001  # the border: whatever a codec raises is the file's fault
        _send(replies, {"error": f"cannot be decoded ({type(problem).__name__})"})


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    # codecs may print: keep the pipe for replies and send everything else to stderr
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    _limit(resource.RLIMIT_CORE, 0)
    warnings.simplefilter("ignore")
    while len(start := requests.read(4)) == 4:
        _answer(json.loads(requests.read(struct.unpack(">I", start)[0])), replies)


if __name__ == "__main__":
    main()
