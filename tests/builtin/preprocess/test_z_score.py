from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.preprocess.z_score import ZScore
from medseg.errors import InputError
from medseg.volume import Grid, Volume

GRID = Grid((8, 9, 10), np.eye(4))


def test_closed_form() -> None:
    volume = Volume(
        np.array([2, 4, 4, 4, 5, 5, 7, 9], np.uint8).reshape(1, 8, 1, 1), Grid((8, 1, 1), np.eye(4))
    )
    scores = ZScore()(volume)  # mean 5, sd 2
    assert scores.array.ravel().tolist() == [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]
    assert scores.array.dtype == np.float32


def test_each_channel_has_mean_0_and_sd_1(two_channels: Callable[[Grid], Volume]) -> None:
    scores = ZScore()(two_channels(GRID)).array.astype(float)
    assert scores.mean(axis=(1, 2, 3)) == pytest.approx([0, 0], abs=1e-6)
    assert scores.std(axis=(1, 2, 3)) == pytest.approx([1, 1], abs=1e-6)


def test_channels_together_keep_their_ratio(two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(GRID)
    scores = ZScore(per_channel=False)(volume).array.astype(float)
    assert scores.mean() == pytest.approx(0, abs=1e-6)
    assert scores.std() == pytest.approx(1, abs=1e-6)
    assert abs(scores[0].mean()) > 0.05  # negative control: one channel by itself is not standardised
    assert scores[0].std() / scores[1].std() == pytest.approx(
        volume.array[0].std() / volume.array[1].std(), rel=1e-4
    )


@pytest.mark.parametrize("foreground", ["nonzero", "above"])
def test_background_does_not_count(foreground: str, two_channels: Callable[[Grid], Volume]) -> None:
    brain = np.random.default_rng(1).normal(500, 60, GRID.shape)
    brain[:4] = 0
    above = {"above": 10} if foreground == "above" else {}
    step = ZScore.model_validate({"foreground": foreground, **above})
    scores = step(Volume(brain[None].astype(np.float32), GRID)).array[0].astype(float)
    assert scores[4:].mean() == pytest.approx(0, abs=1e-5)
    assert scores[4:].std() == pytest.approx(1, abs=1e-5)
    assert scores[:4] == pytest.approx(-brain[4:].mean() / brain[4:].std(), rel=1e-5)
    zeroed = step.model_copy(update={"outside": "zero"})(Volume(brain[None].astype(np.float32), GRID)).array[
        0
    ]
    assert np.array_equal(zeroed[:4], np.zeros_like(zeroed[:4]))
    assert np.allclose(zeroed[4:], scores[4:])


@pytest.mark.parametrize("value", [0, 0.1, 1e6, -1000])
def test_constant_channel_gives_zeros(value: float) -> None:
    array = np.full((1, *GRID.shape), value, np.float32)
    assert not ZScore()(Volume(array, GRID)).array.any()
    assert not ZScore(foreground="nonzero")(Volume(array, GRID)).array.any()


def test_small_deviation_on_a_large_mean_survives() -> None:
    random = np.random.default_rng(2)
    large = Volume(random.normal(1e7, 1, (1, *GRID.shape)), GRID)
    scores = ZScore()(large).array
    expected = (large.array - large.array.mean()) / large.array.std()
    assert np.allclose(scores, expected, atol=1e-5)


def test_large_image_of_float32_is_accumulated_in_float64() -> None:
    grid = Grid((160, 160, 160), np.eye(4))
    array = np.full((1, *grid.shape), 1000, np.float32)
    array[..., ::2] = 1002
    scores = ZScore()(Volume(array, grid)).array
    assert np.abs(np.abs(scores) - 1).max() < 1e-6


def test_input_is_not_written_to(two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(GRID)
    before = volume.array.copy()
    ZScore(foreground="nonzero", outside="zero")(volume)
    assert np.array_equal(volume.array, before)


def test_nothing_above_is_an_input_error(two_channels: Callable[[Grid], Volume]) -> None:
    with pytest.raises(InputError, match="no voxel is above 1e\\+06"):
        ZScore(foreground="above", above=1e6)(two_channels(GRID))


@pytest.mark.parametrize("parameters", [{"foreground": "above"}, {"above": 3}, {"foreground": "brain"}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ZScore.model_validate(parameters)
