"""A network and a head in training: the loss of a step, and what the network makes of a whole image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import PluginError
from medseg.prediction import Scores
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head
from medseg.volume import Volume

if TYPE_CHECKING:
    import torch

__all__ = ["loss_over_scales", "slid_over"]

OVERLAP = 0.25  # of windows, where a network is looked at while it learns


def loss_over_scales(
    network: torch.nn.Module,
    batch: Mapping[str, Any],
    *,
    head: Head,
    labels: LabelTable,
    spacing: tuple[float, ...],
    loss: Callable[..., torch.Tensor],
) -> torch.Tensor:
    """The mean of a loss over the scales that a network gives: half the weight at half the size."""
    import torch

    with torch.no_grad():
        objects = {"objects": batch["objects"]} if head.of_objects else {}
        target = head.targets(batch["labels"], labels, spacing=spacing, **objects)
    outputs = _scales(network(batch["image"]))
    weights = [0.5**level for level in range(len(outputs))]
    total: torch.Tensor | float = 0.0
    for weight, logits in zip(weights, outputs, strict=True):
        parts = _at_scale(tuple(logits.shape[2:]), target, batch, head)
        total = total + weight / sum(weights) * loss(logits, *parts)
    assert isinstance(total, torch.Tensor)  # there is a scale
    return total


def _scales(outputs: object) -> Sequence[torch.Tensor]:
    """What a network gave in training as a list, the full resolution first."""
    import torch

    found = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    if (
        not isinstance(found, list | tuple)
        or not found
        or not all(isinstance(each, torch.Tensor) for each in found)
    ):
        raise PluginError(f"gave {type(outputs).__name__}, not logits or a list of them")
    return found


def _at_scale(
    size: tuple[int, ...], target: torch.Tensor, batch: Mapping[str, Any], head: Head
) -> tuple[torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor]]:
    """What the loss takes beside an output of this size: target, where it is known, maps."""
    from torch.nn.functional import interpolate

    valid, maps = batch["valid"], batch["maps"]
    if target.shape[2:] == size:
        return target, valid, maps
    return (
        head.at_scale(target, size),
        interpolate(valid, list(size), mode="nearest-exact"),
        {name: interpolate(values, list(size), mode="area") for name, values in maps.items()},
    )


def slid_over(
    forward: Callable[[torch.Tensor], Any],
    volume: Volume,
    *,
    head: Head,
    labels: LabelTable,
    patch: tuple[int, ...],
    device: torch.device,
) -> Segmentation:
    """What a head makes of the scores of a network that is slid over an image, on the image's own grid."""
    logits = _logits(forward, volume.array, patch, device)
    sink = head.sink(labels, grid=volume.grid, axis=2, onto=volume.grid)
    sink.take(Scores(logits, volume.grid, "logits"), 0)
    found: Segmentation = sink.finish()
    return found


def _logits(
    forward: Callable[[torch.Tensor], Any], array: NDArray[Any], patch: tuple[int, ...], device: torch.device
) -> NDArray[np.float32]:
    """`[C, i, j, k]` of a whole image, by MONAI's sliding window."""
    import torch
    from monai.inferers.utils import sliding_window_inference

    shape = array.shape[1:]
    short = [max(0, n - m) for n, m in zip((*patch, 1)[:3], shape, strict=True)]
    before = [n // 2 for n in short]
    padded = np.empty((len(array), *(n + m for n, m in zip(shape, short, strict=True))), np.float32)
    padded[:] = array.min(axis=(1, 2, 3)).reshape(-1, 1, 1, 1)
    inside = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    padded[(slice(None), *inside)] = array
    image = torch.from_numpy(padded)
    flat = len(patch) == 2  # slices along k are a batch of pictures
    image = image.permute(3, 0, 1, 2) if flat else image[None]
    logits = sliding_window_inference(
        image,
        patch,
        4 if device.type == "cuda" else 1,
        forward,
        OVERLAP,
        mode="gaussian",
        sw_device=device,
        device="cpu",
    )
    assert isinstance(logits, torch.Tensor)
    whole = logits.permute(1, 2, 3, 0) if flat else logits[0]
    found: NDArray[np.float32] = whole.float().numpy()[(slice(None), *inside)]
    return np.ascontiguousarray(found)
