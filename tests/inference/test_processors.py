"""Processors counted from what the kernel says, in the texts of its control groups."""

import os
from pathlib import Path

import pytest

from medseg import Resources
from medseg.inference.processors import (
    cgroup_processors,
    processor_count,
    processors_compute,
    thread_count,
)


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {}, None),  # the root of a machine has no cpu.max
        (
            "0::/a.slice/b.scope\n",
            {"a.slice/cpu.max": "200000 100000\n", "a.slice/b.scope/cpu.max": "max 100000\n"},
            2,
        ),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/docker/6f1e\n", {"cpu.max": "300000 100000\n"}, 3),  # the host's path, seen from inside
        ("0::/../../other\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "spoilt\n"}, None),
        (
            "11:cpu,cpuacct:/docker/6f1e\n4:memory:/docker/6f1e\n",
            {
                "cpu,cpuacct/docker/6f1e/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/docker/6f1e/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            "3:cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        (
            "3:cpu,cpuacct:/job\n",  # mounted under the one name only
            {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        ("7:cpuset:/x\n", {"cpuset/cpu.cfs_quota_us": "1\n"}, None),
    ],
)
def test_quotas_of_both_versions(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float | None
) -> None:
    proc = tmp_path / "cgroup"
    proc.write_text(membership)
    assert cgroup_processors(proc, tree(tmp_path / "fs", files)) == expected


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert cgroup_processors(tmp_path / "absent", tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_affinity_bounds_the_count() -> None:
    before = os.sched_getaffinity(0)
    assert 1 <= processor_count() <= len(before)
    os.sched_setaffinity(0, sorted(before)[:1])
    try:
        assert processor_count() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert thread_count(Resources(threads=7)) == 7
    assert thread_count(Resources()) == processor_count()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 sse2\n", True),
        ("flags : fpu amx_bf16\n", True),
        ("flags : fpu avx2 avx512_bf16x\n", False),
        ("Features : fp asimd bf16\n", True),
        ("", False),
    ],
)
def test_bf16_is_read_from_the_flags(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert processors_compute("bf16", path) == expected
    assert processors_compute("fp32", path)
    assert not processors_compute("fp16", path)
