"""The network `attention-unet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medseg.builtin.network.strides import divisor
from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["AttentionUnet"]

Width = Annotated[int, Field(ge=1, le=4096)]


class AttentionUnet(Network):
    """U-Net whose skip connections are gated by attention (MONAI's AttentionUnet).

    Coarse features decide which fine ones pass (Oktay et al., MIDL 2018): for organs that are small beside
    the image, such as the pancreas.
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)] = (32, 64, 128, 256)
    """Features at each level, from the full resolution down; each level halves every axis."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of features dropped in training."""

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """Two for each level below the first."""
        return divisor((2,) * (len(self.channels) - 1), dims)

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """MONAI's AttentionUnet."""
        from monai.networks.nets.attentionunet import AttentionUnet as MonaiAttentionUnet

        return MonaiAttentionUnet(
            spatial_dims=dims,
            in_channels=inputs,
            out_channels=outputs,
            channels=self.channels,
            strides=(2,) * (len(self.channels) - 1),
            dropout=self.dropout,
        )
