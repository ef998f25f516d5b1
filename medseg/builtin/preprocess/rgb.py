"""The preprocessor `rgb`."""

import numpy as np

from medseg.errors import InputError
from medseg.steps import Preprocessor
from medseg.volume import Volume

__all__ = ["Rgb"]

NAMES = ("red", "green", "blue")


class Rgb(Preprocessor):
    """Three channels of every picture: colours as they are, a grey picture three times, no transparency.

    For pictures of which some are grey and some in colours, as of several microscopes.
    """

    def __call__(self, volume: Volume) -> Volume:
        """Return red, green and blue; raises InputError for two channels and for more than four."""
        count = len(volume.array)
        if count == 1 or volume.channels == ("grey", "alpha"):
            grey = np.broadcast_to(volume.array[:1], (3, *volume.grid.shape))
            return volume.replace(array=np.ascontiguousarray(grey), channels=NAMES)
        if count == 3:
            return volume.replace(channels=NAMES)
        if count == 4 and volume.channels[3] == "alpha":
            return volume.replace(array=volume.array[:3], channels=NAMES)
        raise InputError(
            f"rgb takes pictures that are grey or in colours, and this image has {count} channels "
            f"({', '.join(volume.channels)}); leave rgb out of the pipeline"
        )
