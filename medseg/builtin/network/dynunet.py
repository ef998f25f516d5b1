"""The network `dynunet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medseg.builtin.network.strides import Stride, divisor, per_axis
from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["DynUnet"]

Width = Annotated[int, Field(ge=1, le=4096)]


class DynUnet(Network):
    """The U-Net of nnU-Net: two convolutions a level, instance normalisation, leaky ReLU (MONAI's DynUNet).

    Kernels and strides may differ by axis, for images with thick slices (Isensee et al., Nature Methods 18,
    2021, 203-211).
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=3, max_length=8)] = (32, 64, 128, 256)
    """Features at each level, from the full resolution down."""

    strides: tuple[Stride, ...] | None = None
    """Downsampling between levels, one fewer than levels: a number, or one per axis; 2 if left out."""

    kernels: tuple[Stride, ...] | None = None
    """Kernel of each level: a number, or one per axis; 3 everywhere if left out."""

    residual: bool = False
    """Residual blocks instead of plain ones."""

    deep_supervision: int = Field(default=0, ge=0)
    """Number of coarser outputs that are trained too, at most levels - 2: of the levels below the first."""

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        levels = len(self.channels)
        if self.strides is not None and len(self.strides) != levels - 1:
            raise ValueError(f"{levels} levels have {levels - 1} strides between them")
        if self.kernels is not None and len(self.kernels) != levels:
            raise ValueError(f"{levels} levels have {levels} kernels")
        if self.deep_supervision > levels - 2:
            raise ValueError(f"{levels} levels have {levels - 2} outputs below the full resolution")
        return self

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """The product of the strides."""
        return divisor(self._strides, dims)

    @property
    def channels_last(self) -> bool:
        """With plain blocks, whose normalisation keeps them there."""
        return not self.residual

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """MONAI's DynUNet; in training mode with deep supervision it gives a list, the finest first."""
        between = per_axis(self._strides, dims)
        parameters: dict[str, Any] = {
            "spatial_dims": dims,
            "in_channels": inputs,
            "out_channels": outputs,
            "kernel_size": per_axis(self.kernels or (3,) * len(self.channels), dims),
            "strides": [(1,) * dims, *between],
            "upsample_kernel_size": between,
            "filters": self.channels,
            "res_block": self.residual,
        }
        from medseg.builtin.network.instance_norm import join_activations

        if self.deep_supervision:
            from medseg.builtin.network.supervised_dynunet import SupervisedDynUNet

            return join_activations(SupervisedDynUNet(self.deep_supervision, **parameters))
        from monai.networks.nets.dynunet import DynUNet

        return join_activations(DynUNet(**parameters))

    @property
    def _strides(self) -> tuple[Stride, ...]:
        return self.strides or (2,) * (len(self.channels) - 1)
