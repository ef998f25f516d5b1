"""The card of a model: what it is, is not for, and may be used under."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from medseg.config import describe, load_yaml
from medseg.errors import ModelError
from medseg.plugin.component import NAME

__all__ = ["CARD", "ENOUGH_DICE", "Card", "PrecisionEvidence", "allows", "read_card"]

CARD = "card.yaml"
MAX_NAME = 64
ENOUGH_DICE = 0.999


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
Dice = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PrecisionEvidence(BaseModel):
    """What `medseg models verify` measured: labels in a lower precision held against those in fp32."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    precision: Literal["bf16", "fp16"]
    """The lower precision."""

    engine: Literal["torch", "openvino", "onnx"]
    """What computed the network."""

    weights_sha256: Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=32)]
    """SHA-256 of each weights file that was used; for others it says nothing."""

    cases: int = Field(ge=1, le=1_000_000)
    """Images it was measured on."""

    dice_mean: Dice
    """Mean over images and labels of the Dice against the labels in fp32."""

    dice_lowest: Dice
    """Lowest Dice of one label in one image."""

    labels: Annotated[dict[Line, Dice], Field(min_length=1, max_length=1000)]
    """Mean Dice of each label over the images in which fp32 or the other found it."""


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

    training_data: Lines = ()
    """What it was trained on: data, numbers of cases and subjects, their licence, whom to name."""

    references: Lines = ()
    """Papers and data it rests on."""

    evaluation: Lines = ()
    """What was measured, on what data."""

    precision: Annotated[tuple[PrecisionEvidence, ...], Field(max_length=20)] = ()
    """What `medseg models verify` measured; it decides whether a lower precision is taken by itself."""

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


def allows(card: Card | None, precision: str, weights: Iterable[str], *, engine: str | None = None) -> bool:
    """Whether a card records that these weights give the labels of fp32 in a lower precision too.

    The mean Dice of every label must be 0.999 or more: a mean over all would hide a small one that is lost.
    `weights` are the SHA-256 of all weights files. Engines round differently: with an `engine` only what was
    measured with it counts, and all that was measured with it must suffice.
    """
    if precision == "fp32":
        return True
    used = sorted(weights)
    found = [
        min(evidence.labels.values())
        for evidence in (card.precision if card else ())
        if evidence.precision == precision
        and sorted(evidence.weights_sha256) == used
        and engine in (None, evidence.engine)
    ]
    return bool(used and found) and min(found) >= ENOUGH_DICE
