import threading
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253
from prepared_cases import prepared, staged

from medseg.errors import PluginError
from medseg.steps import IntensityAugmentation
from medseg.training.batches import Batches
from medseg.training.samples import Samples


class Fails(IntensityAugmentation):
    """Fails on samples of one case."""

    probability: float = 1.0

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Fail."""
        if image.min() == 3:
            raise ValueError("a bad image")
        return image


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Samples of eight cases that are the number of their case throughout, so that it tells them apart."""
    shape = (4, 4, 4)
    cases = [prepared(tmp_path / f"c{n}", np.full((1, *shape), n), np.ones(shape)) for n in range(8)]
    return Samples(cases, patch=(2, 2, 2), augment=staged(Fails(probability=0)))


def told(batches: Batches) -> list[list[int]]:
    """The cases of each batch."""
    return [batch["image"][:, 0, 0, 0, 0].int().tolist() for batch in batches]


def cases(samples: Samples, numbers: range) -> list[int]:
    return [int(samples[n]["image"][0, 0, 0, 0]) for n in numbers]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_epochs_follow_one_another(samples: Samples, workers: int) -> None:
    step = 0
    batches = Batches(samples, batch=3, steps=5, first_step=lambda: step, workers=workers)
    assert len(batches) == 5
    for step in (0, 5, 10):
        expected = [cases(samples, range(3 * n, 3 * n + 3)) for n in range(step, step + 5)]
        assert told(batches) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_each_batch(samples: Samples, workers: int) -> None:
    whole = told(Batches(samples, batch=4, steps=6, first_step=lambda: 2))
    parts = [
        told(Batches(samples, batch=4, steps=6, first_step=lambda: 2, share=(rank, 2), workers=workers))
        for rank in range(2)
    ]
    assert parts[0] == [batch[0::2] for batch in whole]
    assert parts[1] == [batch[1::2] for batch in whole]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_comes_out_with_who_is_to_blame(tmp_path: Path, workers: int) -> None:
    shape = (4, 4, 4)
    several = [prepared(tmp_path / f"c{n}", np.full((1, *shape), n), np.ones(shape)) for n in range(8)]
    failing = Samples(several, patch=(2, 2, 2), augment=staged(Fails()))
    batches = Batches(failing, batch=2, steps=4, first_step=lambda: 0, workers=workers)
    with pytest.raises(PluginError, match=r"fails \(fake 1.0\) failed: .*a bad image"):
        told(batches)


def test_no_thread_outlives_an_epoch_that_was_left(samples: Samples) -> None:
    batches = iter(Batches(samples, batch=2, steps=1000, first_step=lambda: 0, workers=2))
    next(batches)
    assert any(thread.name.startswith("medseg-sample") for thread in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]  # a generator's
    assert not any(thread.name.startswith("medseg-sample") for thread in threading.enumerate())
