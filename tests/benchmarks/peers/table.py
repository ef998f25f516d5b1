"""The rows of a benchmark, and their figures as text: medians, ranges, ratios to the peers, goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["Goals", "Row", "figures", "has_bf16", "ratios"]

Found = Mapping[str, Sequence[Mapping[str, Any]]]  # rows by name, each the answers of its rounds
Goals = Mapping[str, float]  # the highest ratio that is good enough, by quantity
QUANTITIES = {"wall_s": "wall s", "cpu_s": "CPU s", "peak_mib": "peak MiB", "above_mib": "above baseline MiB"}


@dataclass(frozen=True)
class Row:
    """A method as one line of a table; where it is `named`, its not being there is a failure."""

    name: str
    method: str
    engine: str | None = None
    precision: str | None = None
    named: bool = False


def has_bf16() -> bool:
    """Whether the processor computes in bfloat16."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def figures(found: Found) -> Iterable[str]:
    """One line a row: the median of each quantity and its range, and what was set up before."""
    yield (
        f"{'':<16}{'n':>2}  "
        + "".join(f"{name:>28}" for name in QUANTITIES.values())
        + f"{'set-up s':>10}{'load':>6}"
    )
    for row, runs in found.items():
        cells = "".join(f"{_spread([run[key] for run in runs]):>28}" for key in QUANTITIES)
        setup, load = median(run["setup_s"] for run in runs), max(run["load"] for run in runs)
        yield f"{row:<16}{len(runs):>2}  {cells}{setup:>10.1f}{load:>6.1f}"


def ratios(found: Found, peer: str, goals: Mapping[str, Goals]) -> Iterable[tuple[str, bool]]:
    """Ratios of medseg's rows to a peer's, each with whether its goals are met."""
    if peer not in found:
        return
    theirs = {key: median(run[key] for run in found[peer]) for key in QUANTITIES}
    for row, runs in found.items():
        if not row.startswith("medseg"):
            continue
        cells, good = [], True
        for key, name in QUANTITIES.items():
            ratio = median(run[key] for run in runs) / max(theirs[key], 1e-9)
            goal = goals.get(row, {}).get(key)
            met = goal is None or ratio <= goal
            good = good and met
            cells.append(
                f"{name} {ratio:.2f}" + ("" if goal is None else f" ({'<=' if met else 'MISSED'} {goal})")
            )
        yield f"{row} / {peer}: " + ", ".join(cells), good


def _spread(values: Sequence[float]) -> str:
    digits = 1 if max(values) < 100 else 0
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
