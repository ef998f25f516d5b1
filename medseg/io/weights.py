"""Weights somebody else made: a safetensors file held against its format and checksum before it is loaded.

The file starts with the header's length (8 bytes, little endian) and the header, which is JSON: tensor names
with dtype, shape and place in the bytes that follow. Source: the format's description,
https://huggingface.co/docs/safetensors. Nothing in such a file is code; what a damaged or hostile one could
do is claim memory and point outside itself, which is refused here with the standard library alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from medseg.errors import InputError, ModelError
from medseg.io.regular_file import HashedFile, open_regular, printable

__all__ = ["check_weights", "read_header", "weights_file"]

MAX_HEADER_BYTES = 1_000_000  # the format itself allows 100 MB
MAX_TENSORS = 10_000
MAX_AXES = 16
LENGTH_BYTES = 8
METADATA = "__metadata__"
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
}
SHA256 = re.compile(r"[0-9a-f]{64}")
LOOKALIKES = (  # first bytes of what is renamed to .safetensors most often
    (re.compile(rb"PK\x03\x04"), "a zip archive, as torch.save writes,"),
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle"),
    (re.compile(rb"\x89HDF"), "an HDF5 file"),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
)


def weights_file(folder: Path, name: str) -> Path:
    """The file in a model's folder that its pipeline calls `name`; raises ModelError where it leads outside.

    `name` is relative, with forward slashes and without `..`; links are followed and must end in the folder.
    """
    plain = PurePosixPath(name)
    odd = not name.isprintable() or "\\" in name or plain.as_posix() != name
    if odd or not plain.name or plain.is_absolute() or ".." in plain.parts:
        raise ModelError(
            f"{printable(folder)}: {name[:200]!r} "
            "is no path inside the model's folder; write one relative to it"
        )
    if plain.suffix != ".safetensors":
        raise ModelError(
            f"{printable(folder)}: {name[:200]!r} is not named *.safetensors; weights are only that"
        )
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as problem:  # a loop of links, or a name too long
        raise ModelError(f"{printable(folder)}: {name[:200]!r} cannot be followed to a file") from problem
    if not inside:
        raise ModelError(
            f"{printable(folder)}: {name[:200]!r} "
            "is a link that leads out of the model's folder; copy the file there"
        )
    return path


def check_weights(path: Path, sha256: str) -> None:
    """Hold a safetensors file against its format and checksum; raises ModelError with what is wrong.

    Reads the file once, a piece at a time, and keeps nothing of it.
    """
    if not SHA256.fullmatch(sha256):
        raise ModelError(f"{printable(path)}: sha256 {sha256[:80]!r} is not 64 digits 0-9 and a-f")
    with _opened(path) as file:
        _header(file, path)
        found = file.sha256()
    if found != sha256:
        raise ModelError(
            f"{printable(path)}: the file was altered or is another one: "
            f"its sha256 is {found}, not {sha256}; fetch the model again"
        )


def read_header(path: Path) -> dict[str, Any]:
    """The checked header of a safetensors file: each tensor's dtype, shape and data_offsets; `__metadata__`.

    Raises ModelError where the file is not as the format says.
    """
    with _opened(path) as file:
        return _header(file, path)


@contextmanager
def _opened(path: Path) -> Iterator[HashedFile]:
    try:
        with open_regular(path) as file:
            yield file
    except InputError as problem:
        absent = isinstance(problem.__cause__, FileNotFoundError)
        reason = "is not there" if absent else "is not a file that can be read"
        raise ModelError(f"{printable(path)}: this weights file {reason}; fetch the model again") from problem
    except OSError as problem:
        raise ModelError(f"{printable(path)}: cannot be read: {problem.strerror}") from problem


def _header(file: HashedFile, path: Path) -> dict[str, Any]:
    """Read and check the header of a file that was just opened."""
    start = file.read(LENGTH_BYTES) or b""
    try:
        length = _length(start, file.size)
        header = _parsed(file.read(length) or b"")
        tensors = {name: tensor for name, tensor in header.items() if name != METADATA}
        _check_tensors(tensors, file.size - LENGTH_BYTES - length)
    except ValueError as problem:
        alike = next((what for pattern, what in LOOKALIKES if pattern.match(start)), None)
        if alike:
            raise ModelError(
                f"{printable(path)}: is {alike} under another name; weights are read from safetensors only"
            ) from problem
        raise ModelError(f"{printable(path)}: is not a sound safetensors file: {problem}") from problem
    return header


def _length(start: bytes, size: int) -> int:
    """Bytes of the header in a file of `size` bytes; raises ValueError."""
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"it claims a header of {length} bytes, and {MAX_HEADER_BYTES} are allowed")
    if len(start) < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise ValueError(f"it is cut short: {size} bytes end before its header does")
    return length


def _parsed(text: bytes) -> dict[str, Any]:
    """The header as plain data; raises ValueError."""
    if not text.startswith(b"{"):
        raise ValueError("its header is not a JSON object")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise ValueError("its header is not valid JSON") from problem
    assert isinstance(header, dict)  # it starts with a brace
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{METADATA} is not a table of texts")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names something twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"its header holds {name}")


def _check_tensors(tensors: dict[str, Any], room: int) -> None:
    """Refuse tensors that do not fill the `room` bytes after the header exactly; raises ValueError."""
    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"it has {len(tensors)} tensors, more than the {MAX_TENSORS} allowed")
    places = sorted((*_place(name, tensor), name) for name, tensor in tensors.items())
    reached = 0
    for start, end, name in places:
        if end > room:
            raise ValueError(f"tensor {name[:80]!r} ends at byte {end} of {room}: the file is cut short")
        if start < reached:
            raise ValueError(f"tensor {name[:80]!r} overlaps the one before it")
        if start > reached:
            raise ValueError(f"{start - reached} bytes before tensor {name[:80]!r} belong to none")
        reached = end
    if reached != room:
        raise ValueError(f"{room - reached} bytes at its end belong to no tensor")


def _place(name: str, tensor: Any) -> tuple[int, int]:
    """First byte of a tensor and the one after its last; raises ValueError where dtype and shape disagree."""
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name[:80]!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"tensor {name[:80]!r} has the unknown dtype {str(dtype)[:20]!r}")
    if not _whole_numbers(shape) or len(shape) > MAX_AXES:
        raise ValueError(f"the shape of tensor {name[:80]!r} is not a list of whole numbers")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"the data_offsets of tensor {name[:80]!r} are not a start and an end")
    start, end = offsets
    if end - start != math.prod(shape) * BITS[dtype] // 8:
        raise ValueError(
            f"tensor {name[:80]!r} has {end - start} bytes, which its shape and dtype do not make"
        )
    return start, end


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)
