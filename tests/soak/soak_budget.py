"""Memory limits in random configurations: kept, or refused with a number that would do."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import memory_runs
import pytest

MIB = 1 << 20
ROOMY = 64 << 30


@pytest.mark.parametrize("seed", range(20))
def test_a_limit_is_kept_or_refused_with_what_would_do(seed: int, tmp_path: Path) -> None:
    """By the command, from reading to the picture; the engines' graphs are made within the limit, too."""
    chance = random.Random(seed)  # noqa: S311 - the same configurations every time
    run = memory_runs.chosen(tmp_path, chance)
    roomy = memory_runs.done(replace(run, limit=ROOMY, cache=None))
    planned, above = (roomy["plan"][name] * MIB for name in ("peak_memory_mb", "above_resident_mb"))
    said = f"planned {planned / MIB:.0f} MiB, had {roomy['peak'] / MIB:.0f}"
    limit = round(planned - above + above * chance.uniform(0.3, 1.3)) + 64 * MIB
    found = memory_runs.done(replace(run, limit=limit))
    if "refused" in found:
        said += f"; refused at {limit / MIB:.0f}, had {found['peak'] / MIB:.0f}"
        assert found["peak"] <= limit, "refused before, not after"
        limit = memory_runs.needed(found["refused"])
        found = memory_runs.done(replace(run, limit=limit))
    said += f"; limit {limit / MIB:.0f}, had {found['peak'] / MIB:.0f}"
    sys.stdout.write(f"\n{seed} {run.engine}: {said}, blocks {found['used']['blocks']}")
    assert found["peak"] <= limit
    assert found["notes"] == []
    assert found["labels"] == roomy["labels"]
    segmenting = next(step for step in roomy["steps"] if step["step"] == "segment")
    assert abs(segmenting["peak_memory_mb"] * MIB - planned) <= max(0.15 * above, 64 * MIB)
