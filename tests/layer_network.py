"""A small network of convolutions with random weights, which runs out of memory when it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch  # noqa: TID253
from saved_weights import saved

from medseg import Label, LabelTable
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.steps import Network

__all__ = ["APART", "LABELS", "Layer", "network"]

LABELS = LabelTable((Label(1, "a"), Label(2, "b"), Label(300, "c")))
APART = LabelTable((Label(1, "a"), Label(2, "b", layer=1), Label(3, "c", layer=1)))


class Layer(torch.nn.Module):
    """Two convolutions; `fails` are the calls on `device` that run out of memory."""

    fails: tuple[int, ...] = ()
    device = "cuda"
    calls = 0

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv3d(inputs, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv3d(16, outputs, 3, padding=1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Layer.calls += images.device.type == Layer.device
        if images.device.type == Layer.device and Layer.calls in Layer.fails:
            raise torch.OutOfMemoryError("no memory left")
        logits: torch.Tensor = self.layers(images)
        return logits


class LayerNetwork(Network):
    """Builds it."""

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        return (1,) * dims

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        return Layer(inputs, outputs)


def network(folder: Path, *, labels: LabelTable = LABELS, members: int = 1, **more: Any) -> NetworkSegmenter:
    """A segmenter with weights in a folder, bound to its labels; `more` are its parameters."""
    head = Softmax() if labels is LABELS else Sigmoid()
    weights = [
        saved(LayerNetwork(), folder, seed=seed, outputs=head.channels(labels)) for seed in range(members)
    ]
    found = NetworkSegmenter.model_validate(
        {"architecture": LayerNetwork(), "head": head, "weights": weights, "window": {"patch": [16, 16, 16]}}
        | more
    )
    return found.bound(labels=labels, folder=folder)
