"""Otsu's threshold, as the built-in steps use it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError

__all__ = ["otsu_threshold"]

BINS = 256


def otsu_threshold(image: NDArray[Any]) -> float:
    """The value above which an image is bright: Otsu's, over 256 bins between its smallest and largest.

    N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 1979, 62-66: the threshold that maximises the variance between
    both sides. Raises InputError for an image of one value, which has none.
    """
    from skimage.filters import threshold_otsu

    if image.min() == image.max():
        raise InputError(f"the image has the one value {image.flat[0]:g}; Otsu's threshold needs two")
    # The histogram is made here: scikit-image takes a volume of three or four slices for a colour picture.
    # It returns the centre of the darker side's last bin, and that whole bin was counted as dark.
    counts, edges = np.histogram(image, bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    return float(threshold_otsu(hist=(counts, centres)) + (edges[1] - edges[0]) / 2)
