"""What segmenting and scoring the held-out cases will take, so that it does not eat up a time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

import numpy as np

from medseg.inference.windows import Windows
from medseg.pipeline import blamed, preprocess
from medseg.prediction import Scores
from medseg.training.appraisal import Appraiser
from medseg.training.dataset import Example, read_case
from medseg.training.prepared import PreparedCase
from medseg.training.recipe import Recipe
from medseg.volume import Grid

__all__ = ["network_s", "scoring_s", "watched"]

SHARE = 2  # voxels of a validation's windows, by those of an epoch's samples, which take three times as long
OVERLAP, NATIVE_OVERLAP = 0.25, 0.5  # of windows: while a network learns, and once it has


def watched(cases: Sequence[PreparedCase], recipe: Recipe) -> tuple[PreparedCase, ...]:
    """The cases that are scored while a network trains: all, or the first that take as long as an epoch.

    It does not depend on the clock. All are appraised once the network is trained.
    """
    window = recipe.segment.step.window_voxels
    most = (
        SHARE * recipe.spec.batch * recipe.spec.steps_per_epoch * math.prod(recipe.patch) / math.prod(window)
    )
    chosen: list[PreparedCase] = []
    for case in cases:
        most -= _windows([case], window, OVERLAP)
        if chosen and most < 0:
            break
        chosen.append(case)
    return tuple(chosen)


def network_s(cases: Iterable[PreparedCase], recipe: Recipe, device: str) -> float:
    """Seconds that the network will take with the cases at most, by the time of one window on this device."""
    import torch

    segmenter = recipe.segment.step
    windows = _windows(cases, segmenter.window_voxels, NATIVE_OVERLAP)
    if not windows:
        return 0.0
    network = segmenter.untrained(recipe.labels).to(device).eval()
    window = torch.zeros(1, segmenter.channels, *segmenter.window_voxels, device=device)
    taken = 0.0
    with torch.inference_mode():
        for _ in range(2):  # the first one prepares
            began = time.monotonic()
            network(window)
            if window.is_cuda:
                torch.cuda.synchronize(window.device)
            taken = time.monotonic() - began
    return windows * segmenter.copies * taken


def scoring_s(cases: Sequence[PreparedCase], recipe: Recipe, appraiser: Appraiser) -> float:
    """Seconds that appraising the cases will take at most besides the network, by what one of them takes.

    The first with a label is read and preprocessed once more, and one of its labels, of middling size, is
    scored with every post-processing that may be chosen: all labels together would take as long as what is
    being foreseen.
    """
    case = next((each for each in cases if any(each.counts)), None)
    if case is None:
        return 0.0
    began = time.monotonic()
    example = read_case(appraiser.dataset.case(case.id), appraiser.dataset)
    preprocess(recipe.preprocess, example.volume)
    once = time.monotonic() - began
    sizes = sorted(
        (count, label.name) for count, label in zip(case.counts, recipe.labels, strict=True) if count
    )
    label = appraiser.label_s(example, sizes[len(sizes) // 2][1])
    voxels = sum(math.prod(each.grid.shape) for each in cases) / math.prod(case.grid.shape)
    return voxels * (once + len(recipe.labels) * label + _decoding_s(case, example, recipe))


def _decoding_s(case: PreparedCase, example: Example, recipe: Recipe) -> float:
    """Seconds that the way from a case's scores to labels on its own grid takes, by one window's scores.

    0 where there are no scores: windows then give what is found in them.
    """
    head, labels = recipe.segment.step.scores_head, recipe.labels
    if head is None:
        return 0.0
    i, j, k = (min(n, m) for n, m in zip((*recipe.patch, 1)[:3], case.grid.shape, strict=True))
    grid = Grid((i, j, k), case.grid.affine, case.grid.unit)
    beside = grid.affine.copy()
    beside[:3, 3] += beside[:3, :2].sum(axis=1) / 4  # or there would be nothing to interpolate
    with blamed(recipe.segment):
        began = time.monotonic()
        sink = head.sink(labels, grid=grid, axis=2, onto=Grid(grid.shape, beside, grid.unit))
        sink.take(Scores(np.zeros((head.channels(labels), i, j, k), np.float32), grid, "logits"), 0)
        sink.finish()
        taken = time.monotonic() - began
    return taken * math.prod(example.volume.grid.shape) / (i * j * k)


def _windows(cases: Iterable[PreparedCase], window: tuple[int, ...], overlap: float) -> int:
    i, j, k = (*window, 1)[:3]
    return sum(len(Windows(case.grid.shape, (i, j, k), overlap)) for case in cases)
