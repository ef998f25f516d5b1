"""Training: from labelled images to a model folder that `--model` runs.

Dataset, plan, prepared cases, samples, loop, checkpoints, model. Losses, networks, augmentations and metrics
are components, named by the pipeline file; drawing is `medseg.report`'s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.training.train import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    """Load `train` when it is asked for: it needs PyTorch, and datasets do not (PEP 562)."""
    if name != "train":
        raise AttributeError(f"module 'medseg.training' has no attribute {name!r}")
    return importlib.import_module("medseg.training.train").train
