"""MONAI's DynUNet with outputs at coarser resolutions, for training."""

from __future__ import annotations

from typing import Any

from monai.networks.nets.dynunet import DynUNet  # noqa: TID253 - imported when such a network is built
from torch import Tensor, nn  # noqa: TID253

__all__ = ["SupervisedDynUNet"]


class SupervisedDynUNet(DynUNet):
    """In training mode gives logits at `coarser` lower resolutions too; else it is DynUNet.

    MONAI's own deep supervision enlarges the coarse logits to the patch, which takes the memory of as many
    full outputs, and compares what interpolation made with the reference. Here they stay as they are. Their
    heads are called `supervision_heads`; all other weights have DynUNet's names.
    """

    def __init__(self, coarser: int, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.supervision_heads = nn.ModuleList(self.get_output_block(1 + level) for level in range(coarser))
        self.supervision_heads.apply(self.initialize_weights)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits `[N, C, *patch]`; in training mode a list of them, from the full resolution down."""
        if not self.training:
            logits: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # MONAI's
            return logits
        skips = [self.input_block(x)]
        for down in self.downsamples:
            skips.append(down(skips[-1]))
        features = [self.bottleneck(skips[-1])]
        for up, skip in zip(self.upsamples, reversed(skips), strict=True):
            features.append(up(features[-1], skip))
        finest, *coarser = reversed(features)
        heads = zip(self.supervision_heads, coarser, strict=False)  # the bottleneck has no head
        return [self.output_block(finest), *(head(level) for head, level in heads)]
