"""Weights in half the bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.errors import ModelError
from medseg.io.regular_file import printable

if TYPE_CHECKING:
    import torch

__all__ = ["Rounded", "halve"]

MOST_ERROR = 2**-11  # of a number from 6.1e-5 to 65504, IEEE 754 binary16; below that it is coarser


@dataclass(frozen=True)
class Rounded:
    """What rounding did to a file: its new SHA-256, how many tensors were rounded, and how far.

    `error` is the largest change of a tensor, as a share of the tensor: norms over all of its numbers.
    """

    sha256: str
    tensors: int
    error: float


def halve(path: Path) -> Rounded:
    """Store the numbers of a safetensors file in half precision, in its place.

    Whole numbers, and what has half precision or less already, stay. Raises ModelError, and leaves the file
    as it is, where a number is beyond what half precision can hold, 65504, or where a tensor's numbers are so
    small that it is changed by more than half precision changes others.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        metadata = file.metadata()
    errors: list[float] = []
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            continue
        half = tensor.to(torch.float16)
        where = f"{printable(path)}: tensor {name!r}"
        if not torch.equal(half.isfinite(), tensor.isfinite()):
            raise ModelError(
                f"{where} holds numbers beyond 65504, which half precision has not; leave out --half"
            )
        errors.append(_error(tensor, half))
        if errors[-1] > MOST_ERROR:
            raise ModelError(
                f"{where} would change by {errors[-1]:.2g} of its size, as half precision holds numbers "
                "below 6e-5 coarsely; leave out --half"
            )
        tensors[name] = half
    content = save(tensors, metadata)
    path.write_bytes(content)
    return Rounded(hashlib.sha256(content).hexdigest(), len(errors), max(errors, default=0.0))


def _error(tensor: torch.Tensor, half: torch.Tensor) -> float:
    """The change of a tensor's finite numbers as a share of them; 0 where they are all 0."""
    finite = tensor.isfinite()
    before, after = tensor[finite].double(), half[finite].double()
    size = float(before.norm())
    return float((after - before).norm()) / size if size else 0.0
