"""Objects from seeds: what is surely inside of one, and what then belongs to it.

All of it is local. Which object a voxel is of follows from the voxels near it, and objects keep their order
when an image is cut, so that blocks of an image give the objects that the whole image gives.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from medseg.inference import Decoded

__all__ = ["anchors_of", "basins", "described", "grown", "seeded", "summits"]

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

ROUNDING = 1e-3  # of a prominence, which is a difference of two numbers in single precision


def seeded(sure: Mask, inside: Mask, likely: Mask | None = None) -> Ids:
    """Connected parts of `sure`, by faces; and, behind them, those of `inside` that hold nothing sure.

    Of the latter only those that hold something `likely`, where that is given.
    """
    seeds = _parts(sure & inside)
    count = int(seeds.max(initial=0))
    regions = _parts(inside)
    found = np.zeros(int(regions.max(initial=0)) + 1, np.bool_)
    if likely is not None:
        found[:] = True
        found[regions[likely]] = False
    found[regions[seeds > 0]] = True
    found[0] = True
    alone = np.cumsum(~found, dtype=np.int32) + count
    lonely = ~found[regions]
    seeds[lonely] = alone[regions[lonely]]
    return seeds


def summits(height: Floats, enough: Mask, *, prominence: float) -> Mask:
    """The hills with a top where it is `enough` that stands out by `prominence`, down to so much below it.

    A top stands out by as much as one must go down at least on the way to a higher one (h-maxima: Soille,
    Morphological Image Analysis, 2nd ed. 2004, section 6.3.4); ways lead through faces. With a prominence of
    0 they are `enough` itself.
    """
    if not prominence:
        return enough
    import SimpleITK as sitk

    flat = height.squeeze() if height.ndim - height.shape.count(1) > 1 else height  # it is faster in 2-D
    image = sitk.GetImageFromArray(np.ascontiguousarray(flat, np.float32))
    above = height - sitk.GetArrayFromImage(sitk.HMaxima(image, prominence)).reshape(height.shape)
    parts = _parts(above > ROUNDING * prominence)  # tops of one height may be of one hill
    found = np.zeros(int(parts.max(initial=0)) + 1, np.bool_)
    found[parts[(above > (1 - ROUNDING) * prominence) & enough]] = True
    found[0] = False
    return found[parts]


def _parts(mask: Mask) -> Ids:
    """Parts that are connected by faces, numbered in the order of their first voxels."""
    import cc3d

    # an array in Fortran's order would be counted along its first axis
    found = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    return np.asarray(found, np.int32)


def anchors_of(ids: Ids) -> NDArray[np.int64]:
    """The first voxel `[n, 3]` of each object, numbered from 1 without gaps."""
    flat = ids.ravel()
    places = np.flatnonzero(flat)[::-1]
    first = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
    first[flat[places]] = places  # the last one written is the first one there
    return np.stack(np.unravel_index(first[1:], ids.shape), axis=1).astype(np.int64)


def grown(seeds: Ids, inside: Mask) -> Ids:
    """Seeds grown into `inside`, all at the same speed, until nothing is left that they reach.

    Steps are to neighbours by a face and to all neighbours in turn, so that fronts are nearly round. A voxel
    that two reach at once is of the later one.
    """
    rim = _rim(seeds.shape)
    padded = np.pad(seeds, rim)
    flat = padded.reshape(-1)
    left = np.flatnonzero(np.pad(inside & (seeds == 0), rim).reshape(-1))
    faces, all_around = _neighbours(padded.shape, seeds.shape)
    for turn in range(sum(seeds.shape)):
        reached = np.zeros(len(left), np.int32)
        for offset in all_around if turn % 2 else faces:
            np.maximum(reached, flat[left + offset], out=reached)
        new = reached > 0
        if not new.any() and turn % 2:
            break
        flat[left[new]] = reached[new]
        left = left[~new]
        if not len(left):
            break
    return _without(padded, rim)


def basins(height: Floats, seeds: Ids, inside: Mask) -> Ids:
    """Each voxel `inside` to the seed that the steepest way up from it leads to; a watershed by drops.

    From every voxel one goes to its highest neighbour, until that is a seed. What ends elsewhere, on a summit
    without a seed, is reached from the objects around it.
    """
    rim = _rim(seeds.shape)
    ids, level = np.pad(seeds, rim), np.pad(height, rim, constant_values=-np.inf)
    level[np.pad(~inside, rim, constant_values=True)] = -np.inf
    flat, heights = ids.reshape(-1), level.reshape(-1)
    left = np.flatnonzero((flat == 0) & np.isfinite(heights))
    up = np.arange(flat.size, dtype=np.int32 if flat.size < 1 << 31 else np.int64)
    around = _neighbours(ids.shape, seeds.shape)[1]
    reach = max(around, default=0)
    best = heights[reach : flat.size - reach].copy()
    step = np.zeros(len(best), np.int32)
    for offset in around:
        there = heights[reach + offset : flat.size - reach + offset]
        higher = there > best
        np.copyto(best, there, where=higher)
        np.copyto(step, offset, where=higher)
    up[left] = left + step[left - reach]
    going = left
    while len(going):  # every step doubles what a step is
        here = up[going]
        further = up[here]
        moved = further != here
        going = going[moved]
        up[going] = further[moved]
    flat[left] = flat[up[left]]
    return grown(_without(ids, rim), inside)


def _rim(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """What to pad, so that every voxel has neighbours: nothing along axes of one voxel."""
    return [(1, 1) if size > 1 else (0, 0) for size in shape]


def _without(padded: Ids, rim: list[tuple[int, int]]) -> Ids:
    return padded[tuple(slice(low, -high or None) for low, high in rim)].copy()


def _neighbours(padded: tuple[int, ...], shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Steps in a flat array to neighbours by a face, and to all; none along axes of one voxel."""
    strides = (padded[1] * padded[2], padded[2], 1)
    ways = [(-1, 0, 1) if size > 1 else (0,) for size in shape]
    steps = [step for step in product(*ways) if any(step)]
    flat = {step: sum(a * b for a, b in zip(step, strides, strict=True)) for step in steps}
    return [flat[step] for step in steps if sum(map(abs, step)) == 1], list(flat.values())


def described(ids: Ids, anchors: NDArray[np.int64], shares: Floats, *, least_voxels: int) -> Decoded:
    """The objects of so many voxels or more, each with its label: the one with the largest mean share.

    `shares[L, i, j, k]` are those of the labels; the mean share is the object's score.
    """
    count = len(anchors)
    flat = ids.ravel()
    size = np.bincount(flat, minlength=count + 1)[1:]
    kept = np.flatnonzero(size >= max(1, least_voxels))
    number = np.zeros(count + 1, np.int32)
    number[1 + kept] = np.arange(1, len(kept) + 1)
    there = np.flatnonzero(flat)
    sums = np.stack([np.bincount(flat[there], share.ravel()[there], minlength=count + 1) for share in shares])
    mean = (sums[:, 1:] / np.maximum(size, 1))[:, kept]
    labels = mean.argmax(axis=0)
    scores = mean[labels, np.arange(len(kept))].astype(np.float32)
    return Decoded(number[ids], anchors[kept], labels.astype(np.int64), scores.clip(0, 1))
