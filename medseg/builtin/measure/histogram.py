"""How the intensities under each label are spread over ranges of values."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, model_validator

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Volume

__all__ = ["Histogram"]

MOST_BINS = 1000
DIGITS = 10  # of an edge in a name; more would spell out the rounding of 0.1 + 0.2
CHUNK_VALUES = 1 << 19


class Histogram(Measurement):
    """How many of each label's voxels have an intensity in each range, of the image's first channel.

    The ranges are the same for all labels and cases, so that rows and columns of tables are too: `bins` of
    one width, or as many of `width` as fit between `low` and `high`, which are in HU for CT. For each
    label, in the order of intensities:

    - `histogram_below_-100`: of what is less than `low`;
    - `histogram_-100_to_-50` and so on: from the first number on and below the second, so that a value on an
      edge is in the range that begins there, and whole numbers from -100 to -51 are in this one;
    - `histogram_from_200`: of `high` and more.

    Names have no comma and no bracket, which would have to be quoted in CSV files and typed in formulas.
    Values are shares of the label in %, which add up to 100, or the number of `voxels`. Voxels that are not
    finite are left out of both and flagged. A label that is nowhere has no values; its rows are flagged
    "empty".
    """

    low: FiniteFloat
    """Where the first range begins, in the unit of the image."""

    high: FiniteFloat
    """Where the last range ends."""

    bins: int | None = Field(default=None, ge=1, le=MOST_BINS)
    """How many ranges there are; null where `width` says it."""

    width: FiniteFloat | None = Field(default=None, gt=0)
    """Width of a range in the unit of the image; null where `bins` says it."""

    of: Literal["percent", "voxels"] = "percent"
    """Whether to give shares of the label in %, or numbers of voxels."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low is below high")
        if (self.bins is None) == (self.width is None):
            raise ValueError("give one of bins and width")
        if self.width is not None:
            count = (self.high - self.low) / self.width
            if not 1 <= round(count) <= MOST_BINS or abs(count - round(count)) > 1e-6:
                raise ValueError(
                    f"from low to high there are {count:.6g} widths, not a whole number up to {MOST_BINS}"
                )
        if len(set(self._names)) < len(self._names):
            raise ValueError(f"ranges are too narrow to have names of {DIGITS} digits")
        return self

    @property
    def _edges(self) -> NDArray[np.float64]:
        """Where ranges begin, and where the last one ends."""
        count = self.bins if self.width is None else round((self.high - self.low) / self.width)
        assert count is not None, "one of the two is given"
        return np.linspace(self.low, self.high, count + 1)

    @property
    def _names(self) -> list[str]:
        """What the ranges are called, with what lies below and above."""
        edges = [f"{edge:.{DIGITS}g}" for edge in self._edges.tolist()]
        between = [f"{a}_to_{b}" for a, b in pairwise(edges)]
        return [f"histogram_{name}" for name in (f"below_{edges[0]}", *between, f"from_{edges[-1]}")]

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label, in the order of the label table."""
        boxes, edges = label_boxes(segmentation), self._edges
        for label in segmentation.labels:
            box = boxes[label.name]
            if box is None:
                yield from self._rows(label.name, None, "empty")
                continue
            mask, _ = cut_out(segmentation, label.name, box)
            counts, lost = _counted(volume.array[0][box][mask], edges)
            yield from self._rows(label.name, counts, f"{lost} voxels not finite" if lost else "")

    def _rows(self, label: str, counts: NDArray[np.int64] | None, flag: str) -> Iterator[Measured]:
        """A row for each range; without values where nothing was counted."""
        names = self._names
        values: list[float | int | None] = [None] * len(names)
        if counts is not None and counts.any():
            values = counts.tolist() if self.of == "voxels" else (100 * counts / counts.sum()).tolist()
        unit = "%" if self.of == "percent" else ""
        for name, value in zip(names, values, strict=True):
            yield Measured(label=label, quantity=name, value=value, unit=unit, flag=flag)


def _counted(values: NDArray[Any], edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """How many values `[n]` lie below, in each range and above, and how many are not finite.

    They are compared in double precision, in which whole numbers and float32 are what they were.
    """
    counts, lost = np.zeros(len(edges) + 1, np.int64), 0
    for start in range(0, len(values), CHUNK_VALUES):
        part = values[start : start + CHUNK_VALUES].astype(np.float64)
        finite = np.isfinite(part)
        lost += len(part) - int(np.count_nonzero(finite))
        places = np.searchsorted(edges, part[finite], side="right")
        counts += np.bincount(places, minlength=len(counts))
    return counts, lost
