"""Models: ready-to-run folders of data, found by name, folder or pipeline file.

A model folder holds `pipeline.yaml`, `card.yaml` and, if it was trained, weights. It is data only: nothing in
it is imported or run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medseg.config import PipelineFile, describe, load_yaml, read_pipeline
from medseg.errors import ModelError, PipelineError, did_you_mean
from medseg.plugin.catalog import Catalog, Entry, normalised

__all__ = ["Card", "Model", "find_model", "installed_models"]

PIPELINE, CARD = "pipeline.yaml", "card.yaml"


class Card(BaseModel):
    """What a model is and is not for, told by who made it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """Name of the model."""

    version: str = Field(min_length=1)
    """Version of the model, apart from its package's."""

    summary: str = Field(min_length=1)
    """One line: what it segments in what."""

    licence: str = Field(min_length=1)
    """Licence of weights and rules, as an SPDX identifier."""

    intended_use: str = Field(min_length=1)
    """What it was made for."""

    limitations: tuple[str, ...] = ()
    """Where it is known to be wrong or untested."""

    references: tuple[str, ...] = ()
    """Papers and data it rests on."""

    evaluation: tuple[str, ...] = ()
    """What was measured, on what data."""

    research_use_only: Literal[True] = True
    """medseg runs no other models."""


@dataclass(frozen=True)
class Model:
    """A pipeline with where it comes from: a plugin's folder, any folder, or a lone pipeline file.

    `card` is None for a lone pipeline file; `folder` is where its weights are looked for; `sha256` covers the
    pipeline file as it was read.
    """

    name: str
    file: PipelineFile
    path: Path
    folder: Path
    sha256: str
    card: Card | None = None
    entry: Entry | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of everything in the model's folder; of the pipeline file alone where there is no card."""
        if self.card is None:
            return self.path.stat().st_size
        return sum(part.stat().st_size for part in self.folder.rglob("*") if part.is_file())


def find_model(name: str | Path, catalog: Catalog) -> Model:
    """The model that `--model` means: an installed name, a folder, or a pipeline file.

    Text is an installed name before it is a path: write ./NAME for a file of that name, or give a Path, which
    is always one. Raises ModelError where there is no such model, PipelineError where its pipeline is wrong.
    """
    text = str(name)
    if isinstance(name, str) and any(entry.answers_to(text) for entry in catalog.of_kind("model")):
        return _installed(catalog.find("model", text))
    path = Path(name)
    try:
        if path.is_dir():
            return _folder(path, path.resolve().name)
        if path.is_file():
            return _lone(path)
    except OSError as problem:  # no permission, or a name that no file system takes
        raise ModelError(f"{text[:200]}: cannot be read: {problem.strerror}") from problem
    named_as_path = len(path.parts) > 1 and not _looks_qualified(text, catalog)
    if isinstance(name, Path) or path.suffix in (".yaml", ".yml") or named_as_path:
        raise ModelError(f"{text}: no such file or folder")
    try:
        catalog.find("model", text)
    except PipelineError as problem:
        raise ModelError(f"{problem} (--model takes an installed name, a folder or a file)") from problem
    raise ModelError(f"model {text!r} cannot be found")


def installed_models(catalog: Catalog) -> tuple[Model | tuple[Entry, str], ...]:
    """Every installed model, or its entry with what is wrong with it."""
    found: list[Model | tuple[Entry, str]] = []
    for entry in catalog.of_kind("model"):
        try:
            found.append(_installed(entry))
        except PipelineError as problem:
            found.append((entry, str(problem)))
    return tuple(found)


def _looks_qualified(text: str, catalog: Catalog) -> bool:
    """Whether the text before a slash is a distribution that is installed here."""
    return normalised(text.partition("/")[0]) in {normalised(entry.distribution) for entry in catalog.entries}


def _installed(entry: Entry) -> Model:
    model = _folder(entry.folder(), entry.component.name)
    if model.card is not None and model.card.name != entry.component.name:
        raise ModelError(f"{model.folder / CARD}: name: {model.card.name!r} is not {entry.component.name!r}")
    return Model(**{**model.__dict__, "entry": entry})


def _folder(folder: Path, name: str) -> Model:
    for part in (PIPELINE, CARD):
        if not (folder / part).is_file():
            there = [path.name for path in folder.glob("*.y*ml")]
            raise ModelError(
                f"{folder}: is not a model: it has no {part}{did_you_mean(part, there) if there else ''}"
            )
    model = _lone(folder / PIPELINE)
    content = load_yaml(folder / CARD)
    if not isinstance(content, dict):
        raise ModelError(
            f"{folder / CARD}: is not a model card; see `medseg models show` of an installed model"
        )
    try:
        card = Card.model_validate(content)
    except ValidationError as problem:
        raise ModelError(f"{folder / CARD}: {describe(problem, Card)}") from problem
    return Model(name, model.file, model.path, folder, model.sha256, card)


def _lone(path: Path) -> Model:
    file = read_pipeline(path)
    return Model(path.stem, file, path, path.parent, hashlib.sha256(path.read_bytes()).hexdigest())
