"""The network `unet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from medseg.builtin.network.strides import Stride, divisor, per_axis
from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["Unet"]

Width = Annotated[int, Field(ge=1, le=4096)]


class Unet(Network):
    """U-Net with strided convolutions, plain or residual (MONAI's UNet).

    An encoder halves the resolution at each level, a decoder doubles it again, and each level hands its
    features across (Ronneberger et al., MICCAI 2015, 234-241; in 3-D Çiçek et al., MICCAI 2016, 424-432).
    MONAI's form has strided instead of pooled downsampling and, with `residual_units`, residual convolutions
    (Kerfoot et al., STACOM 2018, 371-380).
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)] = (32, 64, 128, 256)
    """Features at each level, from the full resolution down."""

    strides: tuple[Stride, ...] | None = None
    """Downsampling between levels, one fewer than levels: a number, or one per axis; 2 if left out."""

    residual_units: int = Field(default=0, ge=0, le=8)
    """Convolutions in each residual block; 0 for the plain network."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of features dropped in training."""

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        if self.strides is not None and len(self.strides) != len(self.channels) - 1:
            raise ValueError(
                f"{len(self.channels)} levels have {len(self.channels) - 1} strides between them"
            )
        return self

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """The product of the strides."""
        return divisor(self._strides, dims)

    @property
    def channels_last(self) -> bool:
        """It is faster so."""
        return True

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """MONAI's UNet with instance normalisation and PReLU."""
        from monai.networks.nets.unet import UNet

        return UNet(
            spatial_dims=dims,
            in_channels=inputs,
            out_channels=outputs,
            channels=self.channels,
            strides=per_axis(self._strides, dims),  # type: ignore[arg-type]  # one per axis is taken too
            num_res_units=self.residual_units,
            dropout=self.dropout,
        )

    @property
    def _strides(self) -> tuple[Stride, ...]:
        return self.strides or (2,) * (len(self.channels) - 1)
