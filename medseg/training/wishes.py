"""What is asked of a training, who hears how it goes, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medseg.evaluation.summary import Statistics
from medseg.training.standing import Row

__all__ = ["Heard", "Trained", "Wishes"]


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a user asks of a training; what is None is planned, or stays as it was when the training began.

    `folds` of 1 is a single split with a share `validation` of cases (by subject) to validate with; more is
    cross-validation, of which `fold` names the one to train, None all. `validation` of 0 trains on all cases.
    `epochs` or `seconds` of the whole command is the budget. `resume` goes on with the training that is in
    the folder, `overwrite` begins anew.
    """

    pipeline: Path | None = None
    subjects: Path | None = None
    folds: int = 1
    fold: int | None = None
    validation: float = 0.2
    epochs: int | None = None
    seconds: float | None = None
    seed: int | None = None
    name: str | None = None
    resume: bool = False
    overwrite: bool = False


def _unheard(row: Row, fold: int) -> None:
    """Hear of an epoch, and say nothing."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Who hears how it goes: `tell` a line for people, `epoch` each row of the log with its fold."""

    tell: Callable[[str], object] = field(default=lambda line: None)
    epoch: Callable[[Row, int], object] = _unheard


@dataclass(frozen=True)
class Trained:
    """What came of it: the model, if all folds are done, its report, the metrics over validation cases.

    `missing` are the folds that are still to be trained; then there is no model yet.
    """

    model: Path | None
    report: Path | None
    measured: tuple[Statistics, ...] = ()
    missing: tuple[int, ...] = ()
