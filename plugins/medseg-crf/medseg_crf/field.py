"""The parameters of a field, which scores and labels share, and what it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from medseg.errors import GeometryError, InputError
from medseg.steps import Step
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    import torch

__all__ = ["FieldParameters", "improved", "margin_mm", "work_bytes"]

REACH = 2.0  # SDs of the wider kernel; beyond it lies a seventh of a neighbour's say
SQUARE = 1e-3  # cosine of the angle between two axes; less is rounding
FLOAT = 4  # bytes


class FieldParameters(Step):
    """How far the kernels reach, and what they weigh."""

    libraries: ClassVar[Mapping[str, int]] = {"torch": 240 << 20}

    intensity: float = Field(gt=0)
    """Standard deviation of the appearance kernel in the image's own unit, as this step gets the image: after
    `preprocess` for scores, as read for labels. Twice the noise is a good start."""

    appearance_mm: float = Field(default=8.0, gt=0, le=1000)
    """Standard deviation of the appearance kernel in mm: how far voxels of like intensity are heard."""

    appearance_weight: float = Field(default=3.0, ge=0, le=1000)
    """How much voxels of like intensity count: the change of a logit if all of them agree."""

    smooth_mm: float = Field(default=1.5, gt=0, le=1000)
    """Standard deviation of the smoothness kernel in mm, whatever the intensities."""

    smooth_weight: float = Field(default=1.0, ge=0, le=1000)
    """How much near voxels count, whatever their intensity."""

    iterations: int = Field(default=5, ge=1, le=1000)
    """Updates of the mean field."""

    channel: int = Field(default=0, ge=0, le=1023)
    """Which channel of the image the appearance kernel looks at, counted from 0."""

    backend: Literal["torch", "pydensecrf"] = "torch"
    """What computes it: medseg-crf itself, or pydensecrf2 where it is installed; results differ a little."""

    @field_validator("backend")
    @classmethod
    def _is_installed(cls, backend: str) -> str:
        if backend == "pydensecrf" and find_spec("pydensecrf") is None:
            raise ValueError("pydensecrf is not there: pip install 'medseg-crf[pydensecrf]', or take torch")
        return backend


def margin_mm(parameters: FieldParameters) -> float:
    """How far a voxel is heard."""
    wide = parameters.appearance_mm if parameters.appearance_weight else 0.0
    near = parameters.smooth_mm if parameters.smooth_weight else 0.0
    return REACH * max(wide, near)


def work_bytes(parameters: FieldParameters, channels: int, grid: Grid, voxels: int | None = None) -> int:
    """What the field takes beside what it is given: its state, what is heard, and the cells of the kernel.

    Of a whole grid, or of any part of it of at most so many voxels.
    """
    from medseg_crf.bilateral_grid import most_cells
    from medseg_crf.lattice import CHANNEL_BYTES, VOXEL_BYTES

    voxels = math.prod(grid.shape) if voxels is None else voxels
    if parameters.backend == "pydensecrf":
        return voxels * (VOXEL_BYTES + CHANNEL_BYTES * channels)
    wide = tuple(parameters.appearance_mm / step for step in grid.spacing)
    cells = most_cells(grid.shape, wide, voxels) if parameters.appearance_weight else 0
    return FLOAT * (voxels * (4 * channels + 8) + 5 * cells)


def improved(
    parameters: FieldParameters,
    logits: NDArray[Any],
    volume: Volume,
    *,
    exclusive: bool,
    step: str,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Logits `[C, i, j, k]` after the field has settled, on the grid of `volume`.

    PyTorch computes it in the memory of `device`; what comes in and goes out lies in that of the processor.
    """
    _check(parameters, volume, step)
    if parameters.backend == "pydensecrf":
        from medseg_crf.lattice import settled

        kernels_of = partial(_features, parameters, volume)
        unary_of = np.asarray(logits, np.float32)
        return settled(unary_of, kernels_of, iterations=parameters.iterations, exclusive=exclusive)
    import torch

    from medseg_crf.mean_field import mean_field

    grid = volume.grid
    unary = torch.from_numpy(np.array(logits, np.float32)).to(device)
    kernels = _kernels(parameters, volume.array[parameters.channel], grid, device)
    with torch.no_grad():
        found = mean_field(unary, kernels, iterations=parameters.iterations, exclusive=exclusive)
    result: NDArray[np.float32] = found.cpu().numpy()
    return result


def _kernels(
    parameters: FieldParameters, image: NDArray[Any], grid: Grid, device: str = "cpu"
) -> list[tuple[float, Any]]:
    """Weights and kernels, those without weight left out."""
    import torch

    from medseg_crf.bilateral_grid import BilateralGrid
    from medseg_crf.gaussian import Gaussian

    kernels: list[tuple[float, Any]] = []
    if parameters.smooth_weight:
        near = tuple(parameters.smooth_mm / step for step in grid.spacing)
        kernels.append((parameters.smooth_weight, Gaussian(near)))
    if parameters.appearance_weight:
        wide = tuple(parameters.appearance_mm / step for step in grid.spacing)
        values: torch.Tensor = torch.from_numpy(np.array(image, np.float32)).to(device)
        kernels.append((parameters.appearance_weight, BilateralGrid(values, wide, parameters.intensity)))
    return kernels


def _features(parameters: FieldParameters, volume: Volume) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Weights, and features `[feature, voxel]` in units of their SD: places, for one kernel intensity too."""
    if parameters.smooth_weight:
        yield parameters.smooth_weight, _places(volume.grid, parameters.smooth_mm)
    if parameters.appearance_weight:
        image = volume.array[parameters.channel].reshape(1, -1).astype(np.float32)
        image /= np.float32(parameters.intensity)
        yield (
            parameters.appearance_weight,
            np.concatenate([_places(volume.grid, parameters.appearance_mm), image]),
        )


def _places(grid: Grid, sd_mm: float) -> NDArray[np.float32]:
    """Where voxels lie `[axis, voxel]`, in units of the SD, along the axes that have more than one."""
    found = [
        np.broadcast_to(
            np.arange(count, dtype=np.float32).reshape([-1 if n == axis else 1 for n in range(3)])
            * np.float32(mm / sd_mm),
            grid.shape,
        ).reshape(-1)
        for axis, (count, mm) in enumerate(zip(grid.shape, grid.spacing, strict=True))
        if count > 1
    ]
    return np.stack(found) if found else np.zeros((0, math.prod(grid.shape)), np.float32)


def _check(parameters: FieldParameters, volume: Volume, step: str) -> None:
    """Refuse images whose voxels have no mm or lean, or that lack the channel."""
    grid = volume.grid
    grid.require_mm(f"appearance_mm of {step}")
    if parameters.channel >= len(volume.channels):
        raise InputError(
            f"channel {parameters.channel} of {step} is not there: the image has {len(volume.channels)}, "
            "counted from 0"
        )
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > SQUARE:
        raise GeometryError(
            f"{step} needs axes at right angles; this image's lean, as in a tilted CT. "
            f"Leave {step} out of the pipeline, or resample before it."
        )
