"""Points for objects: their middles, and a colour that objects with near middles do not share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["coloured_centres"]


def coloured_centres(
    ids: NDArray[np.int64], *, apart: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of objects 1 to n in `ids[i, j, k]` the mean places `[n, 3]`, in voxels, and colours `[n]`, from 0 on.

    Objects whose middles are less than `apart` voxels from each other have different colours; most have 0.
    """
    from scipy.spatial import cKDTree

    places = np.nonzero(ids)
    of = ids[places] - 1
    count = int(ids.max(initial=0))
    size = np.maximum(np.bincount(of, minlength=count), 1)
    centres = np.stack([np.bincount(of, at, minlength=count) / size for at in places], axis=1)
    colours = np.zeros(count, np.int64)
    neighbours: dict[int, list[int]] = {}
    for one, other in sorted(cKDTree(centres).query_pairs(apart)) if count else []:
        neighbours.setdefault(max(one, other), []).append(min(one, other))
    for number in sorted(neighbours):  # those before it have theirs
        taken = {int(colours[other]) for other in neighbours[number]}
        colours[number] = next(colour for colour in range(count) if colour not in taken)
    return centres, colours
