"""Parameters of steps after the network, fitted on cases with a reference: `medseg tune`.

The network runs once for each case. What it found is kept on disk, its scores too where there are refiners;
each candidate only refines, post-processes and is scored anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medseg.errors import InputError, MedsegError, UsageError
from medseg.evaluation import evaluate, metrics_named
from medseg.evaluation.cube import cube
from medseg.evaluation.summary import ALL_LABELS, summarise
from medseg.model import find_model
from medseg.pipeline import Stage
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Resources
from medseg.run.case import Setup, memory_as_resource, processors
from medseg.steps import Metric, ScoreMetric
from medseg.training.dataset import Case, open_dataset
from medseg.training.trials import Rows, Trials, cases_to_tune_on, common_labels, require_quantity
from medseg.training.tuned_model import require_place, staged_model, write_tuned
from medseg.training.variations import Choice, Variations, in_words, parse, variations

__all__ = ["MOST", "Standing", "Tried", "Tuned", "record", "search", "standing", "tune"]

MOST = 64  # combinations that are all tried
NOWHERE = "absent from both"  # the flag of a label that neither mask has
LEAST_GAIN = 1e-9  # less is rounding
Better = Literal["high", "low"]
Score = Callable[[Sequence[Choice]], dict[Choice, tuple[Rows, ...]]]
"""Scores candidates: for each, the rows of every case."""


@dataclass(frozen=True)
class Standing:
    """How good a candidate is: the mean over labels of the metric's means over cases (None: no number).

    `missing` counts labels of cases that have no number though the label is in one of the two masks, as a
    distance to what was not found: fewer of them come first, whatever the mean, as it would gain by what it
    leaves out.
    """

    mean: float | None
    missing: int

    def above(self, other: Standing, better: Better) -> bool:
        """Whether it is the better one, by more than rounding."""
        if self.missing != other.missing or self.mean is None or other.mean is None:
            return self.missing < other.missing and self.mean is not None
        gain = self.mean - other.mean
        return (gain if better == "high" else -gain) > LEAST_GAIN


def standing(cases: Iterable[Rows]) -> Standing:
    """How good the rows of one quantity are."""
    every = list(cases)
    missing = sum(row.value is None and row.flag != NOWHERE for rows in every for row in rows)
    means = [row.mean for row in summarise(every) if row.label == ALL_LABELS]
    return Standing(means[0] if means else None, missing)


@dataclass(frozen=True)
class Tried:
    """A candidate: its values, in the order of what is varied, the rows of each case, how good they are."""

    choice: Choice
    values: tuple[object, ...]
    rows: tuple[Rows, ...]
    standing: Standing


@dataclass(frozen=True)
class Tuned:
    """What a tuning found: all that was tried, the file's own values first, and the best of it.

    `without` is what is to be expected of new cases: each subject's cases scored with what is best on all
    others' alone (None with a single subject). `notes` are lines on what was decided.
    """

    variations: Variations
    tried: tuple[Tried, ...]
    best: Tried
    metric: str
    unit: str
    better: Better
    dataset: str
    cases: tuple[Case, ...]
    how: str
    without: Standing | None
    notes: tuple[str, ...]

    @property
    def own(self) -> Tried:
        """The file's own values."""
        return self.tried[0]

    @property
    def ranked(self) -> tuple[Tried, ...]:
        """All that was tried, the best first; of equals what was tried first."""
        sign = -1 if self.better == "high" else 1

        def key(tried: Tried) -> tuple[int, float]:
            mean = tried.standing.mean
            return tried.standing.missing, np.inf if mean is None else round(sign * mean / LEAST_GAIN)

        return (self.best, *(each for each in sorted(self.tried, key=key) if each is not self.best))


def tune(  # noqa: PLR0913 - the front door: all but what it works on are named
    model: str | Path,
    dataset: str | Path,
    out: str | Path,
    *,
    vary: Sequence[str],
    metric: str = "dice",
    cases: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resources: Resources | None = None,
) -> Tuned:
    """Try values of parameters on labelled cases, and write the model with the best of them.

    `vary` are texts as `postprocess[1].below_ml=0.1,0.5`. All combinations are tried where they are at most
    64; else one parameter at a time, in an order drawn by `seed`, until none gains. The file's own values
    are always tried, and win ties. `cases` limits how many are used, drawn by `seed`; those that the dataset
    calls validation cases are taken where there are any, else all with a reference.

    The file of a lone pipeline file is written, of a model folder a whole folder. Raises PipelineError with
    the place where a parameter or value is wrong, UsageError where something else cannot be meant, before an
    image is read.
    """
    catalog = discover()
    varied = variations(find_model(model, catalog), [parse(text) for text in vary], catalog)
    if varied.count == 1:
        raise UsageError("--vary: names no other values than the pipeline's own")
    stage = _metric(metric, catalog)
    require_place(varied, Path(out))
    data = open_dataset(dataset)
    chosen, notes = cases_to_tune_on(data, cases, seed)
    labels, said = common_labels(varied.own.labels, data.labels)
    if len(data.inputs) != len(varied.own.inputs):
        raise UsageError(f"the dataset has {len(data.inputs)} inputs, the model {len(varied.own.inputs)}")
    setup = Setup(model=varied.model, pipeline=varied.own, resources=resources or Resources())
    with (
        memory_as_resource(),
        processors(setup.resources.threads),
        staged_model(varied.model, Path(out), overwrite=overwrite) as staged,
        setup.opened() as predictor,
    ):
        again = varied.count > MOST
        trials = Trials(varied, data, chosen, stage, labels, predictor, setup.resources, again=again)
        rows, how = search(varied, trials.score, better=stage.step.better, seed=seed)
        tuned = _tuned(trials, rows, how=how, notes=(*notes, *said))
        write_tuned(varied, tuned.best.choice, record(tuned), staged)
    return tuned


def search(
    varied: Variations, score: Score, *, better: Better, seed: int
) -> tuple[dict[Choice, tuple[Rows, ...]], str]:
    """The rows of all candidates that were tried, the file's own first, and in words how they were chosen."""
    if varied.count <= MOST:
        return score(list(varied.all())), f"all {varied.count} combinations"
    tried: dict[Choice, tuple[Rows, ...]] = {}
    best: Choice = (0,) * len(varied.varied)
    random = np.random.default_rng(seed)
    gained = True
    while gained:
        before = best
        for axis in map(int, random.permutation(len(varied.varied))):
            line = [(*best[:axis], n, *best[axis + 1 :]) for n in range(len(varied.varied[axis].values))]
            tried |= score([choice for choice in line if choice not in tried])
            best = _best({choice: tried[choice] for choice in (best, *line)}, better)
        gained = best != before
    tried = {(0,) * len(best): tried[(0,) * len(best)], **tried}
    return tried, (
        f"{len(tried)} of {varied.count} combinations: one parameter at a time from the pipeline's own "
        f"values, in an order drawn by seed {seed}, until none gained"
    )


def _best(tried: Mapping[Choice, tuple[Rows, ...]], better: Better) -> Choice:
    """The best; of equals the first."""
    first, *others = tried
    best, highest = first, standing(tried[first])
    for choice in others:
        if (found := standing(tried[choice])).above(highest, better):
            best, highest = choice, found
    return best


def _tuned(
    trials: Trials, rows: Mapping[Choice, tuple[Rows, ...]], *, how: str, notes: tuple[str, ...]
) -> Tuned:
    varied, stage = trials.varied, trials.metric
    tried = {c: Tried(c, varied.values(c), each, standing(each)) for c, each in rows.items()}
    better = stage.step.better
    best = tried[_best(rows, better)]
    if best.standing.mean is None:
        raise InputError(f"metric {stage.name}: has no number for any case; nothing can be chosen by it")
    first = next(row for each in best.rows for row in each)
    return Tuned(
        variations=varied,
        tried=tuple(tried.values()),
        best=best,
        metric=first.quantity,
        unit=first.unit,
        better=better,
        dataset=trials.dataset.name,
        cases=tuple(trials.cases),
        how=how,
        without=_without(rows, trials.cases, better),
        notes=notes,
    )


def _without(
    rows: Mapping[Choice, tuple[Rows, ...]], cases: Sequence[Case], better: Better
) -> Standing | None:
    """How good each subject's cases are with what is best on those of all others."""
    subjects = dict.fromkeys(case.subject for case in cases)
    if len(subjects) < 2:
        return None
    found: list[Rows] = []
    for subject in subjects:
        own = [case.subject == subject for case in cases]
        others = {
            choice: tuple(each for each, mine in zip(every, own, strict=True) if not mine)
            for choice, every in rows.items()
        }
        chosen = rows[_best(others, better)]
        found += [each for each, mine in zip(chosen, own, strict=True) if mine]
    return standing(found)


def _metric(text: str, catalog: Catalog) -> Stage[Metric]:
    found = metrics_named(text, catalog)
    if len(found) > 1:
        raise UsageError(f"--metric {text!r}: name one metric; the parameters are chosen by it")
    if isinstance(found[0].step, ScoreMetric):
        raise UsageError(f"--metric {text!r}: compares probabilities; the parameters are chosen by masks")
    try:
        rows = evaluate(cube(), cube(), found)
    except MedsegError:  # a metric for other images: the first case tells
        return found[0]
    require_quantity(found[0], rows)
    return found[0]


# ---- what is said of it


def record(tuned: Tuned) -> tuple[str, ...]:
    """What was tried on how many cases, and what that does not say: the lines for the model."""
    changes = tuned.variations.changes(tuned.best.choice)
    said = [f"{name} {in_words(new)} instead of {in_words(old)}" for name, (old, new) in changes.items()]
    best, own = (_number(each.standing.mean, tuned.unit) for each in (tuned.best, tuned.own))
    count = len(tuned.cases)
    lines = [
        f"Tuned on {count} case{'s' * (count != 1)} of {tuned.dataset}, {tuned.how}.",
        f"Chosen: {', '.join(said) or 'the values that were there'}.",
        f"{tuned.metric}, mean over labels and cases: {best}, with the values that were there {own}.",
        "These numbers are of the cases that the values were chosen on: expect less of new ones.",
    ]
    if tuned.without is not None:
        expected = _number(tuned.without.mean, tuned.unit)
        lines.append(f"Each subject with what is best on all others: {expected}.")
    return (*lines, *(f"Note: {note}." for note in tuned.notes))


def _number(value: float | None, unit: str) -> str:
    return "no number" if value is None else f"{value:.4f} {unit}".strip()
