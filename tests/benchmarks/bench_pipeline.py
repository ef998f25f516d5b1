"""From an image to labels on its native grid: medseg beside nnU-Net and MONAI, with the same network.

    python tests/benchmarks/bench_pipeline.py                    # everything, about two hours on two cores
    python tests/benchmarks/bench_pipeline.py --quick            # does it work? figures mean little
    python tests/benchmarks/bench_pipeline.py --nets light --classes 105 --engine openvino

Every run is a fresh process; methods take turns, so that all meet the same moods of the machine. What is
timed is inference, interpolation and decision: imports, weights and one forward pass come before. Memory is
what is resident: at its peak, and that above what was resident when the run began. Labels of random weights
are compared only to see that the same was done. The peers live in .venv-peers, which is made first; without
it this fails.

    matrix    ratios to the peers at 2, 25 and 105 classes
    growth    memory when the volume gets three times as deep
    budgets   what the plan foretells, and whether a memory limit holds, in random configurations

Ends with 1 where a run failed, or an engine asked for by name is not there; with --check also where a goal
is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this runs as a script

from benchmarks.peers.job import ROOT, Job, run
from benchmarks.peers.table import Goals, Row, figures, has_bf16, ratios

Size = tuple[int, int, int]
PARTS = ("matrix", "growth", "budgets")
SHAPE, ONTO, PATCH = (256, 128, 128), (320, 224, 224), (64, 64, 64)
MEMORY_GOALS: dict[int, Goals] = {
    105: {"peak_mib": 0.25, "above_mib": 0.15},
    25: {"peak_mib": 0.45, "above_mib": 0.18},
}
WALL_GOALS = {"micro": 0.5, "light": 0.5, "big": 0.7}
BF16_WALL_GOAL, FEW_CLASSES_GOAL, GROWTH_GOAL = 0.35, 1.05, 1.25
PLAN_SHARE, PLAN_MIB = 0.15, 64.0  # how far the plan's peak may be from the measured one: the larger of both


class Bench:
    """Runs, what they answered, and what went wrong."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.faults: list[str] = []
        self.missed = 0
        self._torch: set[str] = set()

    def say(self, line: str, *, good: bool = True) -> None:
        self.missed += not good
        print(line, flush=True)  # noqa: T201

    def job(self, net: str, classes: int, shape: Size, onto: Size, patch: Size) -> Job:
        weights = self.folder / f"{net}-{classes}.safetensors"
        job = Job(net=net, classes=classes, shape=shape, onto=onto, patch=patch, weights=str(weights))
        if not weights.exists():
            job.save_weights()
        return job

    def run(self, row: Row, job: Job) -> dict[str, Any] | None:
        """One run; None where it failed or could not be had, which is said and noted."""
        try:
            found = run(row.method, replace(job, engine=row.engine, precision=row.precision))
        except (RuntimeError, subprocess.TimeoutExpired) as problem:
            self.faults.append(f"{row.name}: {problem}")
            self.say(f"  {row.name} FAILED: {problem}")
            return None
        self._torch.add(found["torch"])
        if len(self._torch) > 1:
            raise SystemExit(f"the environments hold different versions of PyTorch: {sorted(self._torch)}")
        if self.options.out is not None:
            with self.options.out.open("a") as file:
                file.write(json.dumps({"row": row.name, "job": _told(job), **found}) + "\n")
        if "unavailable" in found:
            self.say(f"  {row.name} is not to be had: {found['unavailable']}")
            if row.named:
                self.faults.append(f"{row.name}: {found['unavailable']}")
            return None
        return found

    def rounds(self, rows: list[Row], job: Job) -> dict[str, list[dict[str, Any]]]:
        """The rows' answers; a row that fails once is not asked again."""
        found: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
        for number in range(self.options.rounds):
            for row in list(rows):
                labels = str(self.folder / f"{row.name}.npy") if number == 0 else ""
                answer = self.run(row, replace(job, labels=labels))
                if answer is None:
                    rows = [other for other in rows if other != row]
                else:
                    found[row.name].append(answer)
        return {name: runs for name, runs in found.items() if runs}


def _told(job: Job) -> dict[str, Any]:
    return {"net": job.net, "classes": job.classes, "shape": job.shape, "onto": job.onto, "patch": job.patch}


def _by(size: Size) -> str:
    return "x".join(map(str, size))


def rows_of(options: argparse.Namespace) -> list[Row]:
    """medseg as it comes and by PyTorch, then the peers; or medseg as it was asked for."""
    if options.engine or options.precision:
        name = " ".join(["medseg", *filter(None, (options.engine, options.precision))])
        ours = [Row(name, "medseg", options.engine, options.precision, named=True)]
    else:
        ours = [Row("medseg", "medseg", named=True)]
        ours.append(Row("medseg torch", "medseg", "torch"))  # where OpenVINO is installed it is the default
        if has_bf16():
            ours.append(Row("medseg bf16", "medseg", None, "bf16"))
    return [*ours, *(Row(name, name) for name in options.peers)]


def goals(rows: list[Row], net: str, classes: int) -> dict[str, Goals]:
    """What medseg's default, and bf16, are to reach beside nnU-Net; other engines are for information."""
    wall = FEW_CLASSES_GOAL if classes <= 2 else WALL_GOALS[net]
    wanted: dict[str, Goals] = {}
    for row in rows:
        if row.method == "medseg" and row.precision == "bf16":
            wanted[row.name] = {"wall_s": BF16_WALL_GOAL}
        elif row.method == "medseg" and row.named:
            wanted[row.name] = {"wall_s": wall, **MEMORY_GOALS.get(classes, {})}
    return wanted


def matrix(bench: Bench) -> None:
    """Ratios to the peers."""
    options, rows = bench.options, rows_of(bench.options)
    for net in options.nets:
        for classes in options.classes:
            job = bench.job(net, classes, options.shape, options.onto, options.patch)
            bench.say(
                f"\n{net}, {classes} classes, {_by(job.shape)} onto {_by(job.onto)}, patch {_by(job.patch)}"
            )
            found = bench.rounds(rows, job)
            for line in figures(found):
                bench.say(line)
            few = (
                {row.name: {"wall_s": FEW_CLASSES_GOAL} for row in rows if row.named} if classes <= 2 else {}
            )
            for peer, wanted in (("nnunet", goals(rows, net, classes)), ("monai", few)):
                for line, good in ratios(found, peer, wanted):
                    bench.say(line, good=good)
            for line, good in plans(found):
                bench.say(line, good=good)
            for line in differences(found, bench.folder):
                bench.say(line)


def plans(found: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, bool]]:
    """The plan's peak beside the measured one, both above what is resident before the run."""
    for row, runs in found.items():
        if "plan_mib" in runs[0]:
            planned, used = runs[0]["plan_mib"], median(run["above_mib"] for run in runs)
            good = abs(planned - used) <= max(PLAN_SHARE * used, PLAN_MIB)
            off = f"{planned - used:+.0f} MiB, {planned / used - 1:+.0%}{'' if good else ', MISSED'}"
            yield f"{row}: planned {planned:.0f} MiB, measured {used:.0f} ({off})", good
            yield f"  {runs[0]['strategy']}; used {runs[0]['used']}", True


def differences(found: dict[str, list[dict[str, Any]]], folder: Path) -> Iterator[str]:
    """Share of voxels in which labels differ from the first row's.

    nnU-Net adds up scores in half precision. MONAI gives window weights a floor of 0.001, which changes the
    blending near the faces of the volume; inside, its labels are the same but for ties.
    """
    first, *others = found or [""]
    for other in others:
        a, b = (np.load(folder / f"{name}.npy") for name in (first, other))
        yield f"labels of {other}: {(a != b).mean():.3%} differ from those of {first}"


def growth(bench: Bench) -> None:
    """Memory when depth triples: above the baseline, less the labels, which grow with the volume."""
    options = bench.options
    classes, net = (25, options.nets[0])
    deep = [(n * options.shape[1], *options.shape[1:]) for n in (1, 3)]
    rows = [row for row in rows_of(options) if row.method == "medseg" or row.name == "nnunet"]
    bench.say(f"\n{net}, {classes} classes, {' and '.join(map(_by, deep))}: MiB above baseline less labels")
    taken: list[dict[str, float]] = []
    for shape in deep:
        i, j, k = (n * b // a for n, a, b in zip(shape, options.shape, options.onto, strict=True))
        found = bench.rounds(rows, bench.job(net, classes, shape, (i, j, k), options.patch))
        taken.append(
            {
                name: median(r["above_mib"] - r["output_bytes"] / 2**20 for r in runs)
                for name, runs in found.items()
            }
        )
    for name in taken[0].keys() & taken[1].keys():
        short, long = taken[0][name], taken[1][name]
        good = long <= GROWTH_GOAL * short or not name.startswith("medseg")
        bench.say(
            f"{name}: {short:.0f}, {long:.0f}, ratio {long / short:.2f}{'' if good else ' MISSED'}", good=good
        )


def budgets(bench: Bench) -> None:
    """Random configurations, each planned and run freely, then with a limit around its plan."""
    chance = random.Random(0)  # noqa: S311 - the same configurations every time
    row = next(row for row in rows_of(bench.options) if row.method == "medseg")
    bench.say("\nbudgets: MiB of the whole process; planned, measured | limit: measured or refused")
    kept = refused = exceeded = 0
    for _ in range(bench.options.budgets):
        patch = chance.choice([32, 48, 64])
        i, j, k = (chance.randrange(40, 161) for _ in range(3))
        a, b, c = (max(8, round(n * chance.uniform(0.6, 1.8))) for n in (i, j, k))
        classes = chance.choice([2, 5, 25, 60, 105])
        job = bench.job("micro", classes, (i, j, k), (a, b, c), (patch, patch, patch))
        free = bench.run(row, job)
        if free is None:
            continue
        above = free["plan_mib"]
        limit = free["plan_total_mib"] - above + above * chance.uniform(0.5, 1.4)
        good = abs(above - free["above_mib"]) <= max(PLAN_SHARE * free["above_mib"], PLAN_MIB)
        told = run("medseg", replace(job, engine=row.engine, max_memory_bytes=round(limit * 2**20)))
        if "unavailable" in told:
            refused, end = refused + 1, f"refused: {told['unavailable']}"
        elif told["peak_mib"] <= limit:
            kept, end = kept + 1, f"{told['peak_mib']:.0f}, kept"
        else:
            exceeded, end = exceeded + 1, f"{told['peak_mib']:.0f}, EXCEEDED"
        planned = f"{free['plan_total_mib']:.0f}, {free['peak_mib']:.0f}{'' if good else ' MISSED'}"
        where = f"{_by(job.shape)} onto {_by(job.onto)}, {classes} classes, patch {patch}"
        bench.say(f"{where}: {planned} | {limit:.0f}: {end}", good=good)
    bench.say(f"limits kept {kept}, refused {refused}, exceeded {exceeded}", good=not exceeded)


def _size(text: str) -> Size:
    i, j, k = (int(n) for n in text.split("x"))
    return i, j, k


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--nets", nargs="+", choices=list(WALL_GOALS), default=["light", "big"])
    parser.add_argument("--classes", nargs="+", type=int, default=[2, 25, 105])
    parser.add_argument("--shape", default=SHAPE, type=_size, metavar="IxJxK")
    parser.add_argument("--onto", default=ONTO, type=_size, metavar="IxJxK")
    parser.add_argument("--patch", default=PATCH, type=_size, metavar="IxJxK")
    parser.add_argument("--peers", nargs="*", choices=["nnunet", "monai"], default=["nnunet", "monai"])
    parser.add_argument("--engine", choices=["auto", "torch", "openvino", "onnx"])
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budgets", type=int, default=20, help="random configurations")
    parser.add_argument("--out", type=Path, help="file for one line of JSON a run")
    parser.add_argument("--check", action="store_true", help="end with 1 where a goal is missed")
    parser.add_argument("--quick", action="store_true", help="one round of small volumes")
    options = parser.parse_args(arguments)
    if options.quick:
        options.nets, options.classes, options.rounds, options.budgets = ["micro"], [25], 1, 2
        options.shape, options.onto = (128, 64, 64), (160, 112, 112)
    return options


def main() -> int:
    """Run what was asked for."""
    options = options_of()
    subprocess.run(["make", "--quiet", "bench-peers"], cwd=ROOT, check=True)  # noqa: S607 - the user's make
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
        load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
        bench.say(f"{model.partition(':')[2].strip()}, {os.cpu_count()} processors, load {load}")
        for part, do in (("matrix", matrix), ("growth", growth), ("budgets", budgets)):
            if part in options.part:
                do(bench)
        bench.say(
            f"\nPyTorch {', '.join(bench._torch)}; goals missed: {bench.missed}; failed: {len(bench.faults)}"
        )
    return 1 if bench.faults or (options.check and bench.missed) else 0


if __name__ == "__main__":
    raise SystemExit(main())
