"""A model as it lies on the disk: a folder with pipeline, card and weights, or a lone pipeline file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from medseg.config import PipelineFile, read_pipeline
from medseg.errors import ModelError, did_you_mean
from medseg.model.card import CARD, Card, read_card
from medseg.plugin.catalog import Entry

__all__ = ["PIPELINE", "Model", "lone_pipeline", "model_in"]

PIPELINE = "pipeline.yaml"


@dataclass(frozen=True)
class Model:
    """A pipeline with where it comes from: a plugin's or user's folder, any other, or a lone pipeline file.

    `card` is None for a lone pipeline file; `folder` is where its weights are looked for; `sha256` covers the
    pipeline file as it was read; `entry` says who installed it, None for what was named by its path.
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


def model_in(folder: Path, name: str, *, entry: Entry | None = None) -> Model:
    """The model in a folder; raises ModelError where a part is missing, PipelineError where one is wrong."""
    for part in (PIPELINE, CARD):
        path = folder / part
        if not path.is_file():
            there = [found.name for found in folder.glob("*.y*ml")]
            raise ModelError(
                f"{folder}: is not a model: it has no {part}{did_you_mean(part, there) if there else ''}"
            )
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{path}: is a link that leads out of the model's folder; copy the file there")
    model, card = lone_pipeline(folder / PIPELINE), read_card(folder / CARD)
    if entry is not None and card.name != entry.component.name:
        raise ModelError(f"{folder / CARD}: name: {card.name!r} is not {entry.component.name!r}")
    return Model(name, model.file, model.path, folder, model.sha256, card, entry)


def lone_pipeline(path: Path) -> Model:
    """The model that a pipeline file without a card is."""
    file = read_pipeline(path)
    return Model(path.stem, file, path, path.parent, hashlib.sha256(path.read_bytes()).hexdigest())
