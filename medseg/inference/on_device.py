"""A refiner's work on a device, and on the processor once that device's memory ran out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from medseg.errors import ResourceError
from medseg.inference.gpu import release_freed_memory
from medseg.inference.torch_runtime import plain_words
from medseg.prediction import Resources, Scores
from medseg.steps import Refiner
from medseg.volume import Volume

__all__ = ["CPU", "OnDevice", "device_of"]

logger = logging.getLogger(__name__)

CPU = "cpu"


def device_of(used: Mapping[str, Any]) -> str:
    """Where refiners work after a prediction that says what it used: on the GPU of its network, if any.

    A network that left its GPU for want of memory left it for them, too. With `deterministic` it is the
    processor: a GPU adds up in an order that varies.
    """
    device = str(used.get("device", CPU))
    return device if device.startswith("cuda") and not used.get("deterministic") else CPU


class OnDevice:
    """What a refiner does, on `device` as long as its memory suffices; afterwards for good on the processor.

    A box that did not fit is refined again there. `ran_out` says that it came to that.
    """

    def __init__(self, step: Refiner, device: str) -> None:
        self._step = step
        self.device = CPU if device == CPU or step.on(device) is step else device
        self.ran_out = False

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        """The refined scores."""
        if self.device != CPU:
            try:
                with plain_words(Resources()):
                    return self._step.on(self.device)(scores, volume)
            except ResourceError as problem:
                if not problem.device_memory:
                    raise
            self.device, self.ran_out = CPU, True  # behind the exception, which holds what was there
            release_freed_memory()
            logger.warning("out of memory; refining goes on with device cpu")
        return self._step(scores, volume)
