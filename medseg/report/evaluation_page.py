"""The page of an evaluation: one HTML file that needs nothing else, with numbers, charts and the worst cases.

Names of cases and labels come from files: everything but the pictures is escaped, and the page forbids
itself to load or run anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.report.charts import Picture
from medseg.report.page import filled_in

__all__ = ["EvaluationReport", "Section", "write_evaluation_page"]

TEMPLATE = "evaluation_page.html.j2"


@dataclass(frozen=True)
class Section:
    """A part of the page: what it is about, what to know of it, and pictures, each under its heading."""

    heading: str
    words: str
    pictures: Sequence[tuple[str, Picture]]


@dataclass(frozen=True)
class EvaluationReport:
    """What the page says of an evaluation.

    `facts` are pairs of what and which; `statistics` are rows of cells under `columns`, the first two of
    which are words; `notes` stand at the end, a line each.
    """

    facts: Sequence[tuple[str, str]]
    columns: Sequence[str]
    statistics: Sequence[Sequence[str]]
    sections: Sequence[Section] = ()
    notes: Sequence[str] = ()


def write_evaluation_page(report: EvaluationReport, path: Path) -> None:
    """Write the page as HTML in UTF-8, with its pictures inside."""
    path.write_text(filled_in(TEMPLATE, report=report), encoding="utf-8")
