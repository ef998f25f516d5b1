"""Predictions against references: one pair of masks, or the files of many cases.

metrics = metrics_named("dice, hd95")
rows = evaluate(prediction, reference, metrics)
done = evaluate_files(match_files("results/", "references/"), metrics)
for row in done.summary:
    print(row.metric, row.label, row.mean)
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from medseg.assemble import stages_named
from medseg.errors import InputError, MedsegError, PluginError, UsageError, did_you_mean
from medseg.evaluation.cube import cube
from medseg.evaluation.labels import comparable
from medseg.evaluation.masks import read_pair
from medseg.evaluation.pairs import Pair, match_files
from medseg.evaluation.summary import Pools, Statistics, summarise
from medseg.evaluation.volumes import volume_pairs
from medseg.pipeline import Stage, blamed
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Measured
from medseg.report.agreement import VolumePair
from medseg.run.case import memory_as_resource
from medseg.run.provenance import sha256_of
from medseg.run.reasons import without_names
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Metric
from medseg.volume import Grid

__all__ = [
    "DEFAULT_METRICS",
    "Evaluated",
    "Evaluation",
    "Pair",
    "Statistics",
    "evaluate",
    "evaluate_files",
    "match_files",
    "metrics_named",
]

logger = logging.getLogger(__name__)

DEFAULT_METRICS = "dice, hd95"
NOWHERE = "absent from both"  # the flag of a label that neither mask has

Tell = Callable[[str], None]
Watcher = Callable[[str, int, int], None]
"""Called as `watcher(case, done, total)` after each case."""


def metrics_named(text: str = DEFAULT_METRICS, catalog: Catalog | None = None) -> tuple[Stage[Metric], ...]:
    """The metrics of a list as a pipeline file would write it: names, or names with parameters.

    Raises PipelineError where there is no such metric or parameter, UsageError where it is no list or where
    one is there twice, unless its quantities are then different, as `nsd@1mm` and `nsd@2mm`.
    """
    found = stages_named(Metric, "metrics", text, catalog or discover(), like=DEFAULT_METRICS)
    _require_distinct(found)
    return found


def _require_distinct(metrics: Sequence[Stage[Metric]]) -> None:
    """Raise UsageError where a metric is there twice and gives a quantity twice: none is told apart."""
    times = Counter(type(stage.step) for stage in metrics)
    given: set[tuple[type[Metric], str]] = set()
    for stage in metrics:
        kind = type(stage.step)
        if times[kind] == 1:
            continue
        try:
            quantities = {row.quantity for row in _measured(cube(), cube(), [stage])}
        except MedsegError:  # a metric for other images: the first case tells
            continue
        for quantity in sorted(quantities):
            if (kind, quantity) in given:
                raise UsageError(
                    f"metrics: {stage.name} gives {quantity} twice; name it once in an evaluation"
                )
        given |= {(kind, quantity) for quantity in quantities}


def evaluate(
    prediction: Segmentation | str | Path,
    reference: Segmentation | str | Path,
    metrics: str | Sequence[Stage[Metric]] = DEFAULT_METRICS,
    *,
    labels: Collection[str] | None = None,
    tell: Tell = logger.warning,
) -> tuple[Measured, ...]:
    """What each metric says of each label, metric by metric; of one case, in memory or in files.

    Labels are matched by name; by value, where one of the two has no names but "label 1", "label 2". A label
    that only one of them has is absent from the other, which `tell` hears. `labels` are the names, of the
    reference first, to which rows are limited; one that neither has gives none.

    Raises GeometryError where the two lie on different grids, InputError where named labels have none in
    common or a file cannot be read, PluginError where a metric breaks its contract.

        for row in medseg.evaluate("found.nii.gz", "true.nii.gz", "dice, nsd: {tolerance_mm: 2}"):
            print(row.label, row.quantity, row.value, row.unit, row.flag)
    """
    steps = metrics_named(metrics) if isinstance(metrics, str) else metrics
    if isinstance(prediction, Segmentation) and isinstance(reference, Segmentation):
        found, wanted = prediction, reference
    elif isinstance(prediction, Segmentation) or isinstance(reference, Segmentation):
        raise UsageError("prediction and reference are both in memory or both in files; read the other one")
    else:
        pairs = match_files(prediction, reference)
        if len(pairs) > 1:
            raise UsageError(f"there are {len(pairs)} cases; give `evaluate_files` what `match_files` finds")
        found, wanted = read_pair(pairs[0], tell)
    return _measured(*comparable(found, wanted, labels, tell), steps)


def _measured(
    found: Segmentation, wanted: Segmentation, metrics: Sequence[Stage[Metric]]
) -> tuple[Measured, ...]:
    """What each metric says, held against its contract."""
    rows: list[Measured] = []
    seen: set[tuple[str, int | None, str]] = set()
    for stage in metrics:
        with blamed(stage):
            for row in Metric.check(stage.step(found, wanted), reference=wanted):
                key = (row.label, row.object, row.quantity)
                if key in seen:
                    raise PluginError(f"measured {row.quantity} of {row.label!r}, which is there already")
                seen.add(key)
                rows.append(row)
    return tuple(rows)


@dataclass(frozen=True)
class Evaluated:
    """One case: its rows, checksums of the masks that were read, and what was decided on the way.

    `notes` are for files and hold no path or file name; `told` says the same for the terminal. `volumes` are
    those of each label that either mask has.
    """

    case: str
    rows: tuple[Measured, ...]
    prediction_sha256: tuple[str, ...]
    reference_sha256: tuple[str, ...]
    notes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    volumes: tuple[VolumePair, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """All cases, with the metrics that were asked for and the labels they were limited to (None: all).

    `subjects` are those of the cases, where they are known.
    """

    cases: tuple[Evaluated, ...]
    metrics: tuple[Stage[Metric], ...]
    labels: tuple[str, ...] | None = None
    subjects: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def summary(self) -> tuple[Statistics, ...]:
        """Mean, median and so on over cases, for each metric and label, and over labels for each metric.

        With 95 % intervals by the bootstrap over subjects, where those are known, else over cases.
        """
        return summarise(
            [case.rows for case in self.cases],
            groups=[self.subjects.get(case.case, case.case) for case in self.cases],
            pools=[stage.step for stage in self.metrics if isinstance(stage.step, Pools)],
        )


def evaluate_files(
    pairs: Iterable[Pair],
    metrics: Sequence[Stage[Metric]],
    *,
    labels: Collection[str] | None = None,
    subjects: Mapping[str, str] | None = None,
    watcher: Watcher = lambda case, done, total: None,
) -> Evaluation:
    """Read and evaluate pairs of mask files one after another, each on its reference's grid.

    Every case has rows for all labels of all cases: one that neither of its masks has is absent from both.
    `subjects` says whose each case is, for the intervals of the summary.
    Raises InputError for the first file that cannot be read or belongs to another place, and where no mask
    has a label; UsageError for a name in `labels` that no case has.
    """
    waiting = tuple(pairs)
    cases, tables, grids = [], [], []
    known: dict[str, None] = {}
    for done, pair in enumerate(waiting, start=1):
        try:
            with memory_as_resource():
                case, wanted, names = _evaluated(pair, metrics, labels)
        except Exception as problem:
            if len(waiting) > 1:
                problem.add_note(f"case {pair.case}")
            raise
        known |= dict.fromkeys(names)
        cases.append(case)
        tables.append(tuple(label.name for label in wanted.labels))
        grids.append(wanted.grid)
        watcher(pair.case, done, len(waiting))
    if not known:
        raise InputError("no mask has a label; there is nothing to evaluate")
    seen = {row.label for case in cases for row in case.rows}
    for name in labels or ():
        if name not in seen:
            raise UsageError(f"no case has a label {name!r}{did_you_mean(name, known)}")
    return Evaluation(
        _filled(cases, tables, grids, metrics),
        tuple(metrics),
        None if labels is None else tuple(dict.fromkeys(labels)),
        dict(subjects or {}),
    )


def _evaluated(
    pair: Pair, metrics: Sequence[Stage[Metric]], labels: Collection[str] | None
) -> tuple[Evaluated, Segmentation, tuple[str, ...]]:
    """A case; its reference as it was compared; the names in both of its masks."""
    told: list[str] = []
    prediction, reference = read_pair(pair, told.append)
    found, wanted = comparable(prediction, reference, labels, told.append)
    files = {
        f"{what} {number}" if number > 1 else what: path
        for what, paths in (("prediction", pair.prediction), ("reference", pair.reference))
        for number, path in enumerate(paths, start=1)
    }
    case = Evaluated(
        pair.case,
        _measured(found, wanted, metrics),
        tuple(map(sha256_of, pair.prediction)),
        tuple(map(sha256_of, pair.reference)),
        notes=tuple(without_names(line, files) for line in told),
        told=tuple(told),
        volumes=volume_pairs(pair.case, found, wanted),
    )
    return case, wanted, tuple(label.name for each in (reference, prediction) for label in each.labels)


def _filled(
    cases: Sequence[Evaluated],
    tables: Sequence[tuple[str, ...]],
    grids: Sequence[Grid],
    metrics: Sequence[Stage[Metric]],
) -> tuple[Evaluated, ...]:
    """The cases with rows for labels that only others have: what a metric says of two empty masks.

    For a count that is 0, for others no value; a mean without the zeros would be of the bad cases alone.
    """
    every = dict.fromkeys(name for own in tables for name in own)
    filled = []
    for case, own, grid in zip(cases, tables, grids, strict=True):
        rows = case.rows
        table = LabelTable(tuple(Label(n, name) for n, name in enumerate(every, start=1) if name not in own))
        if table.labels:
            with memory_as_resource():
                array = np.zeros((1, *grid.shape), np.min_scalar_type(len(every)))
                nothing = Segmentation(array, grid, table)
                rows = (*rows, *_measured(nothing, nothing, metrics))
        filled.append(replace(case, rows=rows))
    return tuple(filled)
