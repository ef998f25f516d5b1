"""How good a network in training is: Dice of whole cases, on the grid that it sees.

Of labels, where a head tells their objects apart too: whether these are right is seen at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.pipeline import Stage, blamed
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.training.prepared import PreparedCase
from medseg.training.recipe import Recipe
from medseg.volume import Volume

if TYPE_CHECKING:
    import torch

__all__ = ["Scored", "mean", "validated"]

Scored = dict[str, dict[str, float | None]]
"""A number for each label of each case; None where the label is in neither mask."""


def validated(
    network: torch.nn.Module,
    cases: Sequence[PreparedCase],
    *,
    recipe: Recipe,
    metric: Stage[Metric],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Scored:
    """Let the segmenter say what the network makes of each case, and hold it against the case's labels."""
    import torch

    def forward(images: torch.Tensor) -> Any:
        with autocast():
            return network(images)

    scored: Scored = {}
    was_training = network.training
    network.eval()
    try:
        for case in cases:
            with blamed(recipe.segment), torch.inference_mode():
                found = recipe.segment.step.segmented(
                    forward, _volume(case), labels=recipe.labels, device=device
                ).by_label()
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


def _volume(case: PreparedCase) -> Volume:
    return Volume(np.asarray(case.image), case.grid, case.channels)


def mean(scored: Scored, label: str | None = None) -> float | None:
    """The mean over cases of a label's numbers, or over labels of their means; None where there are none."""
    if label is not None:
        values = [case[label] for case in scored.values() if case.get(label) is not None]
        return float(np.mean(np.array(values, float))) if values else None
    names = dict.fromkeys(name for case in scored.values() for name in case)
    means = [value for name in names if (value := mean(scored, name)) is not None]
    return float(np.mean(means)) if means else None
