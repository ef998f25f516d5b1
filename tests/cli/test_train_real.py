"""`medseg train` on real images of other kinds, with the whole machine: what a minute gives is measured."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import real_trainings

Medseg = Callable[..., Any]
BUDGET, MARGIN = "80s", 0.1


@pytest.mark.parametrize("real", real_trainings.SETS, ids=lambda real: real.name)
def test_real_images_of_other_kinds_train_with_no_option_but_their_path(
    real: real_trainings.RealSet,
    medseg: Medseg,
    real_data: Path,
    tmp_path: Path,
    figures: list[str],
) -> None:
    """A little more than a minute instead of the hour that it takes by default; tests/soak has the hour."""
    data = real.made(real_data, tmp_path / "data")
    began = time.monotonic()
    done = medseg("train", data, "-o", tmp_path / "run", "--time-budget", BUDGET)
    assert done.code == 0, done.err
    figures.append(f"{real.name}: --time-budget {BUDGET} took {time.monotonic() - began:.0f} s")
    floor = real_trainings.everywhere
    real_trainings.require_beaten(real, tmp_path / "run", data, figures, floor=floor, margin=MARGIN)
