"""How many processors this process may use, and what they can compute in.

A container is kept to a part of the machine in two ways: by affinity, a set of processors, and by a quota of
the kernel's control groups, so much processor time in each period. `os.cpu_count` knows neither, and more
threads than processors make a network slower.
"""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

from medseg.prediction import Resources

__all__ = ["cgroup_processors", "processor_count", "processors_compute", "thread_count"]

PROC, CGROUPS, CPUINFO = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"), Path("/proc/cpuinfo")
FLAGS = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}}  # x86 and, the last, 64-bit ARM


def thread_count(resources: Resources) -> int:
    """Threads that a network's arithmetic is spread over: as many as asked for, else as processors."""
    return resources.threads or processor_count()


def processor_count() -> int:
    """Processors that this process may keep busy: its affinity, and no more than its control group's quota.

    A quota of one and a half processors is two: two threads use all of it, one would not.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_processors()
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def cgroup_processors(proc: Path = PROC, mounted: Path = CGROUPS) -> float | None:
    """Processors that the control groups of this process allow, version 1 or 2; None where nothing limits.

    `proc` lists the groups as lines of `number:controllers:path`; version 2 has `0::path` and one tree. A
    group is bound by all above it. Source: the kernel's cgroup-v2.rst and sched-bwc.rst.
    """
    try:
        lines = proc.read_text().splitlines()
    except OSError:  # no Linux
        return None
    quotas: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            quotas += _limits(mounted, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            tree = next((mounted / name for name in (controllers, "cpu") if (mounted / name).is_dir()), None)
            if tree is not None:
                quotas += _limits(tree, path, _quota_v1)
    return min(quotas, default=None)


def _limits(tree: Path, path: str, quota: object) -> list[float]:
    """What a group and all above it allow; in a container its own root may be all that can be seen."""
    assert callable(quota)
    parts = PurePosixPath(path.lstrip("/"))
    groups = [tree / part for part in (parts, *parts.parents) if ".." not in part.parts]
    found = [quota(group) for group in (*groups, tree)]
    return [limit for limit in found if limit is not None]


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None  # -1: no limit
    except (OSError, ValueError, ZeroDivisionError):
        return None


def processors_compute(precision: str, cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processors have instructions of their own for this precision; fp32 always."""
    if precision == "fp32":
        return True
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    flags = next(
        (set(said.split()) for name, _, said in lines if name.strip() in ("flags", "Features")), set()
    )
    return bool(FLAGS.get(precision, set()) & flags)
