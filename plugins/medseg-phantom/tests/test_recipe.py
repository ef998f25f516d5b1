"""The recipe: what is drawn follows from the seed, sides stay sides, and a stopped run goes on as it was."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253

RECIPE = Path(__file__).parents[1] / "recipe"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The training script as a module."""
    monkeypatch.syspath_prepend(str(RECIPE))
    threads = torch.get_num_threads()
    yield importlib.import_module("train")
    torch.set_num_threads(threads)
    for name in ("train", "cases"):
        sys.modules.pop(name, None)


def batch(train: Any, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch that follows from the step's number."""
    rng = np.random.default_rng(step)
    images = rng.random((2, 1, 32, 32, 32), np.float32)
    labels = rng.integers(0, train.CLASSES, (2, 1, 32, 32, 32))
    return torch.from_numpy(images), torch.from_numpy(labels)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(train: Any, tmp_path: Path) -> None:
    whole = train.Run(tmp_path / "whole", 5)
    for step in range(5):
        whole.train_step(*batch(train, step), 1e-3)
    for stop in (3, 5):
        part = train.Run(tmp_path / "parts", 5)
        while part.step < stop:
            part.train_step(*batch(train, part.step), 1e-3)
        part.save()
    resumed = train.Run(tmp_path / "parts", 0)
    assert (resumed.step, resumed.seed) == (5, 5)
    for kept, name in ((resumed.net, "net"), (resumed.average, "average")):
        for key, value in getattr(whole, name).state_dict().items():
            torch.testing.assert_close(kept.state_dict()[key], value, rtol=1e-4, atol=1e-6)
    other = train.Run(tmp_path / "other", 6)
    first = next(iter(whole.net.state_dict()))
    assert not torch.equal(other.net.state_dict()[first], whole.net.state_dict()[first])


def test_patches_follow_from_the_seed_and_are_never_mirrored(train: Any) -> None:
    shape = (100, 90, 40)
    ramp = sum(np.arange(n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(shape))
    labels = np.zeros(shape, np.uint8)
    labels[:50] = 3
    case = train.Case(np.asarray(ramp * 2 - 200, np.int16), labels)
    for seed in range(6):
        image, found = train.patch(case, np.random.default_rng(seed))
        again, _ = train.patch(case, np.random.default_rng(seed))
        assert image.shape == found.shape == (1, *train.PATCH)
        np.testing.assert_array_equal(image, again)
        inside = image[0, :, :, image[0].any(axis=(0, 1))]
        assert (np.diff(inside.mean(axis=(0, 2))) > 0).mean() > 0.6
        assert (np.diff(found[0].astype(int), axis=0)[:, 40, image[0, 40, 40] > 0] <= 0).all()


def test_the_rate_rises_stays_and_falls_to_nothing(train: Any) -> None:
    rates = [train.rate(step, 6000) for step in (0, 199, 2000, 4200, 6000)]
    assert rates == pytest.approx([1e-5, 2e-3, 2e-3, 1e-3, 0.0])


def test_dice_of_known_overlaps(train: Any) -> None:
    a, b = np.array([1, 1, 2, 0]), np.array([1, 2, 2, 2])
    scores = train.dice(a, b)
    assert scores[:2] == [pytest.approx(2 / 3), pytest.approx(2 / 4)]
    assert np.isnan(scores[2:]).all()
