"""How good a network in training is: Dice of whole cases, on the grid that it sees.

Where objects are told apart also how many of them are right, by what was decoded for the Dice anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.pipeline import Stage, blamed
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.training.prepared import PreparedCase
from medseg.training.recipe import Recipe
from medseg.volume import Volume

if TYPE_CHECKING:
    import torch

__all__ = ["Scored", "Validation", "mean", "validated"]

Scored = dict[str, dict[str, float | None]]
"""A number for each label of each case; None where the label is in neither mask."""


class Validation(NamedTuple):
    """What the cases came to: the Dice of labels and, where it was asked for, a number for their objects."""

    dice: Scored
    objects: Scored


def validated(  # noqa: PLR0913 - all but two are named
    network: torch.nn.Module,
    cases: Sequence[PreparedCase],
    *,
    recipe: Recipe,
    metric: Stage[Metric],
    objects: Stage[Metric] | None = None,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Validation:
    """Let the segmenter say what the network makes of each case, and hold it against the case's labels.

    `objects` is a metric of objects, for cases that have them.
    """
    import torch

    def forward(images: torch.Tensor) -> Any:
        with autocast():
            return network(images)

    found = Validation({}, {})
    was_training = network.training
    network.eval()
    try:
        for case in cases:
            with blamed(recipe.segment), torch.inference_mode():
                own = recipe.segment.step.segmented(
                    forward, _volume(case), labels=recipe.labels, device=device
                )
            truth = Segmentation(np.asarray(case.labels), case.grid, recipe.labels)
            found.dice[case.id] = _scored(metric, _where_known(own.by_label(), case, truth.array), truth)
            if objects is not None and case.objects is not None:
                ids, labels = np.asarray(case.objects), truth.array
                truth = Segmentation.from_objects(ids, labels, case.grid, recipe.labels)
                pair = (_where_known(each, case, 0) for each in (own, truth))
                found.objects[case.id] = _scored(objects, *pair)
    finally:
        network.train(was_training)
    return found


def _where_known(found: Segmentation, case: PreparedCase, elsewhere: NDArray[Any] | int) -> Segmentation:
    if case.valid is None:
        return found
    array = np.where(case.valid > 0, found.array, elsewhere)
    return found.replace(array=array.astype(found.array.dtype))


def _scored(metric: Stage[Metric], found: Segmentation, truth: Segmentation) -> dict[str, float | None]:
    """The metric's last number of each label."""
    with blamed(metric):
        rows = Metric.check(metric.step(found, truth), reference=truth)
    values = {row.label: row.value for row in rows if row.object is None}
    return {
        label.name: float(value) if isinstance(value := values.get(label.name), int | float) else None
        for label in truth.labels
    }


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
