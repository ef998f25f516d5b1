"""Which precision a model runs in where none is asked for, and the card's record that decides it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from medseg.errors import ModelError, UsageError
from medseg.inference.engines import automatic_engine
from medseg.inference.processors import processors_compute
from medseg.io.atomic import staged_file
from medseg.io.regular_file import printable
from medseg.model.card import CARD, Card, PrecisionEvidence, allows, read_card
from medseg.model.folder import Model
from medseg.prediction import Resources

__all__ = ["may_record", "precision_for", "record", "written"]

BLOCK = re.compile(r"^precision:.*\n(?:(?:[ \t#-].*)?\n)*", re.MULTILINE)


def precision_for(card: Card | None, weights: Iterable[str], resources: Resources) -> str:
    """The precision that "auto" means for a model with these weights here; any other is itself.

    It is bf16 where the card has evidence for these weights with the engine that will run, and the processor
    computes in bf16, or the GPU does; else fp32.
    """
    if resources.precision != "auto":
        return resources.precision
    weights = tuple(weights)
    if not weights or card is None or not card.precision:  # and torch need not be loaded to know
        return "fp32"
    engine, device = automatic_engine(resources)
    if not allows(card, "bf16", weights, engine=engine):
        return "fp32"
    if device == "cuda":
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if processors_compute("bf16") else "fp32"


def may_record(model: Model) -> bool:
    """Whether evidence can be written into this model's card: a folder of the user's, not a plugin's."""
    owned = model.entry is None or model.entry.place is not None
    return model.card is not None and owned


def record(model: Model, evidence: PrecisionEvidence) -> Path:
    """Write evidence into a model's card, in place of older of the same kind; the rest stays as it is.

    Raises UsageError for a model of a plugin, ResourceError where the card cannot be written.
    """
    if not may_record(model):
        raise UsageError(f"model {model.name!r} is a plugin's; its card is its maker's to write")
    path = model.folder / CARD
    card = read_card(path)
    text = path.read_text(encoding="utf-8")
    kept = [old for old in card.precision if _kind(old) != _kind(evidence)]
    rest = BLOCK.sub("", text).rstrip("\n")
    new = f"{rest}\n{written((*kept, evidence))}"
    with staged_file(path, overwrite=True) as file:
        file.write_text(new, encoding="utf-8")
        expected = card.model_copy(update={"precision": (*kept, evidence)})
        if read_card(file) != expected:
            raise ModelError(
                f"{printable(path)}: its block `precision` is written unusually; edit it by hand"
            )
    return path


def written(evidence: Iterable[PrecisionEvidence]) -> str:
    """Evidence as a card has it."""
    plain = [each.model_dump(mode="json") for each in evidence]
    return yaml.safe_dump({"precision": plain}, sort_keys=False, allow_unicode=True, width=100)


def _kind(evidence: PrecisionEvidence) -> tuple[object, ...]:
    return evidence.precision, evidence.engine, evidence.weights_sha256
