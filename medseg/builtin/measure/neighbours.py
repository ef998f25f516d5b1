"""What lies around a part of a label: the label it is in, and how far another is."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import crop, cut_out, label_boxes
from medseg.extent import Box
from medseg.segmentation import Segmentation

__all__ = ["distance_between", "host_of", "surface_points"]

CLEAR = 0.8  # of the labelled voxels around; less is said


def host_of(
    mask: NDArray[np.bool_], box: Box, segmentation: Segmentation, hosts: Sequence[str]
) -> tuple[str | None, str, str]:
    """The label of `hosts` that a mask in `box` lies in, no unit, and a flag where another is as likely.

    Of the voxels in the mask and those that share a face with it, most are the host's; labels that lie in
    the mask's own layer can only be around it.
    """
    from scipy import ndimage

    wide = _wider(box, segmentation.grid.shape)
    around = np.pad(mask, [(b.start - w.start, w.stop - b.stop) for b, w in zip(box, wide, strict=True)])
    near = ndimage.binary_dilation(around)
    part = crop(segmentation, wide)
    counts: Counter[str] = Counter()
    for layer, kind in enumerate(part.kinds):
        there = [label for label in part.labels if label.layer == layer and label.name in hosts]
        if kind == "labels":
            found = dict(
                zip(
                    *(each.tolist() for each in np.unique(part.array[layer][near], return_counts=True)),
                    strict=True,
                )
            )
            counts.update({label.name: found.get(label.value, 0) for label in there})
        else:
            counts.update({label.name: int((part.mask(label.name) & near).sum()) for label in there})
    total = counts.total()
    if total == 0:
        return None, "", "no other label is near"
    name, most = counts.most_common(1)[0]
    return name, "", "" if most >= CLEAR * total else f"{most / total:.0%} of what is around"


def surface_points(segmentation: Segmentation, label: str) -> NDArray[np.float64] | None:
    """RAS+ positions `[n, 3]` of a label's voxels with one outside beside them; None where it is empty."""
    box = label_boxes(segmentation)[label]
    if box is None:
        return None
    mask, grid = cut_out(segmentation, label, box)
    return grid.to_world(_surface(mask))


def distance_between(
    mask: NDArray[np.bool_],
    box: Box,
    segmentation: Segmentation,
    label: str,
    points: NDArray[np.float64] | None,
) -> float | None:
    """Distance from a mask in `box` to a label with these surface `points`: 0 where they overlap."""
    from scipy.spatial import KDTree

    if points is None:
        return None
    other, grid = cut_out(segmentation, label, box)
    if (other & mask).any():
        return 0.0
    distances, _ = KDTree(points).query(grid.to_world(_surface(mask)))
    return float(distances.min())


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indices `[n, 3]` of the voxels of a mask that have one outside beside them."""
    from scipy import ndimage

    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def _wider(box: Box, shape: tuple[int, int, int]) -> Box:
    """The box with one more voxel on each side, as far as the image goes."""
    wide = [slice(max(b.start - 1, 0), min(b.stop + 1, n)) for b, n in zip(box, shape, strict=True)]
    return wide[0], wide[1], wide[2]
