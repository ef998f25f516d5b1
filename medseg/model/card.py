"""The card of a model: what it is, is not for, and may be used under."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from medseg.config import describe, load_yaml
from medseg.errors import ModelError
from medseg.plugin.component import NAME

__all__ = ["CARD", "Card", "read_card"]

CARD = "card.yaml"
MAX_NAME = 64


def _name(text: str) -> str:
    """A model's name is the name of its folder and is typed on command lines."""
    if len(text) > MAX_NAME or not NAME.fullmatch(text):
        shown = text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…"
        raise ValueError(
            f"{shown!r} is not a name: use at most {MAX_NAME} lower-case letters and digits, "
            "words joined by dashes, as in 'ct-tissue'"
        )
    return text


def _line(text: str) -> str:
    """What a card says is printed on terminals: one line, without control characters."""
    line = " ".join(text.split())
    if not line or not line.isprintable():
        raise ValueError("is empty or holds control characters; write plain text")
    return line


Line = Annotated[str, Field(max_length=4000), AfterValidator(_line)]
Lines = Annotated[tuple[Line, ...], Field(max_length=100)]


class Card(BaseModel):
    """What a model is and is not for, told by who made it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(_name)]
    """Name of the model: lower-case words joined by dashes."""

    version: Line
    """Version of the model, apart from its package's."""

    summary: Line
    """One line: what it segments in what."""

    licence: Line
    """Licence of weights and rules, as an SPDX identifier."""

    intended_use: Line
    """What it was made for."""

    limitations: Lines = ()
    """Where it is known to be wrong or untested."""

    references: Lines = ()
    """Papers and data it rests on."""

    evaluation: Lines = ()
    """What was measured, on what data."""

    research_use_only: Literal[True] = True
    """medseg runs no other models."""


def read_card(path: Path) -> Card:
    """The card in a YAML file; raises ModelError or PipelineError with the place and what is wrong there."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path}: is not a model card; see `medseg models show` of an installed model")
    try:
        return Card.model_validate(content)
    except ValidationError as problem:
        raise ModelError(f"{path}: {describe(problem, Card)}") from problem
