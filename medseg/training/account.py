"""The report of a training: what is known of it, handed to `medseg.report`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medseg.report.training_page import CaseScores, FoldCurve, TrainingReport, WorstCase, write_training_page
from medseg.training.appraisal import Appraised, Shown
from medseg.training.dataset import Dataset
from medseg.training.recipe import Recipe
from medseg.training.run_folder import Begun, RunFolder

__all__ = ["Account"]


@dataclass(frozen=True)
class Account:
    """What is known of a training, for its report."""

    run: RunFolder
    recipe: Recipe
    dataset: Dataset
    begun: Begun
    device: str
    calibration: str = ""

    def write(
        self,
        appraised: Sequence[Appraised],
        chosen: Mapping[str, str],
        worst: Iterable[tuple[Appraised, Shown]],
        caveats: Sequence[str] = (),
    ) -> None:
        """Write RUN/report.html; `chosen` is the post-processing of labels, `worst` are cases to draw.

        `appraised` has the rows of the pipeline that the model ends in; `caveats` go before the notes.
        """
        curves = [FoldCurve(_name(n), _rows(self.run, n)) for n in range(len(self.begun.folds))]
        report = TrainingReport(
            name=self.run.path.resolve().name,
            facts=self._facts(curves),
            labels=self.recipe.labels,
            curves=curves,
            cases=[CaseScores(each.case, _name(each.fold), each.rows) for each in appraised],
            worst=(_worst(each, shown) for each, shown in worst),
            chosen=_chosen(self.recipe, chosen, appraised),
            notes=(*caveats, *self.dataset.notes),
        )
        write_training_page(report, self.run.report)

    def _facts(self, curves: Sequence[FoldCurve]) -> list[tuple[str, str]]:
        recipe, cases = self.recipe, self.dataset.trainable
        seconds = sum(float(row["seconds"] or 0) for curve in curves for row in curve.rows)
        segmenter: tuple[str, Mapping[str, Any]] = next(iter(recipe.segment.written.items()))
        architecture: Mapping[str, Any] = segmenter[1].get("architecture", {})
        name, parameters = next(iter(architecture.items()), segmenter)  # without one it is its own
        features = parameters.get("features", parameters.get("channels", ()))
        held = sum(len(fold) for fold in self.begun.folds)
        stated = f"of {len({case.subject for case in cases})} subjects"
        whose = stated if self.dataset.subjects_stated else "(subjects are not stated)"
        window = recipe.segment.step.window_voxels
        windows = f"; windows {' x '.join(map(str, window))}" if window != recipe.patch else ""
        return [
            ("dataset", self.dataset.name),
            ("cases", f"{len(cases)} {whose}"),
            ("validated with", f"{held} cases" if held else "none"),
            ("folds", str(len(self.begun.folds))),
            ("network", name.rpartition("/")[2]),
            ("features", ", ".join(map(str, features)) if isinstance(features, list) else str(features)),
            ("patch", " x ".join(map(str, recipe.patch)) + windows),
            ("batch", str(recipe.spec.batch)),
            ("epochs", ", ".join(str(len(curve.rows)) for curve in curves)),
            ("training time", f"{seconds / 60:.1f} min"),
            ("device", self.device),
            ("seed", str(self.begun.seed)),
            *([("calibration", self.calibration)] if self.calibration else []),
        ]


def _name(fold: int) -> str:
    return f"fold {fold}"


def _rows(run: RunFolder, fold: int) -> list[dict[str, float | None]]:
    """The log of a fold, numbers as numbers."""
    path = run.fold(fold) / "log.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(value) if value else None for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def _chosen(recipe: Recipe, chosen: Mapping[str, str], appraised: Sequence[Appraised]) -> list[str]:
    if not appraised:
        return ["none: there were no cases to choose by"]
    return [
        f"{label.name}: {chosen[label.name]}, which raises its mean Dice over the validation cases"
        if label.name in chosen
        else f"{label.name}: none, as none raises its mean Dice over the validation cases"
        for label in recipe.labels
    ]


def _worst(each: Appraised, shown: Shown) -> WorstCase:
    volume, prediction, reference = shown
    dice = {
        row.label: row.value if isinstance(row.value, int | float) else None
        for row in each.rows
        if row.quantity == "dice"
    }
    return WorstCase(each.case, _name(each.fold), volume, prediction, reference, dice)
