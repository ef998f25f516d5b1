"""Intersection over union of what lies along the borders of two masks."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.metric.counts import share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.volume import Grid

__all__ = ["BoundaryIou"]

RIGHT_ANGLED = 1e-3  # cosine between axes below which distances go by the spacing alone


class BoundaryIou(Metric):
    """`boundary-iou` of each label: IoU of the parts of both masks within a distance of their own border.

    The voxels of a mask whose centre is at most `distance_mm` from the nearest centre outside the mask, of
    the prediction and of the reference: their intersection over their union. In large structures it sees
    errors at the border that IoU does not; in those thinner than twice the distance both are the same.
    Voxels that share a face with one outside are always taken, also where the distance is below the voxels'
    size, as between thick slices. What lies outside the image is outside the mask. Needs millimetres:
    pictures without a scale are refused.

    A label that is absent from both has no value and the flag "absent from both"; absent from one of them it
    is 0, and the flag says from which.

    Cheng B et al. Boundary IoU: improving object-centric image segmentation evaluation. CVPR 2021. There the
    distance is 2 % of the image's diagonal, which means something else in every field of view.
    """

    distance_mm: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """How deep below the border, in mm."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        grid = reference.grid
        grid.require_mm("boundary-iou")
        for pair in label_pairs(prediction, reference):
            ours, theirs = (_rim(mask, grid, self.distance_mm) for mask in (pair.prediction, pair.reference))
            value = share(int(np.count_nonzero(ours & theirs)), int(np.count_nonzero(ours | theirs)))
            yield Measured(label=pair.label, quantity="boundary-iou", value=value, flag=pair.absent)


def _rim(mask: NDArray[np.bool_], grid: Grid, distance_mm: float) -> NDArray[np.bool_]:
    """The voxels of a mask within a distance of a voxel outside it, and all that share a face with one."""
    from scipy import ndimage

    around = [(0, 0) if size == 1 else (1, 1) for size in grid.shape]
    inner = tuple(slice(before, -before or None) for before, _ in around)
    padded = np.pad(mask, around)
    near = _depths(padded, grid)[inner] <= distance_mm * (1 + 1e-6)
    faces = ndimage.generate_binary_structure(3, 1)
    for axis in {0, 1, 2}.difference(_axes(grid)):
        faces[tuple([0, 2] if n == axis else slice(None) for n in range(3))] = False
    # thick slices are further apart than the distance; their voxels at the border count all the same
    beside: NDArray[np.bool_] = ~ndimage.binary_erosion(padded, faces)[inner]
    return mask & (near | beside)


def _axes(grid: Grid) -> list[int]:
    """The axes along which there is more than one voxel; all of an image of one voxel."""
    return [axis for axis, size in enumerate(grid.shape) if size > 1] or [0, 1, 2]


def _depths(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.floating]:
    """How far each voxel of a mask is from the nearest centre outside it, in mm; 0 outside.

    Distance transforms know boxes only: the few grids whose axes are not at right angles (a tilted CT) take
    a search among the voxels that touch the mask.
    """
    axes = grid.affine[:3, :3] / np.asarray(grid.spacing)
    if np.abs(axes.T @ axes - np.eye(3)).max() < RIGHT_ANGLED:
        import edt

        kept = _axes(grid)
        steps = tuple(grid.spacing[axis] for axis in kept)
        squeezed = np.ascontiguousarray(mask.reshape([mask.shape[axis] for axis in kept]))
        return np.asarray(edt.edt(squeezed, anisotropy=steps if len(steps) > 1 else steps[0])).reshape(
            mask.shape
        )
    from scipy import ndimage
    from scipy.spatial import cKDTree

    depths = np.zeros(mask.shape)
    if not mask.any():
        return depths
    shell = ndimage.binary_dilation(mask, np.ones((3, 3, 3))) & ~mask
    tree = cKDTree(np.argwhere(shell) @ grid.affine[:3, :3].T)
    depths[mask] = tree.query(np.argwhere(mask) @ grid.affine[:3, :3].T)[0]
    return depths
