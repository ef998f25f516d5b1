from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.builtin.preprocess.clip import Clip
from medseg.volume import Grid, Volume


def row(values: list[float], kind: Any) -> Volume:
    """Values along i."""
    array: NDArray[Any] = np.array(values, kind).reshape(1, -1, 1, 1)
    return Volume(array, Grid((len(values), 1, 1), np.eye(4)))


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
def test_known_answers_keep_their_type(kind: Any) -> None:
    volume = row([-1500, -1000, 0, 400, 3000], kind)
    for low, high, expected in [
        (-1000, 400, [-1000, -1000, 0, 400, 400]),
        (None, 400, [-1500, -1000, 0, 400, 400]),
        (-1000, None, [-1000, -1000, 0, 400, 3000]),
    ]:
        clipped = Clip(low=low, high=high)(volume)
        assert clipped.array.ravel().tolist() == expected
        assert clipped.array.dtype == kind


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0.5, None, np.float32, [0.5, 1, 7, 255]),  # a limit between whole numbers
        (None, -3, np.float32, [-3, -3, -3, -3]),  # a limit that uint8 cannot hold
        (300, None, np.float32, [300, 300, 300, 300]),
        (-10, 6, np.uint8, [0, 1, 6, 6]),  # a limit that no uint8 reaches does nothing
        (2, 1e9, np.uint8, [2, 2, 7, 255]),
        (-10, 1e9, np.uint8, [0, 1, 7, 255]),
    ],
)
def test_whole_numbers_become_floats_only_where_they_must(
    low: float | None, high: float | None, kind: Any, expected: list[float]
) -> None:
    clipped = Clip(low=low, high=high)(row([0, 1, 7, 255], np.uint8))
    assert clipped.array.ravel().tolist() == expected
    assert clipped.array.dtype == kind


def test_all_channels_are_clipped_and_input_is_not_written_to(two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(Grid((5, 6, 7), np.eye(4)))
    before = volume.array.copy()
    clipped = Clip(low=-20, high=10)(volume)
    assert np.array_equal(clipped.array, np.minimum(np.maximum(before, -20), 10))
    assert clipped.array.min() == -20
    assert np.array_equal(volume.array, before)
    assert clipped.channels == volume.channels


@pytest.mark.parametrize(
    "parameters", [{}, {"low": 3, "high": 3}, {"low": 4, "high": 3}, {"low": float("nan")}]
)
def test_wrong_parameters_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Clip.model_validate(parameters)
