"""What losses ask of a head: how its channels become probabilities, and which of them count."""

from __future__ import annotations

from typing import Literal

from medseg.errors import PipelineError
from medseg.steps import Head

__all__ = ["Activation", "activation_of", "first_channel"]

Activation = Literal["softmax", "sigmoid"]


def activation_of(head: Head, loss: str) -> Activation:
    """What makes probabilities of the head's channels; raises PipelineError where they are none."""
    if head.activation is None:
        raise PipelineError(
            f"{loss} compares probabilities, and the channels of {type(head).__name__} are none; "
            "use the head softmax or sigmoid, or a loss made for this head"
        )
    return head.activation


def first_channel(activation: Activation, *, include_background: bool) -> int:
    """Index of the first channel that counts: with softmax channel 0 is the background."""
    return 1 if activation == "softmax" and not include_background else 0
