"""How good a trained fold is: its validation cases through the whole pipeline, against their masks.

On the native grid, by the steps that a user's image takes; and with each post-processing that may be chosen.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.assemble import assemble, stages
from medseg.config import PipelineFile, StepCall
from medseg.evaluation import evaluate
from medseg.pipeline import Stage, blamed, walk
from medseg.plugin.catalog import Catalog
from medseg.prediction import Measured, Resources, Wanted
from medseg.segmentation import LayerKind, Object, Segmentation
from medseg.steps import Head, Metric, Postprocessor, Segmenter, TrainableSegmenter
from medseg.training.calibration import Sample, about, joined, sampled
from medseg.training.dataset import Case, Dataset, Example, read_case
from medseg.training.run_folder import write_json
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    from medseg.inference.score_store import ScoreStore

__all__ = ["CANDIDATES", "Appraised", "Appraiser", "Shown", "calls", "chosen_steps", "steps_of"]

PLAIN = "as predicted"
CANDIDATES: dict[str, tuple[str, ...]] = {
    "keep-largest": ("medseg/keep-largest",),
    "fill-holes": ("medseg/fill-holes",),
    "keep-largest, fill-holes": ("medseg/keep-largest", "medseg/fill-holes"),
}
SCORES = ".scores.npz"
MOST_SCORE_BYTES = 4 << 30  # on disk, of one case, to calibrate by
GAIN = 1e-4  # of the mean Dice; less is not worth a step
Rows = tuple[Measured, ...]
Shown = tuple[Volume, Segmentation, Segmentation]
"""Image, prediction and reference of a case."""


@dataclass(frozen=True)
class Appraised:
    """What the metrics say of one case: as predicted, and of each label by the candidates that changed it."""

    case: str
    fold: int
    rows: Rows
    changed: Mapping[str, Mapping[str, Rows]]
    """Rows by candidate and label."""

    def with_steps(self, chosen: Mapping[str, str]) -> Rows:
        """The rows with the candidate that was chosen for each label."""
        found: list[Measured] = []
        for row in self.rows:
            instead = self.changed.get(chosen.get(row.label, ""), {}).get(row.label)
            if instead is None:
                found.append(row)
            else:
                found += [each for each in instead if each.quantity == row.quantity]
        return tuple(found)


@dataclass(frozen=True)
class Appraiser:
    """What all folds of a training are appraised with."""

    dataset: Dataset
    metrics: Sequence[Stage[Metric]]
    catalog: Catalog
    resources: Resources

    def appraise(
        self, cases: Sequence[Case], file: PipelineFile, *, folder: Path, fold: int, kept: Path
    ) -> tuple[Appraised, ...]:
        """Segment and score the cases of a fold; predictions go to the folder `kept`, scores to `kept.json`.

        `file` is the pipeline with the fold's weights, which lie in `folder`. What is there already is kept.
        """
        record = kept.with_suffix(".json")
        known = _load(record, fold)
        if known is not None:
            return known
        pipeline = replace(assemble(file, self.catalog, folder=folder), measure=(), write=())
        kept.mkdir(parents=True, exist_ok=True)
        found: list[Appraised] = []
        with blamed(pipeline.segment), pipeline.segment.step.open(self.resources) as predictor:
            for number, case in enumerate(cases, start=1):
                example = read_case(case, self.dataset)
                head = _head(pipeline.segment.step)
                box = None if head is None else _calibration_box(example, head)
                asking = replace(pipeline, asked=Wanted(refinable=box is not None))
                prediction, segmentation, _ = walk(asking, example.volume, predictor)
                if head is not None and box is not None and prediction.refinable is not None:
                    sample = _sample(prediction.refinable.store, box, example, head, seed=number)
                    sample.save(kept / f"{case.id}{SCORES}")
                    prediction.refinable.store.close()
                segmentation = _where_known(segmentation, example)
                _save(kept / f"{case.id}.npz", segmentation)
                found.append(self._scored(case.id, fold, segmentation, example))
                self.resources.progress("validate", number, len(cases))
        write_json(record, [_as_json(each) for each in found])
        return tuple(found)

    def _scored(self, case: str, fold: int, found: Segmentation, example: Example) -> Appraised:
        """Rows as predicted, and of each label by the candidates that change it."""
        reference = _reference(example)
        changed: dict[str, dict[str, Rows]] = {}
        for name in CANDIDATES if "objects" not in found.kinds else ():  # they are steps of labels
            for label in reference.labels:
                better = self._after(calls(name, label.name), found, example.volume)
                if not np.array_equal(better.mask(label.name), found.mask(label.name)):
                    own = evaluate(better, reference, self.metrics, labels=[label.name])
                    changed.setdefault(name, {})[label.name] = own
        return Appraised(case, fold, evaluate(found, reference, self.metrics), changed)

    def calibration_sample(self, cases: Sequence[Case], kept: Path, head: Head) -> Sample | None:
        """The probabilities that were kept when these cases were appraised; None where there are none."""
        paths = [path for case in cases if (path := kept / f"{case.id}{SCORES}").is_file()]
        if head.activation is None or not paths:
            return None
        return joined([Sample.load(path, head.activation) for path in paths])

    def label_s(self, example: Example, label: str) -> float:
        """Seconds that scoring one label of a case takes where every candidate changes it.

        The reference, a voxel beside itself, stands for a prediction.
        """
        reference = _reference(example).by_label()
        found = reference.replace(array=np.roll(reference.array, 1, axis=1))
        began = time.monotonic()
        evaluate(found, reference, self.metrics, labels=[label])
        scores = time.monotonic() - began
        for name in CANDIDATES:
            better = self._after(calls(name, label), found, example.volume)
            np.array_equal(better.mask(label), found.mask(label))
        return time.monotonic() - began + len(CANDIDATES) * scores

    def _after(self, steps: Sequence[StepCall], found: Segmentation, volume: Volume) -> Segmentation:
        """What the steps, one after another, make of a prediction."""
        for stage in stages(Postprocessor, "postprocess", steps, self.catalog):
            with blamed(stage):
                found = Postprocessor.check(stage.step(found, volume), onto=volume.grid)
        return found

    def shown(self, case: str, kept: Path, steps: Sequence[StepCall]) -> Shown:
        """A case that was appraised, its prediction read from `kept` and taken through all of `steps`."""
        example = read_case(self.dataset.case(case), self.dataset)
        reference = _reference(example)
        found = _kept(kept / f"{case}.npz", reference)
        found = self._after(steps, found, example.volume)
        return example.volume, _where_known(found, example), reference

    def together(
        self, appraised: Sequence[Appraised], chosen: Mapping[str, str], kept: Mapping[int, Path]
    ) -> tuple[dict[str, str], tuple[Appraised, ...]]:
        """The choices that gain all at once too, and the cases with the rows of a pipeline that has them.

        Each was chosen by itself; one after another, a step may find what another has made of its label. What
        does not gain then is dropped, until nothing is. `kept` are the folders of predictions by fold.
        """
        left, final = dict(chosen), tuple(appraised)
        while left:
            steps = steps_of(left)
            final = tuple(self._with(each, left, steps, kept[each.fold]) for each in appraised)
            gaining = {label: name for label, name in left.items() if _gains(appraised, final, label)}
            if gaining == left:
                return left, final
            left = gaining
        return {}, tuple(appraised)

    def _with(
        self, each: Appraised, chosen: Mapping[str, str], steps: Sequence[StepCall], kept: Path
    ) -> Appraised:
        """The case with the rows that it has after all steps, if any of them changes it."""
        if not any(label in each.changed.get(name, {}) for label, name in chosen.items()):
            return each
        _, found, reference = self.shown(each.case, kept, steps)
        return replace(each, rows=evaluate(found, reference, self.metrics))


def _head(segmenter: Segmenter) -> Head | None:
    """The head whose probabilities can be calibrated; None without one."""
    head = segmenter.scores_head if isinstance(segmenter, TrainableSegmenter) else None
    return head if head is not None and head.activation is not None else None


def _calibration_box(example: Example, head: Head) -> Grid | None:
    """Where voxels are drawn to calibrate by; None where there are no labels, or too much would be kept."""
    reference = _reference(example)
    if 2 * head.channels(reference.labels) * math.prod(reference.grid.shape) > MOST_SCORE_BYTES:
        return None
    return about(reference)


def _sample(logits: ScoreStore, box: Grid, example: Example, head: Head, *, seed: int) -> Sample:
    assert head.activation is not None
    return sampled(
        logits,
        box,
        _reference(example),
        activation=head.activation,
        known=None if example.ignore is None else ~example.ignore,
        rng=np.random.default_rng(seed),
    )


def _reference(example: Example) -> Segmentation:
    assert example.segmentation is not None  # a case to train on is labelled
    return example.segmentation


def _where_known(found: Segmentation, example: Example) -> Segmentation:
    """The prediction where the reference says something; elsewhere it cannot be wrong."""
    if example.ignore is None:
        return found
    reference = _reference(example).by_label().array if "objects" not in found.kinds else 0
    return found.replace(
        array=np.where(example.ignore[None], reference, found.array).astype(found.array.dtype)
    )


def _save(path: Path, found: Segmentation) -> None:
    """Keep a prediction: layers, and the objects' ids with the values of their labels."""
    things = [(thing.id, found.labels[thing.label].value) for thing in found.objects]
    objects = np.array(things, np.uint32).reshape(-1, 2)
    np.savez_compressed(path, labels=found.array, kinds=np.array(found.kinds), objects=objects)


def _kept(path: Path, like: Segmentation) -> Segmentation:
    """What was kept, with the labels and on the grid of another."""
    names = {label.value: label.name for label in like.labels}
    with np.load(path, allow_pickle=False) as stored:
        if "kinds" not in stored:  # kept before there were objects
            return Segmentation(stored["labels"], like.grid, like.labels)
        kinds: tuple[LayerKind, ...] = tuple(
            "objects" if kind == "objects" else "labels" for kind in stored["kinds"]
        )
        objects = tuple(Object(int(id_), names[int(value)]) for id_, value in stored["objects"])
        return Segmentation(stored["labels"], like.grid, like.labels, kinds, objects)


def calls(candidate: str, *labels: str) -> tuple[StepCall, ...]:
    """The steps of a candidate for these labels."""
    return tuple(StepCall(name=step, parameters={"labels": list(labels)}) for step in CANDIDATES[candidate])


def steps_of(chosen: Mapping[str, str]) -> tuple[StepCall, ...]:
    """The steps of a pipeline with these choices, by label."""
    steps: list[StepCall] = []
    for candidate in dict.fromkeys(chosen.values()):
        steps += calls(candidate, *(label for label, own in chosen.items() if own == candidate))
    return tuple(steps)


def chosen_steps(appraised: Sequence[Appraised], labels: Sequence[str]) -> dict[str, str]:
    """For each label that gains by it, the candidate with the highest mean Dice over all cases.

    None is chosen that raises the mean HD95.
    """
    chosen: dict[str, str] = {}
    for label in labels:
        best = _mean(appraised, label, "dice", {})
        near = _mean(appraised, label, "hd95", {})
        if best is None:
            continue
        for candidate in CANDIDATES:
            dice = _mean(appraised, label, "dice", {label: candidate})
            far = _mean(appraised, label, "hd95", {label: candidate})
            if dice is not None and _better((best, near), (dice, far)):
                best, chosen[label] = dice, candidate
    return chosen


def _better(before: tuple[float, float | None], after: tuple[float, float | None]) -> bool:
    """Whether the mean Dice gains and the mean HD95 does not rise."""
    near, far = before[1], after[1]
    return after[0] > before[0] + GAIN and (near is None or far is None or far <= near)


def _gains(before: Sequence[Appraised], after: Sequence[Appraised], label: str) -> bool:
    """Whether a label is better off."""
    dice, best = (_mean(each, label, "dice", {}) for each in (before, after))
    near, far = (_mean(each, label, "hd95", {}) for each in (before, after))
    return dice is not None and best is not None and _better((dice, near), (best, far))


def _mean(
    appraised: Sequence[Appraised], label: str, quantity: str, chosen: Mapping[str, str]
) -> float | None:
    values = [
        row.value
        for each in appraised
        for row in each.with_steps(chosen)
        if row.label == label and row.quantity == quantity and isinstance(row.value, int | float)
    ]
    return float(np.mean(values)) if values else None


def _as_json(appraised: Appraised) -> dict[str, Any]:
    changed = {
        name: {label: [_row(row) for row in rows] for label, rows in labels.items()}
        for name, labels in appraised.changed.items()
    }
    return {"case": appraised.case, "rows": [_row(row) for row in appraised.rows], "changed": changed}


def _row(row: Measured) -> dict[str, Any]:
    return {
        "label": row.label,
        "quantity": row.quantity,
        "value": row.value,
        "unit": row.unit,
        "flag": row.flag,
    }


def _load(record: Path, fold: int) -> tuple[Appraised, ...] | None:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tuple(
        Appraised(
            each["case"],
            fold,
            tuple(Measured(**row) for row in each["rows"]),
            {
                name: {label: tuple(Measured(**row) for row in rows) for label, rows in labels.items()}
                for name, labels in each["changed"].items()
            },
        )
        for each in content
    )
