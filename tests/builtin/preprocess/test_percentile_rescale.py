from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.preprocess.percentile_rescale import PercentileRescale
from medseg.volume import Grid, Volume

GRID = Grid((8, 9, 10), np.eye(4))
HUNDRED = Grid((101, 1, 1), np.eye(4))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_closed_form(kind: type) -> None:
    volume = Volume(np.arange(101, dtype=kind).reshape(1, 101, 1, 1), HUNDRED)  # value = its percentile
    scaled = PercentileRescale(low=10, high=90)(volume).array.ravel()
    assert scaled == pytest.approx(np.clip((np.arange(101) - 10) / 80, 0, 1), abs=1e-6)
    assert scaled.dtype == np.float32
    wide = PercentileRescale(low=10, high=90, clip=False)(volume).array.ravel()
    assert wide[[0, 10, 90, 100]] == pytest.approx([-0.125, 0, 1, 1.125], abs=1e-6)


def test_one_bright_voxel_does_not_decide() -> None:
    array = np.random.default_rng(4).uniform(0, 100, (1, *GRID.shape))
    plain = PercentileRescale()(Volume(array, GRID)).array
    array[0, 3, 3, 3] = 1e6
    spiked = PercentileRescale()(Volume(array, GRID)).array
    others = np.ones(GRID.shape, bool)
    others[3, 3, 3] = False
    assert np.abs(spiked - plain)[0, others].max() < 0.01
    # negative control: minimum and maximum are ruled by it
    assert PercentileRescale(low=0, high=100)(Volume(array, GRID)).array[0, others].max() < 1e-3


def test_channels_are_independent(two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(GRID)
    before = volume.array.copy()
    scaled = PercentileRescale()(volume)
    for channel in range(2):
        low, high = np.percentile(before[channel], (0.5, 99.5))
        assert np.allclose(
            scaled.array[channel], np.clip((before[channel] - low) / (high - low), 0, 1), atol=1e-5
        )
    assert np.array_equal(volume.array, before)


def test_background_does_not_count() -> None:
    brain = np.zeros((1, 202, 1, 1), np.int16)
    brain[0, 101:, 0, 0] = np.arange(500, 601)
    grid = Grid((202, 1, 1), np.eye(4))
    for parameters in ({"foreground": "nonzero"}, {"foreground": "above", "above": 0}):
        step = PercentileRescale.model_validate({"low": 0, "high": 100, **parameters})
        scaled = step(Volume(brain, grid)).array.ravel()
        assert scaled[101:] == pytest.approx(np.arange(101) / 100, abs=1e-6)
        assert not scaled[:101].any()


@pytest.mark.parametrize("value", [0, 7])
def test_constant_channel_gives_zeros(value: int) -> None:
    volume = Volume(np.full((1, *GRID.shape), value, np.int16), GRID)
    for foreground in ("whole", "nonzero"):
        assert not PercentileRescale(foreground=foreground)(volume).array.any()


@pytest.mark.parametrize(
    "parameters",
    [
        {"low": 60, "high": 40},
        {"low": -1},
        {"high": 101},
        {"foreground": "above"},
        {"above": 2},
        {"low": 5, "high": 5},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PercentileRescale.model_validate(parameters)
