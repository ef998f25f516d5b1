"""The postprocessor `split`."""

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.ball import require_right_angles
from medseg.builtin.postprocess.connected_parts import connected_parts
from medseg.builtin.postprocess.repaint import Mask, boxes, changeable
from medseg.components import Connectivity
from medseg.segmentation import LabelTable, Object, Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

__all__ = ["Split"]

WATERSHED_BYTES = 110  # a voxel of the largest part, measured: distances, their order, the queue of voxels
LONE_BYTES = 12  # a voxel: ids, and numbers of parts


class Split(Postprocessor):
    """Tell the parts of a label apart: touching lesions, nuclei or vertebrae become objects of their own.

    Each connected part is an object; one with a waist is cut there by a watershed on the distance to the
    outline, flooded from its deepest places. Two of these are two objects only where they lie at least
    `separation_mm` apart, and where the waist between them is at least `depth_mm` less deep than the
    shallower one: a waist narrower than its neighbour by twice that. No voxel is lost.

    The label moves to a layer of objects behind the others, with ids from 1 by position of their first voxel,
    so that measurements have a row for each and files are named by label (`segmentation-LABEL.nii.gz`). Steps
    on labels refuse a layer of objects, so put this last.
    """

    takes_objects: ClassVar[bool] = False

    label_fields: ClassVar[tuple[str, ...]] = ("label",)

    label: str
    """Name of the label to split."""

    separation_mm: float | None = Field(default=10, gt=0)
    """Least distance of the deepest places of two objects, in mm; null to split nothing but what is apart."""

    depth_mm: float = Field(default=1, ge=0)
    """How much less deep a waist must be than either side of it, in mm; small values cut more."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """A further layer, and the watershed of a part that fills the image."""
        voxels = math.prod(segmentation.grid.shape)
        wider = segmentation.array.shape[0] * (4 - segmentation.array.dtype.itemsize) * voxels
        per_voxel = LONE_BYTES if self.separation_mm is None else WATERSHED_BYTES
        return int(super().work_bytes(segmentation, volume) + max(0, wider) + per_voxel * voxels)

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with the label in a layer of objects of its own, the last."""
        (label,) = changeable(segmentation, (self.label,))
        grid = segmentation.grid
        grid.require_mm("separation_mm of split")
        require_right_angles(grid, step="split")
        ids = np.zeros(grid.shape, np.uint32)
        count = 0
        box = boxes(segmentation.array, (label,))[self.label]
        if box is not None:
            count = self._number(segmentation.array[label.layer][box] == label.value, ids[box], grid)
        others = segmentation.array.copy()
        others[label.layer][others[label.layer] == label.value] = 0
        layer = len(others)
        table = [replace(each, layer=layer) if each == label else each for each in segmentation.labels]
        kind = np.promote_types(others.dtype, np.min_scalar_type(count))
        array = np.empty((layer + 1, *grid.shape), kind)
        array[:-1], array[-1] = others, ids
        return segmentation.replace(
            array=array,
            labels=LabelTable(tuple(table)),
            kinds=(*segmentation.kinds, "objects"),
            objects=(*segmentation.objects, *(Object(n, self.label) for n in range(1, count + 1))),
        )

    def _number(self, mask: Mask, ids: NDArray[np.uint32], grid: Grid) -> int:
        """Write the number of its object into `ids` for each voxel of the mask; returns their count."""
        from scipy.ndimage import find_objects

        numbers, _ = connected_parts(mask, self.connectivity)
        count = 0
        for number, box in enumerate(find_objects(numbers), start=1):
            part = numbers[box] == number
            cut = self._cut(part, grid) if self.separation_mm is not None else part.astype(np.uint32)
            ids[box][part] = cut[part] + np.uint32(count)
            count += int(cut.max())
        return count

    def _cut(self, part: Mask, grid: Grid) -> NDArray[np.uint32]:
        """Numbers from 1 of what one connected part is cut into."""
        import edt
        from skimage.segmentation import watershed

        # a frame, so that a part that fills its box ends at it; the image's border is taken for an outline
        frame = [(1, 1) if size > 1 else (0, 0) for size in grid.shape]
        framed = np.pad(part, frame)
        depth = np.asarray(edt.edt(framed, anisotropy=grid.spacing, black_border=False), np.float32)
        seeds = self._seeds(depth, grid)
        if len(seeds) == 1:
            return part.astype(np.uint32)
        markers = np.zeros(framed.shape, np.int32)
        markers[tuple(seeds.T)] = np.arange(1, len(seeds) + 1)
        found = watershed(-depth, markers, connectivity=_structure(self.connectivity), mask=framed)
        inner = tuple(slice(n, n + size) for (n, _), size in zip(frame, part.shape, strict=True))
        return np.asarray(found[inner], np.uint32)

    def _seeds(self, depth: NDArray[np.float32], grid: Grid) -> NDArray[np.int64]:
        """Index of the deepest voxel of each object, in the order of their indices."""
        from skimage.measure import label as number
        from skimage.morphology import local_maxima, reconstruction

        if self.depth_mm > 0:
            # flattens every top by the depth: tops whose waist is not that much lower become one
            lowered = np.maximum(depth - np.float32(self.depth_mm), 0)
            flat = reconstruction(lowered, depth, footprint=_structure(26)).astype(np.float32)
        else:
            flat = depth
        tops = number(local_maxima(flat, connectivity=3) & (depth > 0), connectivity=3)
        where = np.flatnonzero(tops)
        if not len(where):  # shallower than the depth all over
            where = np.array([depth.argmax()])
        by_depth = where[np.argsort(-depth.reshape(-1)[where], kind="stable")]
        _, first = np.unique(tops.reshape(-1)[by_depth], return_index=True)
        deepest = by_depth[np.sort(first)]  # one for each top, the deepest first
        places = np.stack(np.unravel_index(deepest, depth.shape), axis=-1)
        return _apart(places, np.asarray(grid.spacing), float(self.separation_mm or 0))


def _apart(places: NDArray[np.int64], spacing: NDArray[np.float64], least_mm: float) -> NDArray[np.int64]:
    """Of places `[n, 3]` in order of rank, those no nearer than `least_mm` to one before them; by index."""
    kept: list[int] = []
    world = places * spacing
    for rank, place in enumerate(world):
        away = np.linalg.norm(world[kept] - place, axis=1) if kept else np.array([np.inf])
        if away.min() >= least_mm * (1 - 1e-6):  # rounding of the spacing
            kept.append(rank)
    chosen = places[kept]
    return np.asarray(chosen[np.lexsort(chosen.T[::-1])])


def _structure(connectivity: Connectivity) -> NDArray[np.bool_]:
    """The voxels around one, and itself, that are joined to it."""
    from scipy.ndimage import generate_binary_structure

    return np.asarray(generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity]), bool)
