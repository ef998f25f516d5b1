"""A detector learns two kinds of touching objects by heart; in space in tests/soak."""

import numpy as np
from detector.by_heart import recalled
from touching import average_precision, flat

from medseg.segmentation import Segmentation


def test_every_object_of_a_picture_is_found() -> None:
    """Discs that touch each other and the image's border; seconds on one core."""
    wanted = flat()
    found = recalled(wanted, (64, 64), steps=200)
    assert average_precision(found, wanted, 0.5) == {"round": 1.0, "long": 1.0}


def test_a_picture_without_objects_is_learnt_too() -> None:
    empty = flat()
    empty = Segmentation(np.zeros_like(empty.array), empty.grid, empty.labels, kinds=empty.kinds)
    assert recalled(empty, (32, 32), steps=3).objects == ()
