"""Members of an ensemble side by side in one slab."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from reductions import GRID, TABLE, WINDOWS, pointwise, slid

from medseg.inference.channel_group import ChannelGroup
from medseg.inference.sinks import ArgmaxSink

ONTO = GRID.respaced((1.0, 1.0, 2.0))


def other(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    return pointwise(-windows)


def together(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    both = pointwise(windows), other(windows)
    return np.concatenate([(both[0] + both[1]) / 2, *both], axis=1)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_each_group_gives_the_labels_of_its_member_alone(blocks: int) -> None:
    def sink() -> ArgmaxSink:
        return ArgmaxSink(TABLE, grid=GRID, axis=WINDOWS.axis, onto=ONTO)

    groups = [ChannelGroup(sink(), first=first, count=3) for first in (0, 3, 6)]
    assert groups[0].halo == sink().halo == 1
    mean, first, second = slid(*groups, blocks=blocks, forward=together)
    for found, member in ((first, pointwise), (second, other)):
        (alone,) = slid(sink(), forward=member)
        assert np.array_equal(found.array, alone.array)
    (alone,) = slid(sink(), forward=lambda windows: together(windows)[:, :3])
    assert np.array_equal(mean.array, alone.array)
    assert not np.array_equal(first.array, second.array)
