"""An evaluation as files: tables, pictures, a page that shows them, and what they were made of."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medseg.errors import UsageError
from medseg.evaluation import Evaluated, Evaluation
from medseg.evaluation.bootstrap import LEVEL, RESAMPLES, SEED
from medseg.evaluation.pictures import Drawn, draw_evaluation, draw_worst
from medseg.evaluation.summary import Statistics
from medseg.io.atomic import staged_folder
from medseg.io.regular_file import printable
from medseg.report.csv_line import csv_line
from medseg.report.evaluation_page import EvaluationReport, Section, write_evaluation_page
from medseg.report.worst_case import WorstCase
from medseg.run.output_folder import record_in
from medseg.run.provenance import maker, sha256_of

__all__ = ["document", "require_free", "write_evaluation"]

CASES, SUMMARY, RECORD = "cases.csv", "summary.csv", "evaluation.json"
PAGE, PICTURES = "report.html", "pictures"
PICTURE = re.compile(rf"{PICTURES}/[a-z0-9.-]+\.png")
COLUMNS = ("case", "label", "metric", "value", "unit", "flag", "object")
COLUMNS_SHOWN = (
    *("Metric", "Label", "Cases", "Mean", "Interval", "SD", "Median", "Interval", "Lowest", "Highest"),
    "Pooled",
)
STATISTICS = tuple(field.name for field in fields(Statistics))


def document(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain data; holds ids of cases and checksums, no path."""
    return {
        **maker(),
        "metrics": [dict(stage.written) for stage in evaluation.metrics],
        "plugins": {stage.distribution: stage.version for stage in evaluation.metrics},
        **({} if evaluation.pixel_size is None else {"pixel_size": evaluation.pixel_size}),
        **({} if evaluation.objects is None else {"objects": evaluation.objects}),
        "only": None if evaluation.labels is None else list(evaluation.labels),
        "intervals": {
            "level": LEVEL / 100,
            "resamples": RESAMPLES,
            "seed": SEED,
            "over": "subjects" if evaluation.subjects else "cases",
        },
        "summary": [asdict(row) for row in evaluation.summary],
        "cases": [_case(case) for case in evaluation.cases],
    }


def _case(case: Evaluated) -> dict[str, Any]:
    return {
        "case": case.case,
        "prediction_sha256": list(case.prediction_sha256),
        "reference_sha256": list(case.reference_sha256),
        **({"probabilities_sha256": dict(case.probabilities_sha256)} if case.probabilities_sha256 else {}),
        "notes": list(case.notes),
        "volumes": [
            {
                "label": pair.label,
                "prediction": pair.prediction,
                "reference": pair.reference,
                "unit": pair.unit,
            }
            for pair in case.volumes
        ],
        "results": [
            {
                "label": row.label,
                "metric": row.quantity,
                "value": row.value,
                "unit": row.unit,
                "flag": row.flag,
                **({} if row.object is None else {"object": row.object}),
                **({} if row.interval is None else {"interval": list(row.interval)}),
            }
            for row in case.rows
        ],
    }


def write_evaluation(
    evaluation: Evaluation, out: Path, *, overwrite: bool, worst: Iterable[WorstCase] = ()
) -> None:
    """Write tables, pictures and page into a folder that appears complete or not at all.

    `worst` are the cases to draw, gone through once. Raises UsageError where the folder exists, unless
    `overwrite` is set and it holds an evaluation and nothing else.
    """
    with staged_folder(out, overwrite=overwrite, require_ours=_require_ours) as folder:
        with (folder / CASES).open("w", encoding="utf-8", newline="") as file:
            file.write(csv_line(COLUMNS))
            for case in evaluation.cases:
                for row in case.rows:
                    cells = (row.label, row.quantity, row.value, row.unit, row.flag, row.object)
                    file.write(csv_line((case.case, *cells)))
        with (folder / SUMMARY).open("w", encoding="utf-8", newline="") as file:
            file.write(csv_line(STATISTICS))
            file.writelines(csv_line(asdict(row).values()) for row in evaluation.summary)
        charts, drawn = tuple(draw_evaluation(evaluation)), tuple(draw_worst(worst))
        _write_pictures((*charts, *drawn), folder / PICTURES)
        write_evaluation_page(_report(evaluation, charts, drawn), folder / PAGE)
        written = sorted(path for path in folder.rglob("*") if path.is_file())
        outputs = {path.relative_to(folder).as_posix(): sha256_of(path) for path in written}
        text = json.dumps({**document(evaluation), "outputs": outputs}, indent=2, ensure_ascii=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _write_pictures(drawn: Sequence[Drawn], folder: Path) -> None:
    """Each picture as PNG under its name."""
    if drawn:
        folder.mkdir()
    for each in drawn:
        png = base64.b64decode(each.picture.uri.partition(",")[2])
        (folder / f"{each.name}.png").write_bytes(png)


def _report(evaluation: Evaluation, charts: Sequence[Drawn], worst: Sequence[Drawn]) -> EvaluationReport:
    """What the page says."""
    sections = []
    if charts:
        words = "A metric each, a strip for each label; what has no value is not drawn."
        sections.append(Section("Scores", words, [(each.heading, each.picture) for each in charts]))
    if worst:
        words = (
            "Each label in which prediction and reference differ, in the slices where most voxels differ, "
            "cut to its surroundings; at most four labels a case, the lowest Dice first."
        )
        sections.append(Section("The worst cases", words, [(each.heading, each.picture) for each in worst]))
    facts = [
        ("Cases", str(len(evaluation.cases))),
        ("Metrics", ", ".join(_written(stage.written) for stage in evaluation.metrics)),
        ("Labels", "all" if evaluation.labels is None else ", ".join(evaluation.labels)),
        ("Intervals", f"{LEVEL} %, {RESAMPLES} resamples of {_drawn_from(evaluation)}, seed {SEED}"),
        ("medseg", version("medseg")),
    ]
    return EvaluationReport(
        facts,
        COLUMNS_SHOWN,
        [_row(row) for row in evaluation.summary],
        sections,
        [f"{case.case}: {note}" for case in evaluation.cases for note in case.notes],
    )


def _drawn_from(evaluation: Evaluation) -> str:
    return f"{len(set(evaluation.subjects.values()))} subjects" if evaluation.subjects else "the cases"


def _written(step: Mapping[str, Any]) -> str:
    """A metric as a pipeline file would say it, with what differs from nothing."""
    ((name, parameters),) = step.items()
    said = ", ".join(f"{key}: {value}" for key, value in parameters.items())
    return f"{name} ({said})" if said else name


def _row(row: Statistics) -> tuple[str, ...]:
    """The cells of a row of the page's table."""
    name = f"{row.metric}, {row.unit}" if row.unit else row.metric
    return (
        name,
        row.label,
        f"{row.n} of {row.cases}",
        _said(row.mean, row.unit),
        between(row.mean_low, row.mean_high, row.unit),
        _said(row.sd, row.unit),
        _said(row.median, row.unit),
        between(row.median_low, row.median_high, row.unit),
        _said(row.min, row.unit),
        _said(row.max, row.unit),
        _said(row.pooled, row.unit),
    )


def _said(value: float | None, unit: str) -> str:
    """Three places, two where there is a unit; a dash where there is no number."""
    if value is None:
        return "\u2013"
    return f"{value:,.2f}" if unit else f"{value:,.3f}"


def between(low: float | None, high: float | None, unit: str) -> str:
    """An interval as tables show it."""
    if low is None or high is None:
        return "\u2013"
    return f"{_said(low, unit)} to {_said(high, unit)}"


def require_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `write_evaluation` would refuse, before anything is read; leaves no trace."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise UsageError(f"{printable(out)} exists and is not a folder; choose another name")
    if next(out.iterdir(), None) is not None:
        if not overwrite:
            raise UsageError(f"{printable(out)} exists; choose another folder or give --overwrite")
        _require_ours(out)


def _require_ours(folder: Path) -> None:
    """Raise UsageError naming the first thing in a folder that no evaluation wrote."""
    record = record_in(folder / RECORD)
    if not isinstance(record.get("medseg"), dict) or not isinstance(record.get("outputs"), dict):
        raise UsageError(
            f"{printable(folder)} was not written by `medseg evaluate` (no {RECORD} of it); "
            "choose another folder"
        )
    known = {CASES, SUMMARY, RECORD, PAGE, *(name for name in record["outputs"] if PICTURE.fullmatch(name))}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == PICTURES and path.is_dir() and not path.is_symlink():
            continue
        if name not in known or not path.is_file():
            raise UsageError(
                f"{printable(path)} was not written by medseg, so its folder is not replaced; move it away"
            )
