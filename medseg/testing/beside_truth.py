"""Print the volumes of a result beside the true ones: `python -m medseg.testing.beside_truth OUT TRUTH.json`.

OUT is a folder that `medseg segment` wrote, TRUTH the `abdomen_truth.json` of the sample data. Works for any
JSON of that form: `{"labels": [{"name": …, "volume_ml": …}, …]}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Comparison", "compare", "main"]


class Comparison(NamedTuple):
    """A label's volume as found and as it is, in mL; the error is in per cent of the truth."""

    label: str
    found_ml: float
    true_ml: float

    @property
    def error(self) -> float:
        """Per cent by which the volume found is too large."""
        return 100.0 * (self.found_ml - self.true_ml) / self.true_ml


def compare(out: Path, truth: Path) -> list[Comparison]:
    """One comparison per label that both know, in the order of the truth."""
    found = json.loads((out / "measurements.json").read_text(encoding="utf-8"))["labels"]
    labels = json.loads(truth.read_text(encoding="utf-8"))["labels"]
    return [
        Comparison(label["name"], found[label["name"]]["volume_ml"] or 0.0, label["volume_ml"])
        for label in labels
        if label["name"] in found
    ]


def main() -> None:
    """Print the table."""
    print(f"{'label':<14} {'found':>12} {'true':>12} {'error':>8}")  # noqa: T201 - the program's result
    for label, found, true, error in ((*c, c.error) for c in compare(Path(sys.argv[1]), Path(sys.argv[2]))):
        print(f"{label:<14} {found:>9,.1f} mL {true:>9,.1f} mL {error:>+6.1f} %")  # noqa: T201


if __name__ == "__main__":
    main()
