"""The preprocessor `dark-background`."""

import numpy as np
from pydantic import Field

from medseg.steps import Preprocessor
from medseg.volume import Volume

__all__ = ["DarkBackground"]

MIDDLE = 50.0  # per cent


class DarkBackground(Preprocessor):
    """Make a picture whose background is bright its negative, so that objects are bright in every picture.

    For pictures of which some show objects bright on dark, as in fluorescence, and some dark on bright, as
    stains do. Most voxels are taken to be background: where the median lies nearer to the brightest values
    than to the darkest, on average over the channels, the background is bright, and in every channel the
    brightest value becomes the darkest and the darkest the brightest. The result is float32.
    """

    tail: float = Field(default=0.1, ge=0, lt=50)
    """Per cent of voxels that may be brighter than what counts as the brightest value, or darker than the
    darkest: more where single voxels are far off."""

    def __call__(self, volume: Volume) -> Volume:
        """Return the image as it is, or its negative."""
        percentiles = (self.tail, MIDDLE, 100.0 - self.tail)
        darkest, middle, brightest = np.percentile(volume.array, percentiles, axis=(1, 2, 3))
        span = brightest - darkest
        told = span > 0
        if not told.any() or ((middle - darkest)[told] / span[told]).mean() <= 0.5:
            return volume.replace(array=volume.array.astype(np.float32, copy=False))
        turn = (darkest + brightest)[:, None, None, None]
        return volume.replace(array=(turn - volume.array).astype(np.float32))
