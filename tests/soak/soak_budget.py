"""Memory limits in random configurations: kept, or refused with a number that would do."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import memory_runs
import pytest

MIB = 1 << 20


@pytest.mark.parametrize("seed", range(20))
def test_a_limit_is_kept_or_refused_with_what_would_do(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same configurations every time
    run = memory_runs.chosen(tmp_path, chance)
    free = memory_runs.done(run)
    planned, above = (free["plan"][name] * MIB for name in ("peak_memory_mb", "above_resident_mb"))
    said = f"planned {planned / MIB:.0f} MiB, had {free['peak'] / MIB:.0f}"
    limit = round(planned - above + above * chance.uniform(0.3, 1.3)) + 64 * MIB
    found = memory_runs.done(replace(run, limit=limit))
    if "refused" in found:
        assert found["peak"] <= limit, "refused before, not after"
        limit = memory_runs.needed(found["refused"])
        said += f"; refused, {limit / MIB:.0f} would do"
        found = memory_runs.done(replace(run, limit=limit))
    said += f"; limit {limit / MIB:.0f}, had {found['peak'] / MIB:.0f}"
    sys.stdout.write(f"\n{seed} {run.engine}: {said}, blocks {found['used']['blocks']}")
    assert found["peak"] <= limit
    assert found["labels"] == free["labels"]
    assert abs(free["peak"] - planned) <= max(0.15 * above, 64 * MIB)
