"""Every object by itself, in numbers that cost the same for ten and for a million of them."""

from __future__ import annotations

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


class Objects(Measurement):
    """A block of rows for each object of each label: what a model that tells objects apart has found.

    - `score`: how sure the model is, from 0 to 1; left out where it does not say;
    - `area` (of a picture, in mm² or px²) or `volume` in mL, and `voxels`;
    - `centroid_x`, `_y`, `_z`: the mean of its voxel centres, RAS+; in px of a picture without scale;
    - `box_low_i`, `_j`, `_k` and `box_high_i` …: the first and the last voxel along each axis, from 0;
    - `longest_axis`, `shortest_axis`: the longest and shortest diameter of the ellipse (ellipsoid in 3-D)
      that has the same second moments, each voxel a small box; of a disc or ball both are its diameter;
    - the flag `truncated: …` on the size names the faces of the image that it touches.

    For the label as a whole, `objects` is their number. Labels that are no objects have no rows: `split`
    makes objects of their parts. `lesions` tells more of each, and takes longer.
    """

    most: int = Field(default=1_000_000, ge=1)
    """How many objects of a label have rows, by the lowest ids; a flag on `objects` tells of others."""

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
        left = len(things) - self.most
        flag = f"the last {left} have no rows" if left > 0 else "" if things else "empty"
        yield Measured(label=label.name, quantity="objects", value=len(things), flag=flag)
        things = things[: self.most]
        if things:
            numbers, _ = renumbered(segmentation.array[label.layer], [thing.id for thing in things])
            found = _moments(numbers, len(things))
            for n, thing in enumerate(things):
                yield from _rows(thing, n, found, frame)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, the objects numbered on, and ten sums for each."""
        voxels = int(np.prod(segmentation.grid.shape))
        return super().work_bytes(volume, segmentation) + 8 * voxels + 160 * len(segmentation.objects)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of each object: voxels, mean place and covariance in voxels, and the box: first and last voxel."""

    count: NDArray[np.int64]
    mean: Floats
    covariance: Floats
    low: NDArray[np.int64]
    high: NDArray[np.int64]


def _moments(numbers: NDArray[np.int32], count: int) -> _Moments:
    """Sums over the voxels of each number from 1 on, plane by plane."""
    sizes = np.zeros(count + 1, np.int64)
    sums, products = np.zeros((3, count + 1)), np.zeros((3, 3, count + 1))
    low = np.full((3, count + 1), np.iinfo(np.int64).max)
    high = np.full((3, count + 1), -1)
    for i, plane in enumerate(numbers):
        j, k = np.nonzero(plane)
        if not len(j):
            continue
        own = plane[j, k]
        places = (np.full(len(j), i), j, k)
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


def _rows(thing: Object, n: int, found: _Moments, frame: Frame) -> Iterator[Measured]:
    """All rows of one object."""
    grid = frame.grid

    def row(quantity: str, value: float | None, unit: str = "", flag: str = "") -> Measured:
        return Measured(
            label=thing.label, object=thing.id, quantity=quantity, value=value, unit=unit, flag=flag
        )

    if thing.score is not None:
        yield row("score", thing.score)
    quantity, unit, voxel = frame.quantity
    count = int(found.count[n])
    if not count:
        yield row(quantity, 0.0, unit, "empty")
        return
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(found.low[n], found.high[n], strict=True))
    faces = frame.faces_touched((box[0], box[1], box[2]))
    yield row(quantity, count * voxel, unit, f"truncated: {', '.join(faces)}" if faces else "")
    yield row("voxels", count)
    for axis, position in zip("xyz", grid.to_world(found.mean[n]), strict=True):
        yield row(f"centroid_{axis}", float(position), grid.unit)
    for end, corner in (("low", found.low[n]), ("high", found.high[n])):
        for axis, place in zip("ijk", corner, strict=True):
            yield row(f"box_{end}_{axis}", int(place))
    shortest, longest = _axes(found.covariance[n], grid, flat=frame.picture)
    yield row("longest_axis", longest, grid.unit)
    yield row("shortest_axis", shortest, grid.unit)


def _axes(covariance: Floats, grid: Grid, *, flat: bool) -> tuple[float, float]:
    """Shortest and longest diameter of the ellipse or ellipsoid with these moments, given in voxels.

    An ellipse with semi-axis a has the variance a² / 4 along it, an ellipsoid a² / 5; a voxel has 1 / 12.
    """
    dims = 2 if flat else 3
    matrix = grid.affine[:3, :3]
    own = matrix @ (covariance + np.eye(3) / 12) @ matrix.T
    variances = np.linalg.eigvalsh(own[:dims, :dims])
    diameters = 2 * np.sqrt((dims + 2) * np.maximum(variances, 0))
    return float(diameters[0]), float(diameters[-1])
