"""Where a training stands: what is kept in a checkpoint besides weights, and what is logged."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medseg.training.schedule import Span

__all__ = ["Standing", "write_log"]

Row = dict[str, float | int | None]


@dataclass
class Standing:
    """A training between two epochs. `span` is the progress over the next epoch, decided when it was kept.

    `elapsed` are seconds of training, over all processes that took part in it one after the other.
    `validate_at` is the number of epochs after which the next validation is due.
    """

    step: int = 0
    epoch: int = 0
    elapsed: float = 0.0
    span: Span = (0.0, 0.0)
    validate_at: int = 1
    best: float | None = None
    best_epoch: int = 0
    since_best: int = 0
    over: bool = False
    rows: list[Row] = field(default_factory=list)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """What a checkpoint holds: plain data only."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Standing:
        """Back from a checkpoint."""
        start, stop = plain["span"]
        return cls(**{**plain, "span": (float(start), float(stop))})


def write_log(path: Path, rows: list[Row]) -> None:
    """The log as CSV, a row an epoch: written whole each time, so that no epoch is in it twice."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
