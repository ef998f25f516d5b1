"""Strides as a pipeline file says them: one number for all axes, or one per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

__all__ = ["Stride", "divisor", "per_axis"]

Step = Annotated[int, Field(ge=1, le=4)]
Stride = Step | Annotated[tuple[Step, ...], Field(min_length=2, max_length=3)]


def per_axis(strides: Sequence[Stride], dims: int) -> list[tuple[int, ...]]:
    """Each stride as one number per axis; raises ValueError where their number is not `dims`."""
    full = [stride if isinstance(stride, tuple) else (stride,) * dims for stride in strides]
    for stride in full:
        if len(stride) != dims:
            raise ValueError(
                f"stride {list(stride)} has {len(stride)} numbers, and the network has {dims} axes"
            )
    return full


def divisor(strides: Sequence[Stride], dims: int) -> tuple[int, ...]:
    """The product of all strides, per axis."""
    return tuple(int(n) for n in np.prod(np.array(per_axis(strides, dims), int).reshape(-1, dims), axis=0))
