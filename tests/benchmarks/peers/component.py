"""The benchmarks' networks as a component, so that a pipeline file can name them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from medseg.plugin.catalog import Catalog, Entry, discover
from medseg.plugin.component import Component
from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["BenchUnet", "catalog"]


class BenchUnet(Network):
    """A plain U-Net."""

    net: Literal["micro", "light", "big"]
    """Which of `nets.FEATURES`."""

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """Two for each level below the first."""
        from benchmarks.peers.nets import FEATURES

        return (2 ** (len(FEATURES[self.net]) - 1),) * dims

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """The module that the peers get too."""
        from benchmarks.peers.nets import FEATURES, UNet

        assert (dims, inputs) == (3, 1)
        return UNet(FEATURES[self.net], outputs)


def catalog() -> Catalog:
    """What is installed, and the benchmarks' networks."""
    component = Component("bench-unet", "benchmarks.peers.component:BenchUnet", "A plain U-Net.")
    entry = Entry("network", component, "medseg-benchmarks", "0")
    found = discover()
    return replace(found, entries=(*found.entries, entry))
