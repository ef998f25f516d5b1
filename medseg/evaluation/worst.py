"""The cases that went worst, with all that it takes to draw them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from medseg.errors import MedsegError
from medseg.evaluation import Evaluated, Evaluation
from medseg.evaluation.labels import comparable
from medseg.evaluation.masks import read_pair
from medseg.evaluation.pairs import Pair
from medseg.evaluation.ranking import quantity_of
from medseg.extent import extent
from medseg.io import read
from medseg.prediction import Measured
from medseg.report.case_scores import DICE, CaseScores, worst_first
from medseg.report.worst_case import WorstCase
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

__all__ = ["MOST_DRAWN", "ranked_by", "scores_of", "worst_cases"]

logger = logging.getLogger(__name__)

MOST_DRAWN = 5
BEYOND = 1.0  # voxels outside the image that masks may reach, a rim of resampling


def ranked_by(evaluation: Evaluation) -> tuple[str, Literal["high", "low"]]:
    """The metric by which cases are ordered, and which of its values are the better ones.

    Dice where it was asked for, else of the first metric whose rows say how good a case is; Dice without one.
    """
    by_metric = [
        (stage, [row for case in evaluation.cases for row in case.measured[number]])
        for number, stage in enumerate(evaluation.metrics)
    ]
    if any(row.quantity == DICE for _, rows in by_metric for row in rows):
        return DICE, "high"
    for stage, rows in by_metric:
        quantity = quantity_of(stage, rows)
        if quantity is not None:
            return quantity, stage.step.better
    return DICE, "high"


def scores_of(evaluation: Evaluation) -> tuple[CaseScores, ...]:
    """The cases as charts take them."""
    return tuple(CaseScores(case.case, "", case.rows) for case in evaluation.cases)


def worst_cases(
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    *,
    images: Mapping[str, Path] | None = None,
    most: int = MOST_DRAWN,
) -> Iterator[WorstCase]:
    """The worst cases first, read again one at a time; on a black ground where there is no image."""
    files = {pair.case: pair for pair in pairs}
    cases = {case.case: case for case in evaluation.cases}
    metric, better = ranked_by(evaluation)
    scored = scores_of(evaluation)
    if all(scores.mean(metric) is None for scores in scored):
        scored = tuple(_by_dice(case, files[case.case], evaluation) for case in evaluation.cases)
        metric, better = DICE, "high"
    for scores in worst_first(scored, metric, better)[:most]:
        found, wanted = _masks(files[scores.case], evaluation)
        image = (images or {}).get(scores.case)
        volume = _ground(image, scores.case, (found, wanted), evaluation.pixel_size)
        yield WorstCase(scores.case, "", volume, found, wanted, _dice(cases[scores.case], found, wanted))


def _masks(pair: Pair, evaluation: Evaluation) -> tuple[Segmentation, Segmentation]:
    """Prediction and reference as they were compared; what is to be said of them was said then."""
    size, objects = evaluation.pixel_size, evaluation.objects
    masks = read_pair(pair, logger.debug, pixel_size=size, objects=objects)
    return comparable(*masks, evaluation.labels, logger.debug)


def _by_dice(case: Evaluated, pair: Pair, evaluation: Evaluation) -> CaseScores:
    """A case with Dice where nothing that was measured can order it; its masks are read for that."""
    dice = _dice(case, *_masks(pair, evaluation))
    rows = [Measured(label=label, quantity=DICE, value=value) for label, value in dice.items()]
    return CaseScores(case.case, "", tuple(rows))


def _ground(
    image: Path | None, case: str, masks: tuple[Segmentation, Segmentation], pixel_size: float | None
) -> Volume:
    """What to draw on; without an image that can be used, nothing, as all numbers are there already."""
    if image is not None:
        try:
            volume = read(image, pixel_size=pixel_size)
        except MedsegError as problem:
            logger.warning("case %s is drawn without its image: %s", case, problem)
        else:
            unfit = _unfit(volume.grid, masks)
            if unfit is None:
                return volume
            logger.warning("case %s is drawn without its image, which %s", case, unfit)
    grid = masks[0].grid
    return Volume(np.zeros((1, *grid.shape), np.uint8), grid)


def _unfit(image: Grid, masks: tuple[Segmentation, Segmentation]) -> str | None:
    """Why masks cannot be drawn on an image; None where all of them lie in it."""
    grid = masks[0].grid
    if image.unit != grid.unit:
        return f"is in {image.unit}, not in {grid.unit}"
    box = extent(np.any([mask.array.any(axis=0) for mask in masks], axis=0))
    if box is not None:
        where = image.to_index(
            grid.cropped([side.start for side in box], [side.stop for side in box]).corners()
        )
        beyond = np.maximum(-0.5 - where, where - image.shape + 0.5)
        if beyond.max() > BEYOND:
            return "lies elsewhere, or holds a part of the masks only"
    return None


def _dice(case: Evaluated, found: Segmentation, wanted: Segmentation) -> dict[str, float | None]:
    """Dice of each label, as it was measured or, where it was not asked for, as it is."""
    measured = {row.label: row.value for row in case.rows if row.quantity == DICE and row.object is None}
    if measured:
        return {label: None if value is None else float(value) for label, value in measured.items()}
    sizes = {pair.label: pair.prediction + pair.reference for pair in case.volumes}
    voxel = wanted.grid.voxel_ml if wanted.grid.unit == "mm" else 1.0
    return {
        label: 2 * np.count_nonzero(found.mask(label) & wanted.mask(label)) * voxel / size if size else None
        for label, size in sizes.items()
    }
