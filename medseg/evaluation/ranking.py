"""Which of a metric's quantities says how good a case is."""

from __future__ import annotations

from collections.abc import Iterable

from medseg.pipeline import Stage
from medseg.prediction import Measured
from medseg.steps import Metric

__all__ = ["quantity_of"]


def quantity_of(metric: Stage[Metric], rows: Iterable[Measured]) -> str | None:
    """The quantity of its rows by which cases are ordered; None where none of them says how good one is.

    That of its own name (`nsd@2mm` is of `nsd`), else the first. But a signed error is smallest where all was
    missed, a count or a volume is largest where the label is: they order nothing.
    """
    whole = [row for row in rows if row.object is None]
    for row in whole:
        if row.quantity.partition("@")[0] == metric.name:
            return row.quantity
    for row in whole:
        if not row.quantity.endswith("-bias") and not _is_amount(row, metric):
            return row.quantity
    return None


def _is_amount(row: Measured, metric: Stage[Metric]) -> bool:
    """Whether it is a count, or has a unit though more of it is better: agreements have none."""
    return isinstance(row.value, int) or (metric.step.better == "high" and row.unit != "")
