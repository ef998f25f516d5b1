"""All measurements as one tidy table: a row per number."""

from collections.abc import Iterable
from pathlib import Path

from medseg.prediction import Result
from medseg.report.csv_line import MEASURED_COLUMNS, csv_line, measured_line
from medseg.steps import Writer

__all__ = ["Csv"]


class Csv(Writer):
    """`measurements.csv`: case, label, object, quantity, value, unit, low, high, flag, note.

    UTF-8 with line feeds. Numbers are written so that reading them gives the same number; a value that cannot
    be said is an empty cell. `low` and `high` bound the value where an interval is known. `note` is the same
    in every row: what a policy made of a doubtful image, empty where nothing was doubtful. A text that a
    spreadsheet could take for a formula begins with an apostrophe.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the table; without measurements it holds its header only."""
        path = folder / "measurements.csv"
        source = result.volume.source
        note = "; ".join(source.decided) if source is not None else ""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(csv_line(MEASURED_COLUMNS))
            file.writelines(measured_line(result.case_id, row, note) for row in result.measurements)
        return [path]
