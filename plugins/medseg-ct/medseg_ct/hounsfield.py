"""Whether an image is a CT in Hounsfield units: a wrong mask that looks right is worse than none."""

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError

__all__ = ["check_hounsfield"]

LEAST_RANGE_HU = 200.0
FAT_OR_AIR_HU = (
    -30.0
)  # every CT shows air or fat; magnitude MR, PET and unscaled pixels show nothing negative
SOFT_HU = (-200.0, 300.0)
HIGHEST_HU = 40000.0


def check_hounsfield(hu: NDArray[np.float32]) -> None:
    """Raise InputError unless block means look like CT numbers with a patient in them.

    There must be air or fat (below -30 HU) and soft tissue (-200 to 300 HU) in more than half a per cent of
    the image each, a range of 200 HU or more, and no clipping that has turned air into something denser.
    """
    lowest, highest = float(hu.min()), float(hu.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(
            "the image does not look like CT in Hounsfield units: it holds values that are not finite"
        )
    why = _doubt(hu, lowest, highest)
    if why is not None:
        raise InputError(
            f"the image does not look like CT in Hounsfield units: {why}; give a CT with its rescale "
            "slope and intercept applied"
        )


def _doubt(hu: NDArray[np.float32], lowest: float, highest: float) -> str | None:
    if highest - lowest < LEAST_RANGE_HU or highest > HIGHEST_HU:
        return f"its values run from {lowest:g} to {highest:g}"
    if float((hu < FAT_OR_AIR_HU).mean()) < 0.005:
        return f"hardly any value is below {FAT_OR_AIR_HU:g} HU, where fat and air are"
    if float(((hu > SOFT_HU[0]) & (hu < SOFT_HU[1])).mean()) < 0.005:
        return f"hardly any value is between {SOFT_HU[0]:g} and {SOFT_HU[1]:g} HU, where soft tissue is"
    if lowest > -500 and float((hu <= lowest + 0.5).mean()) > 0.02:
        return (
            f"its darkest {float((hu <= lowest + 0.5).mean()):.0%} all have {lowest:g} HU, as after clipping"
        )
    return None
