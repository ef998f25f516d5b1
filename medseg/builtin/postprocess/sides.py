"""The postprocessor `sides`."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.connected_parts import Connectivity, parts_of_labels
from medseg.builtin.postprocess.repaint import changeable
from medseg.errors import UsageError
from medseg.segmentation import SIDE, Label, Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

__all__ = ["Sides"]

LEFT_WORDS = {"left", "l", "lt", "sin"}
CLEAR = 0.95  # of a part's voxels must lie beyond the midline
RIVAL = 0.25  # of the largest part: the least that a second one must have to be the other side's organ


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

    labels: tuple[str, ...] | None = None
    """Names of labels whose pairs are looked at, one of each pair will do; null for all that have a pair."""

    midline: str | None = None
    """Name of a label in the middle of the body; null to take the middle between the two organs."""

    margin_mm: float = Field(default=10, ge=0, le=100)
    """How far beyond the midline the centroid of a part must lie, in mm, to be on the wrong side."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with parts on the side of their label."""
        segmentation.grid.require_mm("margin_mm of sides")
        array = segmentation.array.copy()
        for left, right in self._pairs(segmentation):
            if left.layer != right.layer:
                raise UsageError(
                    f"sides: {left.name!r} and {right.name!r} lie in different layers; leave them out"
                )
            middle = self._middle(segmentation, (left, right))
            if middle is not None:
                self._exchange(array[left.layer], segmentation.grid, (left, right), middle)
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

    def _middle(self, segmentation: Segmentation, pair: tuple[Label, Label]) -> float | None:
        """Where the midline is along x in mm (RAS+); None where nothing tells."""
        grid = segmentation.grid
        if self.midline is not None:
            mask = segmentation.mask(self.midline)
            return _mean_x(mask, grid) if mask.any() else None
        both = np.isin(segmentation.array[pair[0].layer], [label.value for label in pair])
        parts = _placed(both, grid, self.connectivity)
        largest = sorted(parts, key=lambda part: part.size)[-2:]
        if len(largest) < 2 or largest[0].size < RIVAL * largest[1].size:
            return None
        xs = sorted(part.mean for part in largest)
        return (xs[0] + xs[1]) / 2 if xs[1] - xs[0] > 2 * self.margin_mm else None

    def _exchange(self, layer: NDArray[Any], grid: Grid, pair: tuple[Label, Label], middle: float) -> None:
        """Give parts on the wrong side to the other label, in place."""
        moves = []
        for label, other, wrong in ((pair[0], pair[1], 1), (pair[1], pair[0], -1)):  # x grows to the right
            for part in _placed(layer == label.value, grid, self.connectivity):
                beyond = wrong * (part.xs - middle)
                if wrong * (part.mean - middle) > self.margin_mm and np.mean(beyond > 0) >= CLEAR:
                    moves.append((part.where, other.value))
        for where, value in moves:  # once both are looked at: what has moved must not move back
            layer.reshape(-1)[where] = value


class _Part(NamedTuple):
    """A connected part: its flat indices, and where their voxels lie along x in mm."""

    where: NDArray[np.intp]
    xs: NDArray[np.float64]

    @property
    def size(self) -> int:
        return len(self.where)

    @property
    def mean(self) -> float:
        return float(self.xs.mean())


def _placed(mask: NDArray[np.bool_], grid: Grid, connectivity: Connectivity) -> list[_Part]:
    """The connected parts of a mask."""
    parts = parts_of_labels(mask, connectivity)
    where = np.flatnonzero(parts.numbers)
    numbers = parts.numbers.reshape(-1)[where]
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(parts.sizes[1:])[:-1]
    return [_Part(own, _xs(own, grid)) for own in np.split(where[order], ends) if len(own)]


def _xs(where: NDArray[np.intp], grid: Grid) -> NDArray[np.float64]:
    """RAS+ x in mm of voxels of a grid, by their flat indices."""
    index = np.stack(np.unravel_index(where, grid.shape), axis=-1)
    return np.asarray(index @ grid.affine[0, :3] + grid.affine[0, 3])


def _mean_x(mask: NDArray[np.bool_], grid: Grid) -> float:
    return float(_xs(np.flatnonzero(mask), grid).mean())


def _is_left(name: str) -> bool:
    """Whether a name is that of a left label, as "left kidney", "kidney_l", "Niere links"."""
    words = SIDE.findall(name.lower())
    return any(word in LEFT_WORDS or word.startswith("link") for word in words)
