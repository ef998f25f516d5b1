from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.builtin.preprocess.ct_window import CtWindow
from medseg.volume import Grid, Volume


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_known_answers(kind: Any) -> None:
    values: NDArray[Any] = np.array([-2000, -1000, -300, 400, 3000], kind).reshape(1, 5, 1, 1)
    scaled = CtWindow()(Volume(values, Grid((5, 1, 1), np.eye(4))))
    assert scaled.array.ravel().tolist() == [0, 0, 0.5, 1, 1]
    assert scaled.array.dtype == np.float32


def test_limits_are_exactly_0_and_1_for_any_window() -> None:
    random = np.random.default_rng(5)
    for low, width in zip(random.normal(0, 500, 200), random.uniform(0.1, 3000, 200), strict=True):
        values = np.array([low - 1, low + width + 1]).reshape(1, 2, 1, 1)
        scaled = CtWindow(low=low, high=low + width)(Volume(values, Grid((2, 1, 1), np.eye(4))))
        assert scaled.array.ravel().tolist() == [0, 1]


def test_all_channels_are_scaled_and_input_is_not_written_to(two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(Grid((5, 6, 7), np.eye(4)))
    before = volume.array.copy()
    scaled = CtWindow(low=-160, high=240)(volume)
    assert np.allclose(scaled.array, np.clip((before.astype(float) + 160) / 400, 0, 1), atol=1e-6)
    assert np.array_equal(volume.array, before)


@pytest.mark.parametrize(
    "parameters", [{"low": 400}, {"low": 10, "high": -10}, {"width": 400}, {"low": "soft"}]
)
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CtWindow.model_validate(parameters)
