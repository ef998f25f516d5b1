"""The page of an evaluation: one HTML file that needs nothing else, with numbers, charts and the worst cases.

Names of cases and labels come from files: everything but the pictures is escaped, and the page forbids
itself to load or run anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.report.charts import Picture

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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path.write_text(environment.get_template(TEMPLATE).render(report=report), encoding="utf-8")


def _printable(value: object) -> object:
    """Without characters that steer a terminal or a text's direction, or that no file can hold."""
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value
    return "".join(c if c.isprintable() else " " for c in value)
