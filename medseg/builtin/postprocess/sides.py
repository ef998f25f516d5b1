"""The postprocessor `sides`."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.connected_parts import Parts, parts_of_labels
from medseg.builtin.postprocess.repaint import changeable
from medseg.components import Connectivity
from medseg.errors import UsageError
from medseg.segmentation import SIDE, Label, Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

__all__ = ["Sides"]

LEFT_WORDS = {"left", "l", "lt", "sin"}
CLEAR = 0.95  # of a part's voxels must lie beyond the midline
RIVAL = 0.25  # of the largest part: the least that a second one must have to be the other side's organ
PAIR_BYTES = 12  # a voxel beside masks, measured: the pair alone, its numbered parts, and which voxels move


class Sides(Postprocessor):
    """Give parts of a left and a right label that lie on the wrong side of the body to the other one.

    Networks mistake a left kidney for a right one more often than for anything else. A connected part
    changes its label where at least 95 % of its voxels lie beyond the midline and its centroid lies more
    than `margin_mm` beyond; all else stays as it is. Sides are those of the patient, from the image's
    coordinates, on oblique grids too.

    The midline is the sagittal plane through the centroid of `midline`, a label such as the spine. Without
    one, it lies half-way between the two largest connected parts of the pair, whichever label they have;
    where there are no two of like size (the smaller at least a quarter of the larger) whose centroids are
    more than twice `margin_mm` apart, as of a single kidney, the pair stays as it is.

    Pairs are those that the label table states (`pair`); which of the two is left is told by the names.
    """

    takes_objects: ClassVar[bool] = False

    label_fields: ClassVar[tuple[str, ...]] = ("labels", "midline")

    labels: tuple[str, ...] | None = None
    """Names of labels whose pairs are looked at, one of each pair will do; null for all that have a pair."""

    midline: str | None = None
    """Name of a label in the middle of the body; null to take the middle between the two organs."""

    margin_mm: float = Field(default=10, ge=0, le=100)
    """How far beyond the midline the centroid of a part must lie, in mm, to be on the wrong side."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """What masks take, and a layer of the pair alone."""
        more = (PAIR_BYTES + segmentation.array.dtype.itemsize) * math.prod(segmentation.grid.shape)
        return super().work_bytes(segmentation, volume) + more

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with parts on the side of their label."""
        segmentation.grid.require_mm("margin_mm of sides")
        array = segmentation.array.copy()
        for left, right in self._pairs(segmentation):
            if left.layer != right.layer:
                raise UsageError(
                    f"sides: {left.name!r} and {right.name!r} lie in different layers; leave them out"
                )
            layer = array[left.layer]
            pair = np.where(np.isin(layer, (left.value, right.value)), layer, layer.dtype.type(0))
            middle = self._middle(segmentation, pair)
            if middle is None:
                continue
            parts = parts_of_labels(pair, self.connectivity)
            to_right = self._beyond(parts, left.value, 1, segmentation.grid, middle)  # x grows to the right
            to_left = self._beyond(parts, right.value, -1, segmentation.grid, middle)
            layer[to_right[parts.numbers]] = right.value
            layer[to_left[parts.numbers]] = left.value
        return segmentation.replace(array=array)

    def _pairs(self, segmentation: Segmentation) -> list[tuple[Label, Label]]:
        """The left and the right label of each pair that is looked at."""
        table = segmentation.labels
        chosen = [label for label in table if label.pair] if self.labels is None else []
        for name in self.labels or ():
            if table[name].pair is None:
                raise UsageError(f"sides: label {name!r} has no pair; state it in the label table")
            chosen.append(table[name])
        pairs = {tuple(sorted((label.name, str(label.pair)))) for label in chosen}
        found = []
        for one, other in sorted(pairs):
            changeable(segmentation, (one, other))
            names = (one, other) if _is_left(one) else (other, one)
            if not _is_left(names[0]) or _is_left(names[1]):
                raise UsageError(f"sides: the names {one!r} and {other!r} do not tell which is left")
            found.append((table[names[0]], table[names[1]]))
        return found

    def _middle(self, segmentation: Segmentation, layer: NDArray[Any]) -> float | None:
        """Where the midline is along x in mm (RAS+); None where nothing tells.

        `layer[i, j, k]` holds the labels of the pair alone.
        """
        grid = segmentation.grid
        if self.midline is not None:
            mask = segmentation.mask(self.midline)
            return float(_mean_x(mask.view(np.uint8), grid)[1]) if mask.any() else None
        parts = parts_of_labels(layer > 0, self.connectivity)
        if len(parts.sizes) < 3:
            return None
        smaller, larger = np.argsort(parts.sizes, kind="stable")[-2:]
        if parts.sizes[smaller] < RIVAL * parts.sizes[larger]:
            return None
        xs = _mean_x(parts.numbers, grid)[[smaller, larger]]
        return float(xs.mean()) if np.ptp(xs) > 2 * self.margin_mm else None

    def _beyond(self, parts: Parts, value: int, sign: int, grid: Grid, middle: float) -> NDArray[np.bool_]:
        """Whether each part is of a label and on its wrong side, where x times `sign` is larger."""
        wrong = sign * (_mean_x(parts.numbers, grid) - middle) > self.margin_mm
        share = _share(parts.numbers, grid, lambda xs: sign * (xs - middle) > 0)
        return np.asarray(wrong & (share >= CLEAR) & (parts.owners == value))


def _mean_x(numbers: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """The mean RAS+ x in mm of the voxels of each number."""
    return _share(numbers, grid, lambda xs: xs)


def _share(
    numbers: NDArray[Any], grid: Grid, worth: Callable[[NDArray[np.float64]], NDArray[Any]]
) -> NDArray[np.float64]:
    """The mean of `worth(x)` over the voxels of each number, plane by plane; x is RAS+ in mm."""
    count = int(numbers.max(initial=0)) + 1
    sums, sizes = np.zeros(count), np.zeros(count, np.int64)
    _, j, k = (np.arange(n) for n in grid.shape)
    across = grid.affine[0, 1] * j[:, None] + grid.affine[0, 2] * k + grid.affine[0, 3]
    for i, plane in enumerate(numbers):
        flat = plane.reshape(-1)
        sums += np.bincount(flat, worth(across + grid.affine[0, 0] * i).reshape(-1), minlength=count)
        sizes += np.bincount(flat, minlength=count)
    return np.asarray(sums / np.maximum(sizes, 1))


def _is_left(name: str) -> bool:
    """Whether a name is that of a left label, as "left kidney", "kidney_l", "Niere links"."""
    words = SIDE.findall(name.lower())
    return any(word in LEFT_WORDS or word.startswith("link") for word in words)
