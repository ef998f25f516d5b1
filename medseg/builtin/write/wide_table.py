"""The measurements as tables for people: a row for each structure and each lesion, units in column names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from medseg.prediction import Measured, Result
from medseg.report.csv_line import csv_line
from medseg.steps import Writer

__all__ = ["WideTable", "column_name"]

FEW = 3  # quantities that a flag names; of more, the first and how many
SPELT = str.maketrans({"²": "2", "³": "3", "%": "percent", "/": "_per_", " ": "_"})
Cells = dict[str, float | str | None]


class WideTable(Writer):
    """`structures.csv`, a row for each label, and `lesions.csv`, a row for each lesion or other object.

    Columns are `case`, `label`, in `lesions.csv` also `object`, then every quantity with its unit, as
    `volume_mL` or `surface_area_mm2`, in the order in which they were measured; words, counts and indices
    have no unit. Bounds stand beside their value, as `members_volume_mL_low` and `members_volume_mL_high`.
    `flags` has each reason to read numbers with care once, with the quantities that it is about, or by itself
    where it is about all of them; `note` is what a policy made of a doubtful image. Numbers, empty cells and
    quotes are those of `csv`, and so are texts that a spreadsheet could take for a formula.

    Labels stand in the order of the label table, also those of which nothing was measured. A quantity that
    two measurements give for the same label has a second column, as `volume_mL-2`. Without lesions there is
    no `lesions.csv`.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one table or two."""
        structures: dict[str, list[Measured]] = {label.name: [] for label in result.segmentation.labels}
        lesions: dict[tuple[str, int], list[Measured]] = {}
        for row in result.measurements:
            if row.object is None:
                structures[row.label].append(row)
            else:
                lesions.setdefault((row.label, row.object), []).append(row)
        source = result.volume.source
        note = "; ".join(source.decided) if source is not None else ""
        path = folder / "structures.csv"
        named: dict[Sequence[float | str], list[Measured]] = {
            (result.case_id, label): rows for label, rows in structures.items()
        }
        _write(path, ("case", "label"), named, note)
        yield path
        if lesions:
            path = folder / "lesions.csv"
            named = {(result.case_id, *which): rows for which, rows in lesions.items()}
            _write(path, ("case", "label", "object"), named, note)
            yield path


def column_name(quantity: str, unit: str) -> str:
    """A quantity with its unit in letters and digits, as `surface_area_mm2`; itself where it has none."""
    return f"{quantity}_{unit.translate(SPELT)}" if unit else quantity


def _write(
    path: Path, keys: Sequence[str], named: Mapping[Sequence[float | str], list[Measured]], note: str
) -> None:
    """One table: a line for each entry, begun by what it is named by."""
    entries = {name: _cells(rows) for name, rows in named.items()}
    columns = list(_columns(entries.values()))
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line((*keys, *columns, "flags", "note")))
        for name, cells in entries.items():
            values = (cells.get(column) for column in columns)
            file.write(csv_line((*name, *values, _flags(named[name]), note)))


def _cells(rows: Iterable[Measured]) -> Cells:
    """Values and bounds by column; a bound is always behind its value."""
    cells: Cells = {}
    for row in rows:
        name, again = column_name(row.quantity, row.unit), 1
        column = name
        while column in cells:
            again += 1
            column = f"{name}-{again}"
        cells[column] = row.value
        if row.interval is not None:
            cells[f"{column}_low"], cells[f"{column}_high"] = row.interval
    return cells


def _columns(entries: Iterable[Cells]) -> Iterator[str]:
    """All columns, each where it was first seen; bounds beside their value, whoever has them first."""
    seen = dict.fromkeys(column for cells in entries for column in cells)
    given: set[str] = set()
    for column in seen:
        for each in (column, f"{column}_low", f"{column}_high"):
            if each in seen and each not in given:
                given.add(each)
                yield each


def _flags(rows: Sequence[Measured]) -> str:
    """Each reason once, with the quantities that it is about: "truncated: left (volume, qc)"."""
    about: dict[str, dict[str, None]] = {}
    for row in rows:
        for reason in row.flag.split("; ") if row.flag else ():
            about.setdefault(reason, {})[row.quantity] = None
    every = len({row.quantity for row in rows})
    return "; ".join(_reason(reason, list(names), every) for reason, names in about.items())


def _reason(reason: str, names: Sequence[str], every: int) -> str:
    if len(names) == every:
        return reason
    if len(names) <= FEW:
        return f"{reason} ({', '.join(names)})"
    return f"{reason} ({names[0]} and {len(names) - 1} more)"
