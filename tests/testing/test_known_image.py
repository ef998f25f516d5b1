from collections.abc import Callable

import numpy as np
import pytest

from medseg.errors import PluginError
from medseg.testing.known_image import known_image, twice


def test_the_ball_has_its_volume_and_stands_out() -> None:
    volume, segmentation = known_image()
    ball = segmentation.mask("ball")
    assert ball.sum() * volume.grid.voxel_ml == pytest.approx(4 / 3 * np.pi * 2.0**3, rel=0.02)
    assert volume.array[0][ball].mean() == pytest.approx(60, abs=1)
    assert volume.array[0][~ball].mean() == pytest.approx(-100, abs=1)
    assert not segmentation.mask("absent").any()


def test_both_results_come_back_and_a_change_of_the_input_is_found() -> None:
    array = np.zeros(3)
    results = iter("ab")
    assert twice(lambda: next(results), array) == ("a", "b")
    change: Callable[[], object] = lambda: array.__setitem__(1, 5.0)  # noqa: E731
    with pytest.raises(PluginError, match="wrote into the array"):
        twice(change, array)
