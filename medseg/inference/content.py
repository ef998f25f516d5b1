"""Where a volume holds anything at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.volume import Volume

__all__ = ["content_of"]


def content_of(volume: Volume) -> NDArray[np.bool_]:
    """The voxels `[i, j, k]` in which any channel is above its smallest value in the volume.

    The others are what surrounds the body: air after `ct-window`, what `pad` adds, a background of zeros.
    """
    content = np.zeros(volume.grid.shape, np.bool_)
    for channel in volume.array:
        content |= channel > channel.min()
    return content
