import mmap
from pathlib import Path

import pytest

from medseg.memory import (
    available_bytes,
    highest_bytes,
    peak_bytes,
    promised,
    promised_bytes,
    reset_peak,
    resident_bytes,
)

MB = 1 << 20


def test_what_is_taken_is_seen_and_its_peak_outlives_a_reset() -> None:
    reset_peak()
    before = resident_bytes()
    with mmap.mmap(-1, 64 * MB) as taken:
        for page in range(0, 64 * MB, mmap.PAGESIZE):
            taken[page] = 1
        assert 60 * MB <= resident_bytes() - before <= 80 * MB
    assert resident_bytes() - before < 20 * MB
    high = peak_bytes()
    assert high >= before + 60 * MB
    reset_peak()
    assert peak_bytes() < high - 40 * MB
    assert highest_bytes() >= high


def test_promises_end_with_their_block() -> None:
    with promised(3), promised(4):
        assert promised_bytes() == 7
    assert promised_bytes() == 0


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    return path


def group(folder: Path, version: int, limit: str, used: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\n")


@pytest.mark.parametrize(
    ("version", "line", "tree"),
    [(2, "0::/a/b", "cgroup/a"), (1, "4:memory:/a/b", "cgroup/memory/a"), (2, "0::/", "cgroup")],
)
def test_a_container_leaves_its_limit_less_its_use(
    meminfo: Path, tmp_path: Path, version: int, line: str, tree: str
) -> None:
    proc = tmp_path / "self"
    proc.write_text(f"7:cpu:/x\n{line}\n")
    group(tmp_path / tree, version, "3000000", 1_200_000, 200_000)
    group(tmp_path / tree / "b", version, "max" if version == 2 else "9223372036854771712", 5, 0)
    left = available_bytes(meminfo=meminfo, proc=proc, mounted=tmp_path / "cgroup")
    assert left == 2_000_000


def test_without_a_limit_it_is_the_machine_s(meminfo: Path, tmp_path: Path) -> None:
    proc = tmp_path / "self"
    proc.write_text("0::/../outside\n")
    assert available_bytes(meminfo=meminfo, proc=proc, mounted=tmp_path / "none") == 8000 * 1024
    assert available_bytes(meminfo=meminfo, proc=tmp_path / "no", mounted=tmp_path) == 8000 * 1024
    group(tmp_path / "cgroup", 2, "1000", 2000, 0)
    proc.write_text("0::/\n")
    assert available_bytes(meminfo=meminfo, proc=proc, mounted=tmp_path / "cgroup") == 0
