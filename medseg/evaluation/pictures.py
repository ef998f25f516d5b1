"""An evaluation in pictures: scores by label, volumes against each other, the worst cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from medseg.evaluation import Evaluation
from medseg.evaluation.worst import scores_of
from medseg.report.agreement import draw_agreement
from medseg.report.case_scores import metrics_of
from medseg.report.charts import Picture
from medseg.report.strips import draw_strips
from medseg.report.worst_case import WorstCase, draw_worst_case

__all__ = ["Drawn", "draw_evaluation", "draw_worst"]

MOST_CHARTS = 24


@dataclass(frozen=True)
class Drawn:
    """A picture, what it is called as a file, and what stands above it on a page."""

    name: str
    heading: str
    picture: Picture


def draw_evaluation(evaluation: Evaluation) -> Iterator[Drawn]:
    """A chart of each metric but for counts, and one of volumes where there are three cases of a label."""
    cases = scores_of(evaluation)
    labels = tuple(dict.fromkeys(row.label for case in cases for row in case.measured))
    taken: set[str] = set()
    counts = {
        row.quantity for case in cases for row in case.measured if isinstance(row.value, int)
    }  # of lesions and the like: numbers for tables
    charts = [pair for pair in metrics_of(cases) if pair[0] not in counts]
    errors = {
        row.quantity
        for case in evaluation.cases
        for stage, rows in zip(evaluation.metrics, case.measured, strict=True)
        for row in rows
        if stage.step.better == "low"
    }
    for metric, unit in charts[:MOST_CHARTS]:
        picture = draw_strips(cases, labels, [], metric=metric, unit=unit, error=metric in errors)
        if picture is not None:
            yield Drawn(_file_name(metric, taken), f"{metric}, {unit}" if unit else metric, picture)
    volumes = draw_agreement([pair for case in evaluation.cases for pair in case.volumes])
    if volumes is not None:
        yield Drawn(_file_name("agreement of volumes", taken), "Agreement of volumes", volumes)


def draw_worst(worst: Iterable[WorstCase]) -> Iterator[Drawn]:
    """The labels of each case that differ most; nothing of a case in which none does."""
    for rank, case in enumerate(worst, start=1):
        for number, picture in enumerate(draw_worst_case(case), start=1):
            yield Drawn(f"worst-{rank}-{number}", case.case, picture)


def _file_name(words: str, taken: set[str]) -> str:
    """A name that any file system takes, once."""
    name = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.") or "metric"
    while name in taken:
        name += "-2"
    taken.add(name)
    return name
