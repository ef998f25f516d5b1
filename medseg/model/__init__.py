"""Models: ready-to-run folders of data, found by name, folder or pipeline file.

A model folder holds `pipeline.yaml`, `card.yaml` and, if it was trained, weights. It is data only: nothing in
it is imported or run.
"""

from medseg.model.card import Card, read_card
from medseg.model.find import find_model, installed_models
from medseg.model.folder import Model, model_in

__all__ = ["Card", "Model", "find_model", "installed_models", "model_in", "read_card"]
