"""The report of a training: what is known of it, handed to `medseg.report`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medseg.report.training_page import CaseScores, FoldCurve, TrainingReport, WorstCase, write_training_page
from medseg.training.appraisal import Appraised
from medseg.training.dataset import Dataset
from medseg.training.recipe import Recipe
from medseg.training.run_folder import Begun, RunFolder

__all__ = ["account"]


def account(
    run: RunFolder,
    *,
    recipe: Recipe,
    dataset: Dataset,
    begun: Begun,
    appraised: Sequence[Appraised],
    chosen: Mapping[str, str],
    device: str,
    worst: Iterable[tuple[Appraised, Any]],
) -> None:
    """Write RUN/report.html."""
    curves = [FoldCurve(_name(number), _rows(run, number)) for number in range(len(begun.folds))]
    report = TrainingReport(
        name=run.path.resolve().name,
        facts=_facts(recipe, dataset, begun, device, curves),
        labels=recipe.labels,
        curves=curves,
        cases=[CaseScores(each.case, _name(each.fold), each.with_steps(chosen)) for each in appraised],
        worst=(_worst(each, content, chosen) for each, content in worst),
        chosen=_chosen(recipe, chosen, appraised),
        notes=dataset.notes,
    )
    write_training_page(report, run.report)


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


def _facts(
    recipe: Recipe, dataset: Dataset, begun: Begun, device: str, curves: Sequence[FoldCurve]
) -> list[tuple[str, str]]:
    cases = dataset.trainable
    seconds = sum(float(row["seconds"] or 0) for curve in curves for row in curve.rows)
    written: Mapping[str, Any] = next(iter(recipe.segment.written.values()))
    architecture: Mapping[str, Any] = written.get("architecture", {})
    name, parameters = next(iter(architecture.items()), ("", dict[str, Any]()))
    held = sum(len(fold) for fold in begun.folds)
    return [
        ("dataset", dataset.name),
        ("cases", f"{len(cases)} of {len({case.subject for case in cases})} subjects"),
        ("validated with", f"{held} cases" if held else "none"),
        ("folds", str(len(begun.folds))),
        ("network", name.rpartition("/")[2]),
        ("features", ", ".join(str(each) for each in parameters.get("channels", ()))),
        ("patch", " x ".join(str(side) for side in recipe.patch)),
        ("batch", str(recipe.spec.batch)),
        ("epochs", ", ".join(str(len(curve.rows)) for curve in curves)),
        ("training time", f"{seconds / 60:.1f} min"),
        ("device", device),
        ("seed", str(begun.seed)),
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


def _worst(each: Appraised, content: Any, chosen: Mapping[str, str]) -> WorstCase:
    volume, prediction, reference = content
    dice = {
        row.label: row.value if isinstance(row.value, int | float) else None
        for row in each.with_steps(chosen)
        if row.quantity == "dice"
    }
    return WorstCase(each.case, _name(each.fold), volume, prediction, reference, dice)
