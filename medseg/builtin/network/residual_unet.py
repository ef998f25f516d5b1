"""The network `residual-unet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["ResidualUnet"]

Blocks = Annotated[int, Field(ge=1, le=32)]
Millimetres = Annotated[float, Field(gt=0)]


class ResidualUnet(Network):
    """U-Net with an encoder of residual blocks, several at each level (MONAI's SegResNetDS).

    The encoder is deep, and the decoder has one block at each level (Myronenko, BrainLes 2018, 311-320), here
    with instance normalisation. At the same memory such encoders are among the best in comparisons of U-Nets
    (Isensee et al., MICCAI 2024, 488-498).
    """

    channels: int = Field(default=32, ge=1, le=1024)
    """Features at the full resolution; each level has twice those of the one before."""

    blocks: Annotated[tuple[Blocks, ...], Field(min_length=2, max_length=8)] = (1, 2, 2, 4, 4)
    """Residual blocks of the encoder at each level, from the full resolution down."""

    spacing: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)] | None = None
    """Spacing in mm of the voxels it is for, one per axis: thick slices keep their resolution longer.

    An axis is halved once the others have become about as coarse; until then kernels have width 1 along it.
    Null to halve every axis at each level.
    """

    deep_supervision: int = Field(default=0, ge=0)
    """Number of coarser outputs that are trained too, at most levels - 2."""

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        if self.deep_supervision > len(self.blocks) - 2:
            raise ValueError(
                f"{len(self.blocks)} levels have {len(self.blocks) - 2} outputs below the full resolution"
            )
        return self

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """Two for each time that an axis is halved."""
        between = len(self.blocks) - 1
        if self.spacing is None:
            return (2**between,) * dims
        later = self._halvings(dims)
        return tuple(2 ** (min(n, between) + max(0, between - max(later))) for n in later)

    def _halvings(self, dims: int) -> tuple[int, ...]:
        """How often each axis is halved while the coarsest is not."""
        assert self.spacing is not None
        if len(self.spacing) != dims:
            raise ValueError(
                f"spacing {list(self.spacing)} is for {len(self.spacing)} axes, and the network has {dims}"
            )
        return tuple(int(n) for n in np.floor(np.log2(max(self.spacing) / np.array(self.spacing))))

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """MONAI's SegResNetDS; in training mode with deep supervision it gives a list, the finest first."""
        from monai.networks.nets.segresnet_ds import SegResNetDS

        self.divisor(dims=dims)  # refuses a spacing for another number of axes
        return SegResNetDS(
            spatial_dims=dims,
            init_filters=self.channels,
            in_channels=inputs,
            out_channels=outputs,
            norm="instance",
            blocks_down=self.blocks,
            dsdepth=1 + self.deep_supervision,
            resolution=self.spacing,
        )
