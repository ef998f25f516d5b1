"""Cohorts killed many times at random moments, as in tests/run/test_cohort.py but at length.

Seeded by batch, so that a long run can be stopped and taken up again:

    MEDSEG_SOAK_FIRST=20 MEDSEG_SOAK_BATCHES=10 make soak
"""

import os
from pathlib import Path

import cohorts
import pytest

from medseg.run.cohort import segment_cohort

FIRST = int(os.environ.get("MEDSEG_SOAK_FIRST", "0"))
BATCHES = int(os.environ.get("MEDSEG_SOAK_BATCHES", "5"))
CASES, KILLS = 60, 40


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("batch", range(FIRST, FIRST + BATCHES))
def test_nothing_is_lost_doubled_or_partial(batch: int, jobs: int, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", CASES), tmp_path / "out"
    model = cohorts.pipeline(tmp_path / "p.yaml", writers="[nifti, csv, json, preview]")
    arguments = (source, "-m", model, "-o", out, "--jobs", jobs)
    cohorts.killed_again_and_again(arguments, kills=KILLS, seed=batch)
    assert segment_cohort(source, model=model, out=out, resume=True).counts["ok"] == CASES
    cohorts.audit(out, [f"case_{number:02d}" for number in range(CASES)])
    segment_cohort(source, model=model, out=tmp_path / "undisturbed", jobs=jobs)
    assert cohorts.content(out) == cohorts.content(tmp_path / "undisturbed")
