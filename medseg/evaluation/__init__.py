"""Predictions against references: one pair of masks, or the files of many cases.

metrics = metrics_named("dice, hd95")
rows = evaluate(prediction, reference, metrics)
done = evaluate_files(match_files("results/", "references/"), metrics)
for row in done.summary:
    print(row.metric, row.label, row.mean)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medseg.assemble import stages_named
from medseg.errors import InputError, UsageError, did_you_mean
from medseg.evaluation.comparison import (
    Rows,
    measured,
    of_probabilities,
    require_distinct,
    without_probabilities,
)
from medseg.evaluation.labels import comparable
from medseg.evaluation.masks import read_pair
from medseg.evaluation.pairs import Pair, match_files
from medseg.evaluation.probabilities import Probabilities, probabilities_of, require_probabilities
from medseg.evaluation.summary import Pools, Statistics, summarise
from medseg.evaluation.volumes import volume_pairs
from medseg.pipeline import Stage
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Measured
from medseg.report.agreement import VolumePair
from medseg.run.case import memory_as_resource
from medseg.run.provenance import sha256_of
from medseg.run.reasons import without_names
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Metric, ScoreMetric
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

Tell = Callable[[str], None]
Watcher = Callable[[str, int, int], None]
"""Called as `watcher(case, done, total)` after each case."""


def metrics_named(text: str = DEFAULT_METRICS, catalog: Catalog | None = None) -> tuple[Stage[Metric], ...]:
    """The metrics of a list as a pipeline file would write it: names, or names with parameters.

    Raises PipelineError where there is no such metric or parameter, UsageError where it is no list or where
    one is there twice, unless its quantities are then different, as `nsd@1mm` and `nsd@2mm`.
    """
    found = stages_named(Metric, "metrics", text, catalog or discover(), like=DEFAULT_METRICS)
    require_distinct(found)
    return found


def evaluate(  # noqa: PLR0913 - what files do not say themselves is a keyword each
    prediction: Segmentation | str | Path,
    reference: Segmentation | str | Path,
    metrics: str | Sequence[Stage[Metric]] = DEFAULT_METRICS,
    *,
    labels: Collection[str] | None = None,
    pixel_size: float | None = None,
    objects: str | None = None,
    tell: Tell = logger.warning,
) -> tuple[Measured, ...]:
    """What each metric says of each label, metric by metric; of one case, in memory or in files.

    Labels are matched by name; by value, where one of the two has no names but "label 1", "label 2". A label
    that only one of them has is absent from the other, which `tell` hears. `labels` are the names, of the
    reference first, to which rows are limited; one that neither has gives none. `pixel_size` is the scale in
    mm of pictures; `objects` the label of which the values of label maps are objects' ids. Metrics of
    probabilities, as `ece`, take files: a folder that `medseg segment` wrote.

    Raises GeometryError where the two lie on different grids, InputError where named labels have none in
    common or a file cannot be read, PluginError where a metric breaks its contract.

        for row in medseg.evaluate("found.nii.gz", "true.nii.gz", "dice, nsd: {tolerance_mm: 2}"):
            print(row.label, row.quantity, row.value, row.unit, row.flag)
    """
    steps = metrics_named(metrics) if isinstance(metrics, str) else metrics
    if isinstance(prediction, Segmentation) and isinstance(reference, Segmentation):
        needing = of_probabilities(steps)
        if needing:
            raise UsageError(
                f"{needing[0]} compares probabilities, which masks in memory have not; give files"
            )
        found, wanted = comparable(prediction, reference, labels, tell)
        return tuple(chain.from_iterable(measured(found, wanted, steps)))
    if isinstance(prediction, Segmentation) or isinstance(reference, Segmentation):
        raise UsageError("prediction and reference are both in memory or both in files; read the other one")
    pairs = match_files(prediction, reference)
    if len(pairs) > 1:
        raise UsageError(f"there are {len(pairs)} cases; give `evaluate_files` what `match_files` finds")
    require_probabilities(pairs, of_probabilities(steps))
    opened = _opened(pairs[0], steps, labels, _Unsaid(pixel_size, objects), tell)
    return tuple(chain.from_iterable(opened.measured(steps)))


@dataclass(frozen=True)
class Evaluated:
    """One case: its rows, checksums of the files that were read, and what was decided on the way.

    `measured` has the rows of each metric, in the order of the metrics. `notes` are for files and hold no
    path or file name; `told` says the same for the terminal. `volumes` are those of each label that either
    mask has; `probabilities_sha256` is by label.
    """

    case: str
    measured: tuple[Rows, ...]
    prediction_sha256: tuple[str, ...]
    reference_sha256: tuple[str, ...]
    probabilities_sha256: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    volumes: tuple[VolumePair, ...] = ()

    @property
    def rows(self) -> Rows:
        """Those of all metrics, metric by metric."""
        return tuple(chain.from_iterable(self.measured))


@dataclass(frozen=True)
class Evaluation:
    """All cases, with the metrics that were asked for and the labels they were limited to (None: all).

    `subjects` are those of the cases, where they are known; `pixel_size` is the scale in mm that pictures
    were given, `objects` the label of which values were taken for ids.
    """

    cases: tuple[Evaluated, ...]
    metrics: tuple[Stage[Metric], ...]
    labels: tuple[str, ...] | None = None
    subjects: Mapping[str, str] = field(default_factory=dict)
    pixel_size: float | None = None
    objects: str | None = None

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


class _Unsaid(NamedTuple):
    """What files do not say themselves: the scale of pictures, and of which label values are objects' ids."""

    pixel_size: float | None
    objects: str | None


@dataclass(frozen=True)
class _Opened:
    """A case as it is compared: masks under the same names, `names` as the files have them, probabilities."""

    found: Segmentation
    wanted: Segmentation
    names: tuple[str, ...]
    probabilities: Probabilities

    def measured(self, metrics: Sequence[Stage[Metric]]) -> tuple[Rows, ...]:
        """The rows of each metric."""
        return measured(self.found, self.wanted, metrics, self.probabilities)


def _opened(
    pair: Pair,
    metrics: Sequence[Stage[Metric]],
    labels: Collection[str] | None,
    unsaid: _Unsaid,
    tell: Tell,
) -> _Opened:
    prediction, reference = read_pair(pair, tell, pixel_size=unsaid.pixel_size, objects=unsaid.objects)
    found, wanted = comparable(prediction, reference, labels, tell)
    files = {}
    if of_probabilities(metrics):
        files = probabilities_of(pair, prediction.labels, found.labels, wanted.labels)
    names = tuple(label.name for each in (reference, prediction) for label in each.labels)
    return _Opened(found, wanted, names, Probabilities(files, wanted.grid))


def evaluate_files(  # noqa: PLR0913 - as `evaluate`
    pairs: Iterable[Pair],
    metrics: Sequence[Stage[Metric]],
    *,
    labels: Collection[str] | None = None,
    subjects: Mapping[str, str] | None = None,
    pixel_size: float | None = None,
    objects: str | None = None,
    watcher: Watcher = lambda case, done, total: None,
) -> Evaluation:
    """Read and evaluate pairs of mask files one after another, each on its reference's grid.

    Every case has rows for all labels of all cases: one that neither of its masks has is absent from both.
    `subjects` says whose each case is, for the intervals of the summary; `pixel_size` is the scale in mm of
    pictures, `objects` the label of which the values of label maps are objects' ids. Raises InputError for
    the first file that cannot be read or belongs to another place, and where no mask has a label, or metrics
    of probabilities find none; UsageError for a name in `labels` that no case has.
    """
    waiting = tuple(pairs)
    require_probabilities(waiting, of_probabilities(metrics))
    done: list[_Done] = []
    for number, pair in enumerate(waiting, start=1):
        try:
            with memory_as_resource():
                done.append(_evaluated(pair, metrics, labels, _Unsaid(pixel_size, objects)))
        except Exception as problem:
            if len(waiting) > 1:
                problem.add_note(f"case {pair.case}")
            raise
        watcher(pair.case, number, len(waiting))
    known = dict.fromkeys(name for each in done for name in each.names)
    if not known:
        raise InputError("no mask has a label; there is nothing to evaluate")
    seen = {name for each in done for name in each.labels}
    for name in labels or ():
        if name not in seen:
            raise UsageError(f"no case has a label {name!r}{did_you_mean(name, known)}")
    return Evaluation(
        _filled(done, metrics),
        tuple(metrics),
        None if labels is None else tuple(dict.fromkeys(labels)),
        dict(subjects or {}),
        pixel_size,
        objects,
    )


@dataclass(frozen=True)
class _Done:
    """A case, the labels under which it was compared, where, and all names in its files; no voxels."""

    case: Evaluated
    labels: tuple[str, ...]
    grid: Grid
    names: tuple[str, ...]


def _evaluated(
    pair: Pair,
    metrics: Sequence[Stage[Metric]],
    labels: Collection[str] | None,
    unsaid: _Unsaid,
) -> _Done:
    told: list[str] = []
    opened = _opened(pair, metrics, labels, unsaid, told.append)
    files = {
        f"{what} {number}" if number > 1 else what: path
        for what, paths in (("prediction", pair.prediction), ("reference", pair.reference))
        for number, path in enumerate(paths, start=1)
    }
    case = Evaluated(
        pair.case,
        opened.measured(metrics),
        tuple(map(sha256_of, pair.prediction)),
        tuple(map(sha256_of, pair.reference)),
        {name: sha256_of(path) for name, path in opened.probabilities.files.items()},
        notes=tuple(without_names(line, files) for line in told),
        told=tuple(told),
        volumes=volume_pairs(pair.case, opened.found, opened.wanted),
    )
    names = tuple(label.name for label in opened.wanted.labels)
    return _Done(case, names, opened.wanted.grid, opened.names)


def _filled(done: Sequence[_Done], metrics: Sequence[Stage[Metric]]) -> tuple[Evaluated, ...]:
    """The cases with rows for labels that only others have: what a metric says of two empty masks.

    For a count that is 0, for others no value; a mean without the zeros would be of the bad cases alone.
    """
    every = dict.fromkeys(name for each in done for name in each.labels)
    filled = []
    for each in done:
        lacking = [Label(n, name) for n, name in enumerate(every, start=1) if name not in each.labels]
        if not lacking:
            filled.append(each.case)
            continue
        table = LabelTable(tuple(lacking))
        with memory_as_resource():
            array = np.zeros((1, *each.grid.shape), np.min_scalar_type(len(every)))
            nothing = Segmentation(array, each.grid, table)
            more = measured(nothing, nothing, metrics)
        rows = [
            (
                *own,
                *added,
                *(without_probabilities(table, own) if isinstance(stage.step, ScoreMetric) else ()),
            )
            for own, added, stage in zip(each.case.measured, more, metrics, strict=True)
        ]
        filled.append(replace(each.case, measured=tuple(rows)))
    return tuple(filled)
