"""The same field by pydensecrf2: the authors' own code, with a permutohedral lattice; an optional package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNEL_BYTES", "VOXEL_BYTES", "settled"]

# of both lattices with the features that they copy, and of copies of each channel; more for narrow kernels
VOXEL_BYTES, CHANNEL_BYTES = 240, 32
SURE = 1e-9  # a probability is never taken to be more certain

Floats = NDArray[np.float32]


Kernels = Callable[[], Iterable[tuple[float, Floats]]]


def settled(unary: Floats, kernels: Kernels, *, iterations: int, exclusive: bool) -> Floats:
    """Logits `[C, i, j, k]` after so many updates; `kernels()` are weights and features `[feature, voxel]`.

    Features are in units of their SD; they are made one by one, as the package keeps copies of them. As it
    has it, a voxel hears itself too.
    """
    if exclusive:
        logits: Floats = np.log(_shares(unary, kernels, iterations).clip(SURE))
        return logits
    found = np.empty_like(unary)
    for channel, own in enumerate(unary):
        no, yes = np.log(_shares(np.stack([0 * own, own]), kernels, iterations).clip(SURE))
        found[channel] = yes - no
    return found


def _shares(unary: Floats, kernels: Kernels, iterations: int) -> Floats:
    from pydensecrf import densecrf

    field: Any = densecrf.DenseCRF(unary[0].size, len(unary))
    field.setUnaryEnergy(np.ascontiguousarray(-unary.reshape(len(unary), -1)))
    for _ in map(partial(_add, field), kernels()):  # features are free again behind each
        pass
    return np.asarray(field.inference(iterations), np.float32).reshape(unary.shape)


def _add(field: Any, kernel: tuple[float, Floats]) -> None:
    from pydensecrf import densecrf

    weight, features = kernel
    field.addPairwiseEnergy(
        np.ascontiguousarray(features),
        compat=float(weight),
        kernel=densecrf.DIAG_KERNEL,
        normalization=densecrf.NORMALIZE_SYMMETRIC,
    )
