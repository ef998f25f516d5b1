"""A CSV file with a row for each case: paths of inputs and masks, ids, subjects, splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from medseg.config import InputSpec
from medseg.errors import InputError, did_you_mean
from medseg.io.csv_rows import read_rows
from medseg.io.regular_file import printable
from medseg.run.inputs import PLAIN
from medseg.training.dataset.case import Case, Split
from medseg.training.dataset.found import Found, input_specs, own_id

__all__ = ["find_in_table"]

LABEL, CASE, SUBJECT, SPLIT, STRATUM = "label", "case", "subject", "split", "stratum"
RESERVED = (LABEL, CASE, SUBJECT, SPLIT, STRATUM)
PREFIX = "label:"
SPLITS = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}


def find_in_table(path: Path, inputs: Sequence[InputSpec] | None) -> Found:
    """The cases in a CSV file.

    Columns are `label` (one mask) or `label:NAME` (a mask for each structure), `case`, `subject`, `split`,
    `stratum`; every other is an input, unless `inputs` says which are.
    """
    columns, rows = read_rows(path)
    structures = tuple(name.removeprefix(PREFIX).strip() for name in columns if name.startswith(PREFIX))
    free = [name for name in columns if name not in RESERVED and not name.startswith(PREFIX)]
    by_column = _inputs(path, free, inputs)
    if structures and LABEL in columns:
        raise InputError(
            f"{printable(path)}: has both {LABEL!r} and {PREFIX + structures[0]!r}; keep one kind"
        )
    if not structures and LABEL not in columns:
        raise InputError(f"{printable(path)}: has no column {LABEL!r}{did_you_mean(LABEL, free)}")
    cases = []
    for line, row in rows:
        where = f"{printable(path)}, line {line}"
        images = {spec.name: path.parent / _filled(row, name, where) for name, spec in by_column.items()}
        case = _id(row.get(CASE, ""), next(iter(images.values())), where)
        masks = {name: path.parent / row[PREFIX + name] for name in structures if row.get(PREFIX + name)}
        if masks and len(masks) < len(structures):
            lacks = next(name for name in structures if name not in masks)
            raise InputError(f"{where}: {PREFIX + lacks!r} is empty; give a mask, black where there is none")
        label = path.parent / row[LABEL] if row.get(LABEL) else None
        subject, stratum = row.get(SUBJECT) or case, row.get(STRATUM, "")
        cases.append(Case(case, images, label, subject, _split(row, where), masks, stratum))
    ignored = [name for name in free if name not in by_column]
    return Found(
        name=path.stem[:100],
        inputs=tuple(by_column.values()),
        cases=tuple(cases),
        structures=structures,
        subjects_stated=SUBJECT in columns and all(row[SUBJECT] for _, row in rows),
        notes=(f"columns not used: {', '.join(ignored)}",) if ignored else (),
    )


def _inputs(path: Path, free: Sequence[str], inputs: Sequence[InputSpec] | None) -> Mapping[str, InputSpec]:
    """Each input by its column."""
    if inputs is None:
        if not free:
            raise InputError(f"{printable(path)}: has no column with images; add one, as `image`")
        return dict(zip(free, input_specs(free), strict=True))
    for spec in inputs:
        if spec.name not in free:
            raise InputError(f"{printable(path)}: has no column {spec.name!r}{did_you_mean(spec.name, free)}")
    return {spec.name: spec for spec in inputs}


def _filled(row: Mapping[str, str], column: str, where: str) -> str:
    if not row[column]:
        raise InputError(f"{where}: {column!r} is empty; give a path")
    return row[column]


def _id(given: str, image: Path, where: str) -> str:
    if given and PLAIN.fullmatch(given) is None:
        raise InputError(
            f"{where}: {given[:100]!r} cannot be a case id; use up to 80 of A-Z a-z 0-9 . _ - "
            "and no dot in front"
        )
    return given or own_id(image)


def _split(row: Mapping[str, str], where: str) -> Split | None:
    said = row.get(SPLIT, "").lower()
    plain = SPLITS.get(said, said)
    for known in get_args(Split):
        if plain == known:
            return known  # type: ignore[no-any-return]  # get_args forgets that these are the literals
    if plain:
        raise InputError(f"{where}: split {said[:40]!r}; it is train, validation, test or empty")
    return None
