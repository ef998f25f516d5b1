"""Every object by itself, in numbers that sums over its voxels give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.measure.frame import Frame
from medseg.builtin.measure.numbered_lesions import renumbered
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Label, Object, Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

__all__ = ["Objects"]

Floats = NDArray[np.float64]
CENTRE = ("centroid_x", "centroid_y", "centroid_z")
BOX = ("box_low_i", "box_low_j", "box_low_k", "box_high_i", "box_high_j", "box_high_k")
AXES = ("longest_axis", "shortest_axis")
# what the attributes of an object say of its size
DOUBTS = {"joined": "joined between blocks", "cut": "cut where windows meet"}
ROWS_BYTES = 3500  # of one object, measured: up to 14 rows, kept until they are written
AT_ONCE = 1 << 18  # voxels that are summed together: each time all objects are gone through
SUMS_BYTES = 400  # of one object: its sums and what is made of them


class Objects(Measurement):
    """A block of rows for each object of each label: what a model that tells objects apart has found.

    - `score`: how sure the model is, from 0 to 1; left out where it does not say;
    - `area` (of a picture, in mm² or px²) or `volume` in mL, and `voxels`;
    - `centroid_x`, `_y`, `_z`: the mean of its voxel centres, RAS+; in px of a picture without scale;
    - `box_low_i`, `_j`, `_k` and `box_high_i` …: the first and the last voxel along each axis, from 0;
    - `longest_axis`, `shortest_axis`: the longest and shortest diameter of the ellipse (ellipsoid in 3-D)
      that has the same second moments, each voxel a small box; of a disc or ball both are its diameter;
    - the flag `truncated: …` on the size names the faces of the image that it touches; `joined between
      blocks` tells of an object too large to be decoded at once, which may differ where blocks meet, and
      `cut where windows meet` of one that a detector has seen whole in no window.

    For the label as a whole, `objects` is the number of those that have voxels; a flag tells of others.
    Labels that are no objects have no rows: `split` makes objects of their parts. `lesions` tells more of
    each, and takes longer.
    """

    most: int = Field(default=100_000, ge=1)
    """How many objects of a label have rows, by the lowest ids; a flag on `objects` tells of others. The rows
    of 100,000 take 350 MB until they are written."""

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label that has objects."""
        frame = Frame(segmentation.grid, volume.is_picture)
        for label in segmentation.labels:
            if segmentation.kinds[label.layer] == "objects":
                things = [thing for thing in segmentation.objects if thing.label == label.name]
                yield from self._of(label, sorted(things, key=lambda thing: thing.id), segmentation, frame)

    def _of(
        self, label: Label, things: list[Object], segmentation: Segmentation, frame: Frame
    ) -> Iterator[Measured]:
        numbers, counts = renumbered(segmentation.array[label.layer], [thing.id for thing in things])
        there = np.flatnonzero(counts[1:])
        left, gone = len(there) - self.most, len(things) - len(there)
        flags = [f"the last {left} have no rows"] * (left > 0) + [f"{gone} without voxels"] * (gone > 0)
        flag = "; ".join(flags or ["empty"] * (not len(there)))
        yield Measured(label=label.name, quantity="objects", value=len(there), flag=flag)
        if len(there):
            shown = there[: self.most].tolist()
            yield from _rows([things[n] for n in shown], _moments(numbers, len(things)).of(shown), frame)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, the objects numbered on, the sums of each, and the rows."""
        voxels, count = int(np.prod(segmentation.grid.shape)), len(segmentation.objects)
        labels = len({thing.label for thing in segmentation.objects})
        rows = ROWS_BYTES * min(count, labels * self.most)
        return super().work_bytes(volume, segmentation) + 8 * voxels + SUMS_BYTES * count + rows


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of each object: voxels, mean place and covariance in voxels, and the box: first and last voxel."""

    count: NDArray[np.int64]
    mean: Floats
    covariance: Floats
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def of(self, which: list[int]) -> _Moments:
        """Those of some objects, by their places."""
        count, mean, covariance = self.count[which], self.mean[which], self.covariance[which]
        return _Moments(count, mean, covariance, self.low[which], self.high[which])


def _moments(numbers: NDArray[np.int32], count: int) -> _Moments:
    """Sums over the voxels of each number from 1 on, a few planes at a time."""
    sizes = np.zeros(count + 1, np.int64)
    sums, products = np.zeros((3, count + 1)), np.zeros((3, 3, count + 1))
    low = np.full((3, count + 1), np.iinfo(np.int64).max)
    high = np.full((3, count + 1), -1)
    planes = max(1, AT_ONCE // max(1, math.prod(numbers.shape[1:])))
    for first in range(0, len(numbers), planes):
        slab = numbers[first : first + planes]
        i, j, k = np.nonzero(slab)
        if not len(i):
            continue
        own = slab[i, j, k]
        places = (i + first, j, k)
        sizes += np.bincount(own, minlength=count + 1)
        for a in range(3):
            sums[a] += np.bincount(own, places[a], minlength=count + 1)
            np.minimum.at(low[a], own, places[a])
            np.maximum.at(high[a], own, places[a])
            for b in range(a, 3):
                weights = places[a].astype(np.float64) * places[b]
                products[a, b] += np.bincount(own, weights, minlength=count + 1)
    voxels = np.maximum(sizes, 1)
    mean = sums / voxels
    covariance = np.zeros((count + 1, 3, 3))
    for a in range(3):
        for b in range(a, 3):
            covariance[:, a, b] = covariance[:, b, a] = products[a, b] / voxels - mean[a] * mean[b]
    return _Moments(sizes[1:], mean.T[1:], covariance[1:], low.T[1:], high.T[1:])


def _rows(things: list[Object], found: _Moments, frame: Frame) -> Iterator[Measured]:
    """All rows of each object; `found` has what was summed of these, all of which have voxels."""
    grid = frame.grid
    quantity, unit, voxel = frame.quantity
    centres = grid.to_world(found.mean).tolist()
    corners = np.concatenate([found.low, found.high], axis=1).tolist()
    diameters = _diameters(found.covariance, grid, flat=frame.picture)[:, [-1, 0]].tolist()
    rim = ((found.low == 0) | (found.high == np.array(grid.shape) - 1)).any(axis=1).tolist()
    for n, (thing, count) in enumerate(zip(things, found.count.tolist(), strict=True)):
        flags = [words for name, words in DOUBTS.items() if thing.attributes.get(name)]
        if rim[n] and (cut := _truncated(corners[n], frame)):
            flags.append(cut)
        if thing.score is not None:
            yield _row(thing, "score", thing.score)
        yield _row(thing, quantity, count * voxel, unit, "; ".join(flags))
        yield _row(thing, "voxels", count)
        for name, place in zip(CENTRE, centres[n], strict=True):
            yield _row(thing, name, place, grid.unit)
        for name, place in zip(BOX, corners[n], strict=True):
            yield _row(thing, name, place)
        for name, length in zip(AXES, diameters[n], strict=True):
            yield _row(thing, name, length, grid.unit)


def _row(thing: Object, quantity: str, value: float, unit: str = "", flag: str = "") -> Measured:
    return Measured(label=thing.label, object=thing.id, quantity=quantity, value=value, unit=unit, flag=flag)


def _truncated(corner: list[int], frame: Frame) -> str:
    """Which faces of the image a box touches; `corner` is its first and its last voxel along each axis."""
    i, j, k = (slice(low, high + 1) for low, high in zip(corner[:3], corner[3:], strict=True))
    faces = frame.faces_touched((i, j, k))
    return f"truncated: {', '.join(faces)}" if faces else ""


def _diameters(covariance: Floats, grid: Grid, *, flat: bool) -> Floats:
    """Of each object the diameters, ascending, of the ellipse or ellipsoid with these moments in voxels.

    An ellipse with semi-axis a has the variance a² / 4 along it, an ellipsoid a² / 5; a voxel has 1 / 12.
    """
    dims = 2 if flat else 3
    matrix = grid.affine[:3, :3]
    own = matrix @ (covariance + np.eye(3) / 12) @ matrix.T
    variances = np.linalg.eigvalsh(own[:, :dims, :dims])
    return np.asarray(2 * np.sqrt((dims + 2) * np.maximum(variances, 0)))
