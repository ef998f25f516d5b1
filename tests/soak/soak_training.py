"""Trainings killed many times at random moments, and trainings of real data with no option but the path.

As in tests/training/test_fit.py and tests/cli/test_train.py, but at length. Kills are seeded by batch, so
that a long run can be stopped and taken up again:

    MEDSEG_SOAK_FIRST=3 MEDSEG_SOAK_BATCHES=2 make soak

A training of real data takes an hour, which is what `medseg train` takes where it is given no budget.
"""

import os
from pathlib import Path

import pytest
import real_trainings
import trainings

FIRST = int(os.environ.get("MEDSEG_SOAK_FIRST", "0"))
BATCHES = int(os.environ.get("MEDSEG_SOAK_BATCHES", "1"))
KILLS, EPOCHS = 20, 70
MARGIN = 0.05
HOURS = 2  # after which a training that should take one has hung


@pytest.mark.parametrize("batch", range(FIRST, FIRST + BATCHES))
def test_killed_twenty_times_it_ends_in_the_same_bits(batch: int, tmp_path: Path, figures: list[str]) -> None:
    """A quarter of the kills leave a newest checkpoint that is cut short, as no kill alone could."""
    data = trainings.dataset(tmp_path / "data", cases=5)
    overlay = trainings.overlay(tmp_path / "tiny.yaml", patience=1000)
    arguments = (data, "--pipeline", overlay, "--epochs", EPOCHS)
    undisturbed = trainings.start(*arguments, "-o", tmp_path / "whole")
    fallen = trainings.killed_again_and_again(
        arguments, tmp_path / "run", kills=KILLS, seed=batch, damage=0.25
    )
    last = trainings.start(*arguments, "-o", tmp_path / "run", "--resume")
    for process in (last, undisturbed):
        said = process.communicate()
        assert process.returncode == 0, said
    figures.append(f"training {batch}: killed after epochs {fallen}, resumed to {EPOCHS}: the same bits")
    trainings.require_same(tmp_path / "run", tmp_path / "whole", epochs=EPOCHS)


@pytest.mark.parametrize("real", real_trainings.SETS, ids=lambda real: real.name)
def test_no_option_but_the_path(
    real: real_trainings.RealSet, real_data: Path, tmp_path: Path, figures: list[str]
) -> None:
    data = real.made(real_data, tmp_path / "data")
    process = trainings.start(data, "-o", tmp_path / "run")
    said = process.communicate(timeout=HOURS * 3600)
    assert process.returncode == 0, said
    floor = real_trainings.by_brightness
    real_trainings.require_beaten(real, tmp_path / "run", data, figures, floor=floor, margin=MARGIN)
