"""Labels onto the image's grid: copied where voxels coincide, nearest elsewhere, never lost in silence."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.extent import extent
from medseg.io.masks.layers import Tell, listed
from medseg.sampling import whole_voxel_map
from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = ["placed"]

BEYOND = 1.0  # voxels outside the image that labels may reach: a rim of resampling, not another place
ROUNDING = 1e-3  # voxels, as in Grid.same_as


def placed(segmentation: Segmentation, onto: Grid, name: str, tell: Tell) -> Segmentation:
    """The labels at the voxels of the image's grid `onto`.

    An exact copy where the grids differ by whole voxels (axis order, direction, crop), else nearest, which is
    told. Raises GeometryError where labelled voxels lie more than one voxel outside the image; a rim of up to
    one voxel is cut off, and told.
    """
    if segmentation.grid.unit != onto.unit:
        hint = "; say its scale with --pixel-size" if onto.unit == "px" else ""
        raise GeometryError(
            f"{name}: labels in {segmentation.grid.unit} cannot be placed on an image in {onto.unit}{hint}"
        )
    lost = _require_inside(segmentation, onto, name)
    exact = whole_voxel_map(segmentation.grid.index_map(onto), onto.shape) is not None
    moved = segmentation.onto(onto)
    if lost:
        tell(f"{lost} labelled voxels, up to one voxel outside the image, are cut off")
    if not exact:
        here, there = (" x ".join(f"{s:.3g}" for s in grid.spacing) for grid in (segmentation.grid, onto))
        tell(f"its voxels ({here} {onto.unit}) are not the image's ({there}): nearest labels are taken")
        gone = [
            label.name
            for label in segmentation.labels
            if segmentation.mask(label.name).any() and not moved.mask(label.name).any()
        ]
        if gone:
            tell(f"no voxel of the image lies in {listed(gone)}, too small for its grid")
    return _with_voxels(moved, tell) if lost or not exact else moved


def _with_voxels(moved: Segmentation, tell: Tell) -> Segmentation:
    """Without the objects that have no voxel any more; tells how many."""
    layers = [layer for layer, kind in enumerate(moved.kinds) if kind == "objects"]
    there = {(layer, number) for layer in layers for number in np.unique(moved.array[layer]).tolist()}
    kept = tuple(thing for thing in moved.objects if (moved.labels[thing.label].layer, thing.id) in there)
    if len(kept) < len(moved.objects):
        count = len(moved.objects) - len(kept)
        tell(f"no voxel of the image lies in {count} of {len(moved.objects)} objects: they are left out")
    return moved.replace(objects=kept)


def _require_inside(segmentation: Segmentation, onto: Grid, name: str) -> int:
    """How many labelled voxels have their centre outside the image; raises where any is far outside."""
    labelled = np.zeros(segmentation.grid.shape, bool)
    for layer in segmentation.array:
        labelled |= layer != 0
    box = extent(labelled)
    if box is None:
        return 0
    corners = np.array(list(product(*((part.start, part.stop - 1) for part in box))))
    if _outside(corners, segmentation.grid, onto).max() <= ROUNDING:
        return 0
    lost = far = total = 0
    worst = 0.0
    for i in range(box[0].start, box[0].stop):
        there = np.argwhere(labelled[i])
        if not len(there):
            continue
        index = np.insert(there, 0, i, axis=1)
        beyond = _outside(index, segmentation.grid, onto)
        total += len(beyond)
        lost += int((beyond > ROUNDING).sum())
        far += int((beyond > BEYOND + ROUNDING).sum())
        worst = max(worst, float(beyond.max()))
    if lost == total:
        raise GeometryError(
            f"{name}: none of its {total} labelled voxels lies in the image; they belong to different images"
        )
    if far:
        raise GeometryError(
            f"{name}: {lost} of {total} labelled voxels lie outside the image, up to {worst:.1f} voxels: "
            "they would be lost. Give the image that it was drawn on"
        )
    return lost


def _outside(index: NDArray[np.int_], here: Grid, onto: Grid) -> NDArray[np.float64]:
    """How far voxel centres lie beyond the outer faces of `onto`, in its voxels; negative inside."""
    where = onto.to_index(here.to_world(index))
    beyond = np.maximum(-0.5 - where, where - (np.asarray(onto.shape) - 0.5))
    return np.asarray(beyond.max(axis=1), np.float64)
