"""Rays: in which directions they go from a voxel, and how far it is along each to the object's boundary.

Lengths are in the grid's finest spacing, and so are directions: where voxels are not cubes, a ray of length 1
goes a part of a voxel along the coarse axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["directions", "distances", "mirrored_rays", "relative"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Numbers = NDArray[np.int64]

GOLDEN = (5**0.5 - 1) / 2
TURNS = 300  # until rays have pushed each other apart
DECIMALS = 9  # so that a direction and its mirror image are of exactly the same numbers
AT_ONCE = 1 << 18  # voxels times rays, for what is at work to stay in a processor's cache


@lru_cache(maxsize=16)
def directions(axes: int, rays: int) -> Doubles:
    """Unit vectors `[rays, axes]`, the mirror image of each among them.

    On a circle they are equally spaced, from the first axis on; on a sphere, Fibonacci's lattice in an eighth
    of it and the seven mirror images, pushed apart where they meet. `rays` is a multiple of 4 or of 8.
    """
    if axes == 2:
        angles = 2 * np.pi * np.arange(rays) / rays
        return np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1), DECIMALS) + 0.0
    number = np.arange(rays // 8)
    height = (number + 0.5) / len(number)
    turn = np.pi / 2 * ((number * GOLDEN + 0.5) % 1)
    level = np.sqrt(1 - height**2)
    eighth = np.stack([level * np.cos(turn), level * np.sin(turn), height], axis=1)
    signs = np.array(list(product((1, -1), repeat=3)))
    for done in np.linspace(0, 1, TURNS, endpoint=False):
        apart = eighth[:, None] - (signs[:, None] * eighth).reshape(-1, 3)
        far = np.maximum((apart**2).sum(-1, keepdims=True), 1e-9)
        push = (apart / far**2).sum(axis=1)
        push /= np.linalg.norm(push, axis=1, keepdims=True)
        eighth = np.abs(eighth + 0.1 * (1 - done) / len(number) ** 0.5 * push)
        eighth /= np.linalg.norm(eighth, axis=1, keepdims=True)
    found: Doubles = (signs[:, None] * np.round(eighth, DECIMALS)).reshape(-1, 3)
    return found


@lru_cache(maxsize=64)
def mirrored_rays(axes: int, rays: int, axis: int) -> Numbers:
    """The number of each ray's image in a mirror across `axis`."""
    there = directions(axes, rays)
    mirror = np.where(np.arange(axes) == axis, -1, 1)
    return np.asarray((there * mirror @ there.T).argmax(axis=1), np.int64)


def relative(spacing: tuple[float, ...], axes: int) -> tuple[float, ...]:
    """How long a voxel is along each axis, in the finest one's."""
    sides = spacing[:axes]
    return tuple(round(side / min(sides), 6) for side in sides)


def distances(ids: NDArray[np.uint32], sides: tuple[float, ...], rays: int, *, most: float) -> Floats:
    """`[rays, *ids.shape]`: how far the boundary is along each ray, at most `most`; 0 outside of objects.

    Negative where a ray leaves the array within its object: it is then at least so far. `ids` has 2 or 3
    axes, `sides` says how long a voxel is along each.

    Layer by layer: the distance of a voxel is a step along the ray, to the next layer of voxels, and what is
    left from there, between the neighbours that the step ends between.
    """
    found = np.zeros((rays, *ids.shape), np.float32)
    ways = directions(ids.ndim, rays) / sides
    number = np.unique(ids, return_inverse=True)[1].reshape(ids.shape).astype(np.int32)
    for some, order, turned in _alike(ways):
        lengths = _swept(number[turned].transpose(order), np.abs(ways[some])[:, order])
        back = (0, *(1 + order.index(axis) for axis in range(ids.ndim)))
        found[some] = lengths.transpose(back)[(slice(None), *turned)]
    np.clip(found, -most, most, out=found)
    found[:, ids == 0] = 0
    return found


def _alike(ways: Doubles) -> Iterator[tuple[Numbers, tuple[int, ...], tuple[slice, ...]]]:
    """Rays that go mostly along one axis and towards one corner; the axes in that order, and how to turn."""
    axes = ways.shape[1]
    first = (np.abs(ways) > np.abs(ways).max(axis=1, keepdims=True) - 1e-7).argmax(axis=1)
    for main, *signs in product(range(axes), *((1, -1),) * axes):
        there = ((ways < 0) == (np.array(signs) < 0)).all(axis=1) & (first == main)
        if there.any():
            order = (main, *(axis for axis in range(axes) if axis != main))
            yield np.flatnonzero(there), order, tuple(slice(None, None, sign) for sign in signs)


def _swept(ids: NDArray[np.int32], ways: Doubles) -> Floats:
    """Distances `[rays, *ids.shape]` along rays towards the last corner that go mostly along axis 0."""
    found = np.empty((len(ways), *ids.shape), np.float32)
    around = np.pad(ids, [(0, 1)] * ids.ndim, mode="edge")
    same = [around[_block(corner, ids.shape)] == ids for corner in _corners(ids.ndim)]
    alike = np.stack(same).astype(np.float32)
    each = max(1, AT_ONCE // ids.size)
    for start in range(0, len(ways), each):
        some = slice(start, start + each)
        found[some] = _layers(alike, ways[some])
    return found


def _layers(same: Floats, ways: Doubles) -> Floats:
    """Layer after layer, the last first; `same[corners, *shape]` says which neighbours are alike."""
    rays, axes = ways.shape
    aside = same.shape[2:]
    half = len(same) // 2  # corners in the same layer, then those in the next
    step = ways / ways[:, :1]
    length = (1 / ways[:, 0]).astype(np.float32).reshape(-1, *(1,) * axes)
    weights = _linear(step[:, 1:])
    there = np.tensordot(weights, same[half:], 1)
    on = there >= 0.5
    # where the ray ends, as much of the step counts as the voxels around its middle are of the object
    middle = np.tensordot(np.tile(_linear(step[:, 1:] / 2) / 2, 2), same, 1)
    ahead = np.where(on, length, length * middle)
    part: Any = on / np.maximum(there, 0.5)
    # what is left and whether it is left open, one layer on; beyond the array it is
    state = np.ones((2, rays, *(n + 1 for n in aside)), np.float32)
    state[0] = -length[..., 0] / 2
    found = np.empty((2, rays, *same.shape[1:]), np.float32)
    shifts = [_block(corner, aside) for corner in _corners(axes - 1)]
    kept: Any = (..., *(slice(0, n) for n in aside))
    spread = weights.reshape(rays, half, *(1,) * len(aside))
    for layer in range(same.shape[1] - 1, -1, -1):
        rest = np.zeros((2, rays, *aside), np.float32)
        for number, shift in enumerate(shifts):
            rest += state[shift] * (spread[:, number] * same[half + number, layer])
        rest *= part[:, layer]
        rest[0] += ahead[:, layer]
        state[kept] = rest
        found[:, :, layer] = rest
    lengths = np.maximum(found[0], 0)
    return np.asarray(np.where(found[1] >= 0.5, -lengths, lengths), np.float32)


def _block(corner: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """The index of a block of this shape that begins at a corner."""
    return (..., *(slice(start, start + size) for start, size in zip(corner, shape, strict=True)))


def _corners(axes: int) -> list[tuple[int, ...]]:
    return list(product((0, 1), repeat=axes))


def _linear(parts: Doubles) -> Floats:
    """Weights `[rays, corners]` of a place so far from the first corner along each axis."""
    weights = [np.where(corner, parts, 1 - parts).prod(axis=1) for corner in _corners(parts.shape[1])]
    return np.stack(weights, axis=1).astype(np.float32)
