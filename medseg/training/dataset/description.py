"""`dataset.yaml`: what a user says of data that does not say it itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from medseg.config import InputSpec, describe, load_yaml
from medseg.errors import InputError, PipelineError
from medseg.io.regular_file import open_regular, printable
from medseg.training.dataset.case import Overlap, Statement

__all__ = ["Description", "Subjects", "description_beside", "load_json", "read_description"]

MOST_BYTES = 64 << 20  # a dataset.json lists every file of its dataset


def _one_group(text: str) -> str:
    """Refuse what is no regular expression with one group."""
    try:
        groups = re.compile(text).groups
    except re.error as problem:
        raise ValueError(f"is no regular expression: {problem}") from problem
    if groups != 1:
        raise ValueError(rf"must have one group, the subject, as in 'patient(\d+)_.*'; it has {groups}")
    return text


class Strict(BaseModel):
    """Unknown keys are refused, values are frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Subjects(Strict):
    """Which cases are of one person: by a pattern, or by a table."""

    pattern: Annotated[str, AfterValidator(_one_group)] | None = Field(default=None, max_length=500)
    """Regular expression to be found in the case's id; its one group is the subject."""

    table: Path | None = None
    """CSV file with the columns `case` and `subject`, relative to this file; a column `stratum` says which
    cases are of a kind."""


class Description(Strict):
    """What `dataset.yaml` may say; what it says goes before what the data say of themselves."""

    data: Path | None = None
    """Folder, CSV file or dataset.json that is described, relative to this file; without it, what lies beside
    it."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    """The dataset's name."""

    inputs: tuple[InputSpec, ...] | None = Field(default=None, min_length=1)
    """Inputs in order, by names and modalities; in a CSV file these columns, and no others, are read."""

    labels: Any = None
    """Labels as `{liver: 1}`, `{1: liver}`, `[liver, spleen]`, `{tumour: [1, 2]}`, `{nucleus: any}`, or with
    colours and codes as in a pipeline file."""

    ignore: int | None = Field(default=None, ge=1, le=65535)
    """Value in the masks of voxels that are not trained on."""

    subjects: Subjects | None = None
    """Which cases are of one person, so that they are never on both sides of a split."""

    threshold: float | None = Field(default=None, ge=0)
    """In masks of one structure, voxels above this are inside."""

    overlap: Overlap = "refuse"
    """What becomes of masks of structures that overlap: `layers` gives each structure its own layer."""

    pixel_size: float | None = Field(default=None, gt=0)
    """Millimetres per pixel of PNG and TIFF pictures."""

    description: str = ""
    """What the data are, in a sentence."""

    licence: str = ""
    """Licence of the data, as in "CC-BY-SA-4.0"."""

    attribution: str = ""
    """Whom to name."""

    reference: str = ""
    """Where the data are described."""

    @field_validator("subjects", mode="before")
    @classmethod
    def _a_table_alone(cls, value: Any) -> Any:
        return {"table": value} if isinstance(value, str | Path) else value

    @property
    def statement(self) -> Statement:
        """What goes onto a model's card."""
        return Statement(self.description, self.licence, self.attribution, self.reference)


def read_description(path: Path) -> Description:
    """The description in a YAML file, its paths made absolute; raises InputError saying what is wrong."""
    try:
        content = load_yaml(path)
        found = Description.model_validate({} if content is None else content)
    except PipelineError as problem:
        raise InputError(str(problem)) from problem
    except ValidationError as problem:
        raise InputError(f"{printable(path)}: {describe(problem, Description)}") from problem
    changes: dict[str, Any] = {}
    if found.data is not None:
        changes["data"] = path.parent / found.data
    if found.subjects is not None and found.subjects.table is not None:
        table = path.parent / found.subjects.table
        changes["subjects"] = found.subjects.model_copy(update={"table": table})
    return found.model_copy(update=changes)


def description_beside(folder: Path, stem: str | None = None) -> Description:
    """What `STEM.yaml`, `dataset.yaml` or `labels.json` in a folder says; nothing where there is none."""
    for name in (*([f"{stem}.yaml"] if stem else ()), "dataset.yaml"):
        if (folder / name).is_file():
            return read_description(folder / name)
    for name in (*([f"{stem}.json"] if stem else ()), "labels.json"):
        if (folder / name).is_file():
            told = load_json(folder / name)
            return Description(labels=told.get("labels", told), ignore=told.get("ignore"))
    return Description()


def load_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises InputError where it holds anything else."""
    with open_regular(path) as file:
        if file.size > MOST_BYTES:
            raise InputError(f"{printable(path)}: {file.size >> 20} MB are too many for a description")
        content = file.readall() or b""
    try:
        told = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{printable(path)}: not valid JSON ({problem}); correct it") from problem
    if not isinstance(told, dict):
        raise InputError(f'{printable(path)}: must hold an object, as in {{"labels": …}}')
    return told
