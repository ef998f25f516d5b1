"""The cases that went worst, with all that it takes to draw them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from medseg.errors import MedsegError
from medseg.evaluation import Evaluated, Evaluation
from medseg.evaluation.labels import comparable
from medseg.evaluation.masks import read_pair
from medseg.evaluation.pairs import Pair
from medseg.evaluation.ranking import quantity_of
from medseg.io import read
from medseg.prediction import Measured
from medseg.report.case_scores import DICE, CaseScores, worst_first
from medseg.report.worst_case import WorstCase
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

__all__ = ["MOST_DRAWN", "ranked_by", "scores_of", "worst_cases"]

logger = logging.getLogger(__name__)

MOST_DRAWN = 5


def ranked_by(evaluation: Evaluation) -> tuple[str, Literal["high", "low"]]:
    """The metric by which cases are ordered, and which of its values are the better ones.

    Dice where it was asked for, else of the first metric whose rows say how good a case is; Dice without one.
    """
    rows = [row for case in evaluation.cases for row in case.rows]
    if not rows or any(row.quantity == DICE for row in rows):
        return DICE, "high"
    for number, metric in enumerate(evaluation.metrics):
        # rows do not say which metric they are of: what has another name is surely of the first one alone
        own = [row for row in rows if row.quantity.partition("@")[0] == metric.name]
        first = [row for row in rows if row.quantity == rows[0].quantity] if number == 0 else []
        quantity = quantity_of(metric, own or first)
        if quantity is not None:
            return quantity, metric.step.better
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
        scored = tuple(_by_dice(case, files[case.case], evaluation.labels) for case in evaluation.cases)
        metric, better = DICE, "high"
    for scores in worst_first(scored, metric, better)[:most]:
        prediction, reference = read_pair(files[scores.case], logger.debug)
        found, wanted = comparable(prediction, reference, evaluation.labels, logger.debug)
        volume = _ground((images or {}).get(scores.case), scores.case, wanted.grid)
        yield WorstCase(scores.case, "", volume, found, wanted, _dice(cases[scores.case], found, wanted))


def _by_dice(case: Evaluated, pair: Pair, labels: Collection[str] | None) -> CaseScores:
    """A case with Dice where nothing that was measured can order it; its masks are read for that."""
    found, wanted = comparable(*read_pair(pair, logger.debug), labels, logger.debug)
    dice = _dice(case, found, wanted)
    rows = [Measured(label=label, quantity=DICE, value=value) for label, value in dice.items()]
    return CaseScores(case.case, "", tuple(rows))


def _ground(image: Path | None, case: str, grid: Grid) -> Volume:
    """What to draw on; without an image that can be read, nothing, as all numbers are there already."""
    if image is not None:
        try:
            volume = read(image)
        except MedsegError as problem:
            logger.warning("case %s is drawn without its image: %s", case, problem)
        else:
            if volume.grid.unit == grid.unit:
                return volume
            logger.warning("case %s is drawn without its image, which is in %s", case, volume.grid.unit)
    return Volume(np.zeros((1, *grid.shape), np.uint8), grid)


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
