"""The slices a preview shows: which planes, which slice of each, and what lies in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.sampling import whole_voxel_map
from medseg.segmentation import LayerKind, Segmentation
from medseg.volume import Grid, Volume

__all__ = ["Plane", "informative_slices", "planes_of"]

# Seen with axes running to L, P, I, every slice transposed is the radiological view: the patient's right on
# the image's left (axial, coronal), anterior on its left (sagittal), superior or anterior on top.
RADIOLOGICAL = "LPI"
BODY = (("Sagittal", "APSI"), ("Coronal", "RLSI"), ("Axial", "RLAP"))
ARRAY = (("yz", ""), ("xz", ""), ("xy", ""))
ORDER = (2, 1, 0)  # axial, coronal, sagittal
TOO_THIN = 12.0  # a stack seen from the side at more than this ratio shows nothing
BORDER_LOSS = 0.25  # by eye, on abdominal CT
BINCOUNT_BELOW = 1 << 16


@dataclass(frozen=True)
class View:
    """Axes of a grid in viewing order: the old axis and direction of each new one."""

    order: tuple[int, ...]
    signs: tuple[int, ...]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array `[i, j, k]` in viewing order, as a view of the same memory."""
        turned = array.transpose(self.order)
        return turned[tuple(slice(None, None, sign) for sign in self.signs)]


@dataclass(frozen=True)
class Plane:
    """One slice to draw: the axis it stands on, in the viewing order, and how large it is.

    `letters` are the directions at its left, right, top and bottom edge, or "" where there is no body;
    `where` is the axis and voxel index of the slice on the image's own grid; `size` is width and height in
    the grid's unit.
    """

    name: str
    letters: str
    axis: int
    index: int
    where: str
    size: tuple[float, float]
    view: View

    @property
    def aspect(self) -> float:
        """Width over height as it really is."""
        return self.size[0] / self.size[1]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """The slice of an array `[i, j, k]` on the image's own grid, as `[row, column]`; a copy."""
        plane: NDArray[Any] = np.moveaxis(self.view.of(array), self.axis, 0)[self.index]
        return plane.T.copy()


def planes_of(volume: Volume, segmentation: Segmentation) -> tuple[Plane, ...]:
    """The planes worth drawing, each at its most informative slice: axial, coronal, sagittal.

    Planes that would be a line (one voxel, or a ratio beyond 12 to 1) are left out as long as another
    remains. An oblique grid is seen along its own axes, named by the nearest direction of the body.
    """
    flat = volume.is_picture
    as_stored = flat or volume.grid.unit == "px"
    view = View((0, 1, 2), (1, 1, 1)) if as_stored else _view(volume.grid)
    shape = [volume.grid.shape[axis] for axis in view.order]
    extent = [volume.grid.shape[axis] * volume.grid.spacing[axis] for axis in view.order]
    chosen = informative_slices(segmentation)
    planes = []
    for axis in ORDER:
        across, down = (other for other in range(3) if other != axis)
        name, letters = ARRAY[axis] if as_stored else BODY[axis]
        native, sign = view.order[axis], view.signs[axis]
        index = chosen[native]
        plane = Plane(
            name="" if flat else name,
            letters=letters,
            axis=axis,
            index=index if sign > 0 else shape[axis] - 1 - index,
            where=f"{'ijk'[native]} = {index}",
            size=(extent[across], extent[down]),
            view=view,
        )
        planes.append((plane, min(shape[across], shape[down]) > 1, max(plane.aspect, 1 / plane.aspect)))
    good = [plane for plane, has_area, ratio in planes if has_area and ratio <= TOO_THIN]
    if flat:
        return (planes[0][0],)
    return tuple(good) or (min(planes, key=lambda entry: entry[2])[0],)


def _view(grid: Grid) -> View:
    """How to see a grid with axes to L, P, I."""
    onto = grid.reoriented(RADIOLOGICAL)
    turned = whole_voxel_map(grid.index_map(onto), onto.shape)
    if turned is None:  # reoriented() moves whole voxels by construction
        raise AssertionError(f"{grid!r} cannot be seen as {RADIOLOGICAL}")
    order, signs, _ = turned
    return View(order, tuple(int(sign) for sign in signs))


def informative_slices(segmentation: Segmentation) -> tuple[int, int, int]:
    """The slice along i, j and k that shows the labels best.

    Each label scores a slice by its area there as a share of its largest area on any slice of that axis, so
    that a small tumour counts as much as the liver. Slices away from the middle lose up to a quarter of the
    sum: at the border, labels are cut off. The highest score wins, nearest to the middle on a tie; without
    labels it is the middle.
    """
    best = []
    for axis, size in enumerate(segmentation.grid.shape):
        area = _areas(segmentation, axis)
        share = area / np.maximum(area.max(axis=0, initial=0), 1)
        away = np.abs(np.arange(size) - (size - 1) / 2)
        score = np.round(share.sum(axis=1) * (1 - BORDER_LOSS * (away / (size / 2)) ** 2), 9)
        best.append(int(min(range(size), key=lambda index: (-score[index], away[index]))))
    return best[0], best[1], best[2]


def _areas(segmentation: Segmentation, axis: int) -> NDArray[np.int64]:
    """Voxels of every label on every slice along `axis`, as `[slice, label]`; only slices are ever copied."""
    size = segmentation.grid.shape[axis]
    areas = np.zeros((size, len(segmentation.labels)), np.int64)
    for layer, kind in enumerate(segmentation.kinds):
        values, columns = _columns(segmentation, layer, kind)
        if len(values) == 0:
            continue
        slices = np.moveaxis(segmentation.array[layer], axis, 0)
        for index in range(size):
            at, often = _count(slices[index], values)
            np.add.at(areas[index], columns[at], often)
    return areas


def _columns(
    segmentation: Segmentation, layer: int, kind: LayerKind
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values of a layer, ascending, and for each the position of its label in the table."""
    position = {label.name: at for at, label in enumerate(segmentation.labels)}
    if kind == "objects":
        pairs = [
            (thing.id, position[thing.label])
            for thing in segmentation.objects
            if segmentation.labels[thing.label].layer == layer
        ]
    else:
        pairs = [(label.value, position[label.name]) for label in segmentation.labels if label.layer == layer]
    table = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _count(plane: NDArray[Any], values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of `values` (ascending) are in a slice, as indices, and how often each."""
    if values[-1] < BINCOUNT_BELOW and plane.dtype.itemsize <= 2:
        count = np.bincount(plane.ravel(), minlength=int(values[-1]) + 1)[values]
        at = np.flatnonzero(count)
        return at, count[at]
    present, often = np.unique(plane, return_counts=True)
    at = np.searchsorted(values, present).clip(max=len(values) - 1)
    known = values[at] == present
    return at[known], often[known]
