"""Safetensors files byte by byte, sound and unsound: what no library would write."""

import json
from typing import Any

__all__ = ["safetensors", "tensor"]


def tensor(start: int, end: int, *, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, Any]:
    """The description of a tensor; by default one of bytes in a row."""
    return {
        "dtype": dtype,
        "shape": [end - start] if shape is None else shape,
        "data_offsets": [start, end],
    }


def safetensors(header: dict[str, Any] | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with this header and data; `length` is what it claims its header to have."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data
