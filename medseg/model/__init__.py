"""Models: ready-to-run folders of data, found by name, folder or pipeline file.

A model folder holds `pipeline.yaml`, `card.yaml` and, if it was trained, weights. It is data only: nothing in
it is imported or run.
"""

from medseg.model.card import CARD, Card, PrecisionEvidence, allows, read_card
from medseg.model.contents import check_forms, inventory
from medseg.model.find import find_model, installed_models
from medseg.model.folder import Model, model_in
from medseg.model.unpack import Parcel, opened

__all__ = [
    "CARD",
    "Card",
    "Model",
    "Parcel",
    "PrecisionEvidence",
    "allows",
    "check_forms",
    "find_model",
    "installed_models",
    "inventory",
    "model_in",
    "opened",
    "read_card",
]
