"""A network's tensors from a safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.errors import ModelError
from medseg.io.regular_file import printable

if TYPE_CHECKING:
    import torch

__all__ = ["load_weights"]


def load_weights(module: torch.nn.Module, path: Path, sha256: str) -> None:
    """Fill a module with the tensors of a safetensors file, stored in single or half precision.

    The bytes that are loaded are those whose checksum is right, even if the file changes meanwhile. Raises
    ModelError with the first tensor that is missing, unexpected or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(
                f"{printable(path)}: the file was altered since the pipeline was read; run again"
            )
        stored = load(content)
    except OSError as problem:
        raise ModelError(f"{printable(path)}: cannot be read: {problem.strerror}") from problem
    except SafetensorError as problem:
        raise ModelError(f"{printable(path)}: is not a sound safetensors file: {problem}") from problem
    fault = _misfit(stored, module.state_dict())
    if fault is not None:
        raise ModelError(f"{printable(path)}: {fault}; is it of another architecture?")
    module.load_state_dict(stored, strict=False)  # _misfit is the stricter one, and knows shared tensors


def _misfit(stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str | None:
    """The first tensor by which a file and a network differ, in words; None where they fit.

    A tensor that a network has under several names, as MONAI's DynUNet does, need be stored under one only.
    """
    filled = {tensor.data_ptr() for name, tensor in wanted.items() if name in stored}
    for name, tensor in wanted.items():
        found = stored.get(name)
        if found is None:
            if tensor.numel() and tensor.data_ptr() in filled:
                continue
            return f"has no tensor {name!r}, which the network needs"
        if found.shape != tensor.shape:
            return f"tensor {name!r} is {list(found.shape)}, and the network's is {list(tensor.shape)}"
        if found.is_floating_point() != tensor.is_floating_point():
            return f"tensor {name!r} is {found.dtype}, and the network's is {tensor.dtype}"
    extra = next((name for name in stored if name not in wanted), None)
    return None if extra is None else f"has a tensor {extra!r} that the network has no place for"
