"""What segmenting the held-out cases will take, so that it does not eat up a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Literal

from medseg.inference.windows import Windows
from medseg.training.prepared import PreparedCase
from medseg.training.recipe import Recipe
from medseg.training.validation import OVERLAP

__all__ = ["appraisal_s", "watched"]

SHARE = 2  # windows of a validation, by an epoch's samples, of which one takes three times as long
NATIVE_OVERLAP = 0.5


def watched(cases: Sequence[PreparedCase], recipe: Recipe) -> tuple[PreparedCase, ...]:
    """The cases that are scored while a network trains: all, or the first that take as long as an epoch.

    It does not depend on the clock. All are appraised once the network is trained.
    """
    most = SHARE * recipe.spec.batch * recipe.spec.steps_per_epoch
    chosen: list[PreparedCase] = []
    for case in cases:
        most -= _windows([case], recipe, OVERLAP)
        if chosen and most < 0:
            break
        chosen.append(case)
    return tuple(chosen)


def appraisal_s(cases: Iterable[PreparedCase], recipe: Recipe, device: str) -> float:
    """Seconds that segmenting the cases will take at most, by the time of one window on this device."""
    import torch

    windows = _windows(cases, recipe, NATIVE_OVERLAP)
    if not windows:
        return 0.0
    segmenter = recipe.segment.step
    dims: Literal[2, 3] = 2 if len(recipe.patch) == 2 else 3
    outputs = segmenter.head.channels(recipe.labels)
    network = segmenter.architecture.build(dims=dims, inputs=segmenter.channels, outputs=outputs)
    network = network.to(device).eval()
    window = torch.zeros(1, segmenter.channels, *recipe.patch, device=device)
    taken = 0.0
    with torch.inference_mode():
        for _ in range(2):  # the first one prepares
            began = time.monotonic()
            network(window).sum().item()
            taken = time.monotonic() - began
    passes: int = 2 ** len(getattr(segmenter, "mirror", ()))
    return windows * passes * taken


def _windows(cases: Iterable[PreparedCase], recipe: Recipe, overlap: float) -> int:
    i, j, k = (*recipe.patch, 1)[:3]
    return sum(len(Windows(case.grid.shape, (i, j, k), overlap)) for case in cases)
