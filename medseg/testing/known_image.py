"""The image that steps are tried on, and how they are called: twice, and what goes in must stay as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from medseg.errors import PluginError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

__all__ = ["known_image", "known_objects", "twice"]


@cache
def known_image() -> tuple[Volume, Segmentation]:
    """A soft-tissue ball of 20 mm radius in fat, oblique and anisotropic, with its mask."""
    turn = np.deg2rad(12.0)
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    affine[:2, :2] = 2.0 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    grid = Grid((40, 36, 20), affine)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    ball = np.linalg.norm(grid.to_world(index) - grid.centre, axis=-1) <= 20.0
    noise = np.random.default_rng(0).normal(0, 8, grid.shape)
    array = (np.where(ball, 60.0, -100.0) + noise).astype(np.float32)[None]
    labels = LabelTable((Label(1, "ball"), Label(2, "absent")))
    return Volume(array, grid), Segmentation.from_masks({"ball": ball}, grid, labels)


@cache
def known_objects() -> Segmentation:
    """The ball of `known_image` cut into two objects of one label that touch."""
    _, segmentation = known_image()
    ball = segmentation.mask("ball")
    second = np.arange(ball.shape[0]).reshape(-1, 1, 1) >= ball.shape[0] // 2
    ids = (ball * (1 + second))[None].astype(np.uint32)
    return Segmentation.from_objects(ids, segmentation.array, segmentation.grid, segmentation.labels)


def twice(call: Callable[[], Any], *arrays: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Run twice and see that what went in is unchanged; raises PluginError if not."""
    before = [array.tobytes() for array in arrays]
    results = call(), call()
    if any(array.tobytes() != old for array, old in zip(arrays, before, strict=True)):
        known_image.cache_clear()  # nobody else shall be checked on it
        raise PluginError("wrote into the array it was given")
    return results
