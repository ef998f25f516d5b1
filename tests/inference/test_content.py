"""Where a volume holds anything."""

import numpy as np

from medseg import Grid, Volume
from medseg.inference.content import content_of


def test_content_is_where_any_channel_is_above_its_smallest_value() -> None:
    array = np.full((2, 3, 2, 1), [[[[-7]]], [[[4]]]], np.int16)
    array[0, 0, 1, 0], array[1, 2, 0, 0] = -6, 9
    content = content_of(Volume(array, Grid((3, 2, 1), np.eye(4)), ("ct", "pet")))
    assert content.dtype == np.bool_
    assert np.argwhere(content).tolist() == [[0, 1, 0], [2, 0, 0]]
