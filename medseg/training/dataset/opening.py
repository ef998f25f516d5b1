"""Any dataset as its owner has it, as one `Dataset`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from medseg.errors import InputError
from medseg.io import one_refusal
from medseg.io.regular_file import is_folder, printable, require_regular
from medseg.training.dataset.case import Case, Dataset, Statement
from medseg.training.dataset.description import (
    Description,
    Subjects,
    description_beside,
    read_description,
)
from medseg.training.dataset.folders import PAIRS, find_in_folders
from medseg.training.dataset.found import Found, require_own_ids
from medseg.training.dataset.labels import Named, named_labels
from medseg.training.dataset.msd import find_in_json
from medseg.training.dataset.subjects import with_subjects
from medseg.training.dataset.table import find_in_table
from medseg.training.dataset.unnamed import labels_in_masks

__all__ = ["open_dataset"]

YAML = (".yaml", ".yml")
WANTED = (
    "give a folder with a dataset.json (Medical Segmentation Decathlon, nnU-Net), a folder with images/ and "
    "labels/, a CSV file, or a dataset.yaml"
)


def open_dataset(path: str | Path, *, subjects: str | Path | None = None) -> Dataset:
    """The cases and labels of a dataset; no image is read, and masks only where no label is named.

    `path` is a folder with `dataset.json` (Medical Segmentation Decathlon, raw data of nnU-Net v2), a folder
    with `images/` and `labels/`, a CSV file, or a `dataset.yaml` that names one of these as `data:`. A
    `dataset.yaml` beside the data says what they do not say themselves. `subjects` is a CSV file with the
    columns `case` and `subject`, and `stratum` if there are any, and goes before all else.

    Files that are missing are not looked for: `check_dataset` does that. Raises InputError where there are no
    cases or a description is wrong.
    """
    path = Path(path)
    with one_refusal(path):
        require_regular(path, or_folder=True)
        return _opened(path, None if subjects is None else Path(subjects))


def _opened(path: Path, subjects: Path | None) -> Dataset:
    description, data = _described(path)
    found = _found(data, description)
    if not found.cases:
        raise InputError(f"{printable(data)}: holds no cases; {WANTED}")
    require_own_ids(found.cases, data)
    rule = Subjects(table=subjects) if subjects is not None else description.subjects
    cases = found.cases if rule is None else with_subjects(found.cases, rule)
    named, notes = _labels(found, description, cases, data)
    return Dataset(
        name=description.name or found.name,
        inputs=description.inputs or found.inputs,
        labels=named.table,
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        values=named.values,
        ignore=named.ignore if description.ignore is None else description.ignore,
        threshold=description.threshold,
        overlap=description.overlap,
        pixel_size=description.pixel_size,
        statement=_together(description.statement, found.statement),
        subjects_stated=found.subjects_stated or rule is not None,
        notes=(*found.notes, *notes),
    )


def _described(path: Path) -> tuple[Description, Path]:
    """What the user says of the data, and where they are."""
    if path.suffix.lower() in YAML:
        description = read_description(path)
        data = description.data or path.parent
        require_regular(data, or_folder=True)
        return description, data
    if is_folder(path):
        description = description_beside(path)
        return description, description.data or path
    stem = path.stem if path.suffix.lower() == ".csv" else None
    return description_beside(path.parent, stem), path


def _found(data: Path, description: Description) -> Found:
    """What the data say of themselves, by the format that they are in."""
    if is_folder(data):
        if (data / "dataset.json").exists():
            return _with_inputs(find_in_json(data / "dataset.json"), description, data)
        if any(is_folder(data / images) for images, _, _ in PAIRS):
            return find_in_folders(data, description.inputs)
        tables = sorted(data.glob("*.csv"))
        if len(tables) == 1:
            return find_in_table(tables[0], description.inputs)
        raise InputError(f"{printable(data)}: is not a dataset; {WANTED}")
    if data.suffix.lower() == ".json":
        return _with_inputs(find_in_json(data), description, data)
    if data.suffix.lower() == ".csv":
        return find_in_table(data, description.inputs)
    raise InputError(f"{printable(data)}: is not a dataset; {WANTED}")


def _with_inputs(found: Found, description: Description, data: Path) -> Found:
    """The description's inputs in place of those of a dataset.json, in the same order."""
    if description.inputs is None:
        return found
    if len(description.inputs) != len(found.inputs):
        raise InputError(
            f"{printable(data)}: has {len(found.inputs)} inputs, its dataset.yaml names "
            f"{len(description.inputs)}"
        )
    names = [spec.name for spec in description.inputs]
    cases = tuple(
        replace(case, images=dict(zip(names, case.images.values(), strict=True))) for case in found.cases
    )
    return replace(found, inputs=description.inputs, cases=cases)


def _labels(
    found: Found, description: Description, cases: tuple[Case, ...], data: Path
) -> tuple[Named, tuple[str, ...]]:
    """The labels, named by the description, else by the data, else by what is in the masks."""
    layers = description.overlap == "layers"
    told = found.labels if description.labels is None else description.labels
    try:
        if found.structures:
            return _of_structures(found.structures, told, layers=layers), ()
        if told is not None:
            return named_labels(told, layers=layers), ()
    except InputError as problem:
        raise InputError(f"{printable(data)}: {problem}") from problem
    if not any(case.labelled for case in cases):
        raise InputError(f"{printable(data)}: no case has a mask; there is nothing to learn from")
    return labels_in_masks(cases, ignore=description.ignore)


def _of_structures(structures: tuple[str, ...], told: Any, *, layers: bool) -> Named:
    """The labels of structures that have a mask each; a description may give codes and colours."""
    named = named_labels(list(structures) if told is None else told, layers=layers, apart=True)
    if set(named.values) != set(structures):
        raise InputError(
            f"labels: {', '.join(named.values)} are named, there are masks of {', '.join(structures)}"
        )
    return named


def _together(said: Statement, found: Statement) -> Statement:
    """What the user says, and what the data say where the user says nothing."""
    names = [field.name for field in fields(Statement)]
    return Statement(**{name: getattr(said, name) or getattr(found, name) for name in names})
