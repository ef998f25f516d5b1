"""Where candidates are tried: cases with a reference, and what the network found in them.

The network runs once for each case; each candidate then refines, post-processes and is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from medseg.errors import InputError, UsageError
from medseg.evaluation import evaluate
from medseg.evaluation.labels import paired
from medseg.evaluation.ranking import quantity_of
from medseg.inference.scratch import scratch_file
from medseg.pipeline import Pipeline, Stage, measure, predict, preprocess, refine
from medseg.prediction import Measured, Prediction, Resources
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Metric, Predictor
from medseg.training.dataset import Case, Dataset, Example, read_case
from medseg.training.variations import Choice, Variations
from medseg.volume import Grid

__all__ = ["Rows", "Trials", "cases_to_tune_on", "common_labels", "require_quantity"]

Rows = tuple[Measured, ...]
"""What the metric says of the labels of a case."""


def cases_to_tune_on(
    dataset: Dataset, count: int | None, seed: int
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """The cases to try on, and what is to be said of them."""
    held = tuple(case for case in dataset.trainable if case.split == "validation")
    cases = held or dataset.trainable
    if not cases:
        raise InputError("the dataset has no case with a mask; there is nothing to tune on")
    notes = ["only cases that the dataset keeps for validation are used"] if held else []
    if count is not None and count < len(cases):
        drawn = np.random.default_rng(seed).choice(len(cases), count, replace=False)
        notes.append(f"{count} of {len(cases)} cases are used, drawn by seed {seed}")
        cases = tuple(cases[n] for n in sorted(drawn))
    return cases, tuple(notes)


def common_labels(ours: LabelTable, theirs: LabelTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels that model and dataset both have, by the dataset's names; and a note on all others.

    What only one has is not looked at: a label that is in no reference would gain by being removed.
    """
    empty = [_nothing(table) for table in (ours, theirs)]
    found, wanted = paired(empty[0], empty[1], lambda line: None)
    places = [{(label.value, label.layer) for label in table} for table in (ours, theirs)]
    common = tuple(
        label.name
        for label in wanted.labels
        if (label.value, label.layer) in places[1]
        and (found.labels[label.name].value, found.labels[label.name].layer) in places[0]
    )
    left = [label.name for label in wanted.labels if label.name not in common]
    if not common:
        raise InputError("no label of the model is one of the dataset; name them alike")
    return common, (f"not looked at, as only one has them: {', '.join(left)}",) if left else ()


def _nothing(labels: LabelTable) -> Segmentation:
    highest = max((label.value for label in labels), default=0)
    return Segmentation(
        np.zeros((labels.layers, 1, 1, 1), np.min_scalar_type(highest)), Grid((1, 1, 1), np.eye(4)), labels
    )


@dataclass
class Trials:
    """Cases on which candidates are tried, with the opened model.

    `again` says that the same cases are tried more than once: then what the network found is kept on disk.
    """

    varied: Variations
    dataset: Dataset
    cases: Sequence[Case]
    metric: Stage[Metric]
    labels: tuple[str, ...]
    predictor: Predictor
    resources: Resources
    again: bool
    kept: dict[str, Prediction] = field(default_factory=dict)

    def score(self, batch: Sequence[Choice]) -> dict[Choice, tuple[Rows, ...]]:
        """The rows of every case for each candidate."""
        if not batch:
            return {}
        pipelines = {choice: self.varied.pipeline(choice) for choice in sorted(batch, key=self._refining)}
        rows: dict[Choice, list[Rows]] = {choice: [] for choice in batch}
        for number, case in enumerate(self.cases, start=1):
            example = read_case(case, self.dataset)
            try:
                for choice, found in self._tried(case, example, pipelines).items():
                    rows[choice].append(found)
            except Exception as problem:
                problem.add_note(f"case {case.id}")
                raise
            self.resources.progress("tune", number, len(self.cases))
        return {choice: tuple(each) for choice, each in rows.items()}

    def _tried(
        self, case: Case, example: Example, pipelines: Mapping[Choice, Pipeline]
    ) -> dict[Choice, Rows]:
        """The rows of a case; candidates that share their refiners' values are refined once."""
        own, volume = self.varied.own, example.volume
        if len(own.inputs) == len(volume.channels):
            volume = volume.replace(channels=tuple(each.name for each in own.inputs))
        known = self.kept.get(case.id)
        prepared = volume if known and not own.refine else preprocess(own.preprocess, volume)
        if known is None:
            plain = replace(own, measure=(), write=())
            known = predict(plain, prepared, self.predictor, onto=volume.grid)
            if self.again:
                known = self.kept[case.id] = _on_disk(known)
        rows: dict[Choice, Rows] = {}
        for _, group in groupby(pipelines, key=self._refining):
            choices = list(group)
            refined = refine(pipelines[choices[0]], prepared, known, keep_scores=True)
            for choice in choices:
                _, segmentation, _ = measure(pipelines[choice], volume, refined)
                rows[choice] = self._rows(segmentation, example)
        if not self.again and known.refinable is not None:
            known.refinable.store.close()
        return rows

    def _refining(self, choice: Choice) -> tuple[int, ...]:
        return tuple(choice[n] for n in self.varied.refining)

    def _rows(self, segmentation: Segmentation, example: Example) -> Rows:
        """What the metric says of the labels, of the quantity that says how good a case is."""
        reference = example.segmentation
        assert reference is not None  # a case to tune on is labelled
        if example.ignore is not None:  # nothing is said there: it holds no label in the reference either
            array = segmentation.array
            segmentation = segmentation.replace(array=np.where(example.ignore, array.dtype.type(0), array))
        rows = evaluate(segmentation, reference, (self.metric,), labels=self.labels, tell=lambda line: None)
        name = require_quantity(self.metric, rows) if rows else ""
        return tuple(row for row in rows if row.quantity == name and row.object is None)


def require_quantity(metric: Stage[Metric], rows: Rows) -> str:
    """The quantity of the rows by which candidates are chosen; raises UsageError where there is none.

    By sums that only make a number of all cases together, as those of `overall-iou`, the largest would win.
    """
    quantity = quantity_of(metric, rows)
    if quantity is None:
        raise UsageError(f"metric {metric.name}: has no number for a case to choose by; use dice or iou")
    return quantity


def _on_disk(prediction: Prediction) -> Prediction:
    """The prediction with its labels on disk, where its scores are: there is one for each case."""
    found = prediction.segmentation
    with scratch_file(found.array.nbytes) as file:
        array = np.memmap(file, found.array.dtype, "r+", shape=found.array.shape)
    array[:] = found.array
    return replace(prediction, segmentation=found.replace(array=array))
