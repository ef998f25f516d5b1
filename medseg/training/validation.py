"""How good a network in training is: Dice of whole cases, on the grid that it sees.

Of labels, where a head tells their objects apart too: whether these are right is seen at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.pipeline import Stage, blamed
from medseg.prediction import Scores
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.training.prepared import PreparedCase
from medseg.training.recipe import Recipe

if TYPE_CHECKING:
    import torch

__all__ = ["Scored", "mean", "validated"]

Scored = dict[str, dict[str, float | None]]
"""A number for each label of each case; None where the label is in neither mask."""

OVERLAP = 0.25


def validated(
    network: torch.nn.Module,
    cases: Sequence[PreparedCase],
    *,
    recipe: Recipe,
    metric: Stage[Metric],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Scored:
    """Segment each case by sliding window and hold it against its labels."""
    import torch

    scored: Scored = {}
    was_training = network.training
    network.eval()
    try:
        for case in cases:
            with torch.inference_mode(), autocast():
                logits = _logits(network, case, recipe.patch, device)
            found = _decoded(logits, case, recipe)
            truth = Segmentation(np.asarray(case.labels), case.grid, recipe.labels)
            if case.valid is not None:
                found = found.replace(array=np.where(case.valid > 0, found.array, truth.array))
            with blamed(metric):
                rows = Metric.check(metric.step(found, truth), reference=truth)
            values = {row.label: row.value for row in rows if row.object is None}
            scored[case.id] = {
                label.name: float(value) if isinstance(value := values.get(label.name), int | float) else None
                for label in recipe.labels
            }
    finally:
        network.train(was_training)
    return scored


def _logits(
    network: torch.nn.Module, case: PreparedCase, patch: tuple[int, ...], device: torch.device
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`[C, i, j, k]` of a whole case, by MONAI's sliding window."""
    import torch
    from monai.inferers.utils import sliding_window_inference

    array = np.asarray(case.image)
    shape = array.shape[1:]
    short = [max(0, n - m) for n, m in zip((*patch, 1)[:3], shape, strict=True)]
    before = [n // 2 for n in short]
    padded = np.empty((len(array), *(n + m for n, m in zip(shape, short, strict=True))), np.float32)
    padded[:] = np.reshape(case.fill, (-1, 1, 1, 1))
    inside = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    padded[(slice(None), *inside)] = array
    image = torch.from_numpy(padded)
    flat = len(patch) == 2  # slices along k are a batch of pictures
    image = image.permute(3, 0, 1, 2) if flat else image[None]
    logits = sliding_window_inference(
        image,
        patch,
        4 if device.type == "cuda" else 1,
        network,
        OVERLAP,
        mode="gaussian",
        sw_device=device,
        device="cpu",
    )
    assert isinstance(logits, torch.Tensor)
    whole = logits.permute(1, 2, 3, 0) if flat else logits[0]
    found: np.ndarray[Any, np.dtype[np.float32]] = whole.float().numpy()[(slice(None), *inside)]
    return np.ascontiguousarray(found)


def _decoded(
    logits: np.ndarray[Any, np.dtype[np.float32]], case: PreparedCase, recipe: Recipe
) -> Segmentation:
    """What the head makes of the logits, on the model's grid."""
    with blamed(recipe.segment):
        sink = recipe.segment.step.head.sink(recipe.labels, grid=case.grid, axis=2, onto=case.grid)
        sink.take(Scores(logits, case.grid, "logits"), 0)
        found: Segmentation = sink.finish()
    return found.by_label()


def mean(scored: Scored, label: str | None = None) -> float | None:
    """The mean over cases of a label's numbers, or over labels of their means; None where there are none."""
    if label is not None:
        values = [case[label] for case in scored.values() if case.get(label) is not None]
        return float(np.mean(np.array(values, float))) if values else None
    names = dict.fromkeys(name for case in scored.values() for name in case)
    means = [value for name in names if (value := mean(scored, name)) is not None]
    return float(np.mean(means)) if means else None
