"""Weights in half the bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medseg.errors import ModelError
from medseg.io.regular_file import printable

__all__ = ["halve"]


def halve(path: Path) -> str:
    """Store the numbers of a safetensors file in half precision, in its place; gives the new SHA-256.

    Whole numbers, and what has half precision or less already, stay. Raises ModelError, and leaves the file
    as it is, where a number is beyond what half precision can hold, 65504.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        metadata = file.metadata()
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            continue
        half = tensor.to(torch.float16)
        if not torch.equal(half.isfinite(), tensor.isfinite()):
            raise ModelError(
                f"{printable(path)}: tensor {name!r} holds numbers beyond 65504, which half precision has "
                "not; leave out --half"
            )
        tensors[name] = half
    content = save(tensors, metadata)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
