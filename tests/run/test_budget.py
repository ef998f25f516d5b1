"""Limits on memory, held by processes of their own; more of them in tests/soak."""

from dataclasses import replace
from pathlib import Path

import memory_runs
from memory_runs import Run

MIB = 1 << 20


def test_a_limit_cuts_the_plane_into_blocks_and_is_kept(tmp_path: Path) -> None:
    file = memory_runs.model(tmp_path, classes=60, patch=48, spacing=1.5)
    run = Run(str(file), (150, 150, 150), (1.0, 1.0, 1.0), "torch")
    free = memory_runs.done(run)
    planned, above = (free["plan"][name] * MIB for name in ("peak_memory_mb", "above_resident_mb"))
    assert free["used"]["blocks"] == 1
    assert abs(free["peak"] - planned) <= max(0.15 * above, 64 * MIB)

    tight = memory_runs.done(replace(run, limit=planned))  # nothing kept free for what plans are off by
    assert tight["used"]["blocks"] > 1
    assert tight["peak"] <= planned
    assert tight["labels"] == free["labels"]

    refused = memory_runs.done(replace(run, limit=100 * MIB))
    assert "\n" not in refused["refused"]
    enough = memory_runs.needed(refused["refused"])
    assert 100 * MIB < enough < planned
