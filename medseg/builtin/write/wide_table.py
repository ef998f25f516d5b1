"""The measurements as tables for people: a row for each structure and each object, units in column names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from medseg.prediction import Measured, Result
from medseg.report.csv_line import csv_line
from medseg.steps import Writer

__all__ = ["WideTable", "column_name"]

FEW = 3  # quantities that a flag names; of more, the first and how many
SPELT = str.maketrans({"²": "2", "³": "3", "%": "percent", "/": "_per_", " ": "_"})
TAKEN = {"case", "label", "object", "flags", "note"}  # columns of every table
Cells = dict[str, float | str | None]
Numbered = tuple[Measured, int]
"""A row, and the number of its measurement among those that give its column."""


class WideTable(Writer):
    """`structures.csv`, a row for each label, and `objects.csv`, a row for each lesion or other object.

    Columns are `case`, `label`, in `objects.csv` also `object`, then every quantity with its unit, as
    `volume_mL` or `surface_area_mm2`, in the order in which they were measured; words, counts and indices
    have no unit. Bounds stand beside their value, as `members_volume_mL_low` and `members_volume_mL_high`.
    `flags` has each reason to read numbers with care once, with the quantities that it is about, or by itself
    where it is about all of them; `note` is what a policy made of a doubtful image. Numbers, empty cells and
    quotes are those of `csv`, and so are texts that a spreadsheet could take for a formula.

    Labels stand in the order of the label table, also those of which nothing was measured. A quantity that
    two measurements give for the same label has a second column, as `volume_mL-2`, in which all labels have
    the second one's value; one that is called as a column of every table is `flags-2`. Without objects
    there is no `objects.csv`.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one table or two."""
        structures: dict[str, list[Numbered]] = {label.name: [] for label in result.segmentation.labels}
        objects: dict[tuple[str, int], list[Numbered]] = {}
        for each in _numbered(result.measurements, list(structures)):
            row, _ = each
            if row.object is None:
                structures[row.label].append(each)
            else:
                objects.setdefault((row.label, row.object), []).append(each)
        source = result.volume.source
        note = "; ".join(source.decided) if source is not None else ""
        path = folder / "structures.csv"
        named: dict[Sequence[float | str], list[Numbered]] = {
            (result.case_id, label): rows for label, rows in structures.items()
        }
        _write(path, ("case", "label"), named, note)
        yield path
        if objects:
            path = folder / "objects.csv"
            named = {(result.case_id, *which): rows for which, rows in objects.items()}
            _write(path, ("case", "label", "object"), named, note)
            yield path


def column_name(quantity: str, unit: str) -> str:
    """A quantity with its unit in letters and digits, as `surface_area_mm2`; itself where it has none."""
    return f"{quantity}_{unit.translate(SPELT)}" if unit else quantity


def _write(
    path: Path, keys: Sequence[str], named: Mapping[Sequence[float | str], list[Numbered]], note: str
) -> None:
    """One table: a line for each entry, begun by what it is named by."""
    entries = {name: _cells(rows) for name, rows in named.items()}
    columns = list(_columns(entries.values()))
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line((*keys, *columns, "flags", "note")))
        for name, cells in entries.items():
            values = (cells.get(column) for column in columns)
            file.write(csv_line((*name, *values, _flags([row for row, _ in named[name]]), note)))


def _numbered(rows: Sequence[Measured], labels: Sequence[str]) -> Iterator[Numbered]:
    """Each row with the number of its measurement among those that give its column.

    Rows do not say which measurement they are of. One gives a quantity of a label once and labels in their
    order, so where a column has a label twice, the next one begins where a label comes again or too early.
    """
    place = {name: n for n, name in enumerate(labels)}
    times = Counter((_column(row), row.label, row.object) for row in rows)
    several = {(column, object_ is None) for (column, _, object_), count in times.items() if count > 1}
    given: dict[tuple[str, bool], tuple[int, int, set[tuple[str, int | None]]]] = {}
    for row in rows:
        column, which = (_column(row), row.object is None), (row.label, row.object)
        number, last, seen = given.get(column, (1, 0, set()))
        if column in several and (which in seen or place[row.label] < last):
            number, seen = number + 1, set()
        seen.add(which)
        given[column] = number, place[row.label], seen
        yield row, number


def _column(row: Measured) -> str:
    return column_name(row.quantity, row.unit)


def _cells(rows: Iterable[Numbered]) -> Cells:
    """Values and bounds by column; a bound is always behind its value."""
    cells: Cells = {}
    for row, number in rows:
        name = _column(row)
        again = number + (name in TAKEN)
        column = name if again == 1 else f"{name}-{again}"
        while column in cells:  # a bound of another quantity
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
