"""Sums over neighbours weighted by Gaussians of distance and of intensity: a grid of four axes.

Voxels are spread onto a coarse grid of place and intensity, which is blurred one axis after the other and
read again at the voxels (J. Chen, S. Paris, F. Durand, SIGGRAPH 2007). All voxels hear all others, whatever
the SDs, in a time that hardly depends on them; weights are never negative. A window over the neighbours would
be cut off, and takes as many sums as it has voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from medseg_crf.gaussian import blurred

if TYPE_CHECKING:
    import torch

__all__ = ["MOST_CELLS", "BilateralGrid", "most_cells"]

MOST_CELLS = 1 << 24  # numbers in the coarse grid: where there would be more it is coarser, up to COARSEST
FINEST = 0.5  # SDs between two cells
COARSEST = 1.5  # beyond it, reading between cells alone would blur by more than the SD
MOST_SDS = 24.0  # intensities further than this from the median are taken to be alike
AT_ONCE = 1 << 22  # numbers of planes at work at once


class BilateralGrid:
    """The kernel exp(-|a - b|^2 / 2 SD^2 - (I_a - I_b)^2 / 2 intensity^2) between voxels of an image.

    `sd` is in voxels along i, j, k; `image[i, j, k]` and `intensity` are in one unit.
    """

    def __init__(self, image: torch.Tensor, sd: Sequence[float], intensity: float) -> None:
        import torch

        self._shape = tuple(image.shape)
        middle = image.median()
        held = image.clamp(middle - MOST_SDS * intensity, middle + MOST_SDS * intensity)
        low = held.min()
        spread = float(held.max() - low) / intensity
        fineness = FINEST
        while True:
            steps, cells, bins = _cells(self._shape, sd, spread, fineness)
            if math.prod(cells) * bins <= MOST_CELLS or fineness >= COARSEST:
                break
            fineness += 0.125
        self._steps, self._cells_shape = steps, (cells[0], bins, cells[1], cells[2])
        self._level = (held - low) / (intensity * fineness)  # of each voxel, in cells
        self._blurs = [_blur(n, step) for n, step in zip(sd, steps, strict=True)]
        # between two cells a level is read at a random place: the mean of f (1 - f) is 1/6
        level = 1 / fineness
        self._blurs.insert(1, _narrowed(level, 2 / 6))
        self._device = image.device
        assert self._level.dtype is torch.float32

    @property
    def cells(self) -> int:
        """How many numbers the coarse grid has."""
        return math.prod(self._cells_shape)

    def heard(self, values: torch.Tensor) -> torch.Tensor:
        """For each voxel of `values[C, i, j, k]` the weighted sum over all voxels, itself included."""
        import torch

        return torch.cat([self._one(values[n : n + 1]) for n in range(len(values))])

    def _one(self, values: torch.Tensor) -> torch.Tensor:
        """One channel `[1, i, j, k]`."""
        import torch

        cells = self._spread(values[0])
        for axis, (sd, height) in enumerate(self._blurs):
            if cells.shape[axis] > 1:
                cells = blurred(cells, axis=axis, sd=sd, height=height)
        found = torch.empty_like(values)
        for planes, where, lower, share in self._planes():
            near = (
                cells[lower] if not share.any() else torch.lerp(cells[lower], self._next(cells, lower), share)
            )
            found[0, planes] = _sampled(near[:, None], where)[:, 0, 0]
        return found

    def _spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values `[i, j, k]` added to the cells around them, with the shares that reading would use."""
        import torch

        cells = torch.zeros(self._cells_shape, device=self._device)
        for planes, where, lower, share in self._planes():
            near = _unsampled(values[planes][:, None, None], where, self._cells_shape[1:])[:, 0]
            cells.index_add_(0, lower, near * (1 - share))
            if share.any():
                upper = (lower + 1).clamp(max=len(cells) - 1)
                cells.index_add_(0, upper, near * share)
        return cells

    def _next(self, cells: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
        return cells[(lower + 1).clamp(max=len(cells) - 1)]

    def _planes(self) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Some planes along i at a time, where their voxels lie among cells, and between which layers."""
        import torch

        _, bins, rows, columns = self._cells_shape
        _, height, width = self._shape
        count = max(2, AT_ONCE // max(bins * rows * columns, 3 * height * width))
        row = _from_minus_one(torch.arange(height, device=self._device) / self._steps[1], rows)
        column = _from_minus_one(torch.arange(width, device=self._device) / self._steps[2], columns)
        for start in range(0, self._shape[0], count):
            planes = slice(start, min(start + count, self._shape[0]))
            level = _from_minus_one(self._level[planes], bins)
            across, down = column.expand_as(level), row[:, None].expand_as(level)
            where = torch.stack([across, down, level], dim=-1)[:, None]
            place = torch.arange(planes.start, planes.stop, device=self._device)
            lower = place // self._steps[0]
            share = (place % self._steps[0]).float() / self._steps[0]
            yield planes, where, lower, share[:, None, None, None]


def most_cells(shape: Sequence[int], sd: Sequence[float], voxels: int) -> int:
    """How many cells any image of this shape may need, or a part of it of so many voxels.

    Narrow kernels may need more than MOST_CELLS: cells that are further apart than COARSEST would make the
    kernel another one, so more are taken, and whoever plans memory has to know.
    """
    finest, coarsest = (
        min(math.prod(cells), voxels) * bins
        for _, cells, bins in (_cells(shape, sd, 2 * MOST_SDS, fineness) for fineness in (FINEST, COARSEST))
    )
    return max(min(MOST_CELLS, finest), coarsest)


def _cells(
    shape: Sequence[int], sd: Sequence[float], spread: float, fineness: float
) -> tuple[list[int], list[int], int]:
    """Voxels between two cells along i, j, k, cells along them, and how many cells intensities need."""
    steps = [max(1, int(n * fineness)) if size > 1 else 1 for n, size in zip(sd, shape, strict=True)]
    cells = [math.ceil((size - 1) / step) + 1 for size, step in zip(shape, steps, strict=True)]
    return steps, cells, int(spread / fineness) + 2


def _blur(sd: float, step: int) -> tuple[float, float]:
    """SD in cells and height of the blur along an axis of place, where a cell is so many voxels.

    Spreading and reading blur too: at m of `step` voxels between two cells the variance is m (step - m), in
    the mean over m (step^2 - 1) / 6, each.
    """
    return _narrowed(sd / step, 2 * (step**2 - 1) / (6 * step**2))


def _narrowed(sd: float, variance: float) -> tuple[float, float]:
    """What is left to blur of an SD after so much variance, and how high so that the sum stays the same."""
    left = math.sqrt(max(sd**2 - variance, 0.04 * sd**2))
    return left, sd / left


def _from_minus_one(place: torch.Tensor, size: int) -> torch.Tensor:
    """Places in cells as `grid_sample` counts: -1 is the centre of the first cell, 1 of the last."""
    return place * (2 / max(size - 1, 1)) - 1


def _sampled(cells: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """`cells[N, 1, D, H, W]` read at `where[N, 1, h, w, 3]`."""
    from torch.nn.functional import grid_sample

    return grid_sample(cells, where, mode="bilinear", padding_mode="border", align_corners=True)


def _unsampled(values: torch.Tensor, where: torch.Tensor, cells: Sequence[int]) -> torch.Tensor:
    """`values[N, 1, 1, h, w]` spread onto cells `[N, 1, D, H, W]`: the adjoint of reading there."""
    import torch

    with torch.enable_grad():
        empty = torch.zeros((len(values), 1, *cells), device=values.device, requires_grad=True)
        (spread,) = torch.autograd.grad(_sampled(empty, where), empty, values)
    return spread
