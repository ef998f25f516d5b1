"""How near to the machine's limit the forward pass comes, by plain PyTorch and by each of medseg's engines.

    python tests/benchmarks/bench_limit.py            # light and big net, one window of 96 x 96 x 96

The ceiling is the fastest convolution measured here, in the same minutes: oneDNN, 3 x 3 x 3, 320 channels.
The network's multiplications and additions are counted by a hook. medseg is measured through the walk over
an image of one window and two classes, so its figure includes the little that is not network. Every figure
is the best of several, each method in a fresh process, methods taking turns. Ends with 1 where plain PyTorch
or medseg's default failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this runs as a script

from benchmarks.peers.job import ON_PATH, PYTHON, Job, run
from benchmarks.peers.table import Row, has_bf16

CLASSES = 2


def rows() -> list[Row]:
    """Plain PyTorch and medseg's engines, in single precision and, where the processor can, in bfloat16."""
    found = []
    for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
        found.append(Row(f"PyTorch {precision}", "eager", precision=precision, named=True))
        for engine in (None, "torch", "openvino", "onnx"):
            name = f"medseg {engine or 'default'} {precision}"
            found.append(Row(name, "medseg", engine, precision, named=(engine, precision) == (None, "fp32")))
    return found


def gflop(job: Job) -> float:
    """Of one window; counted where PyTorch is, as this process has none."""
    command = (
        f"from benchmarks.peers.nets import gflop; print(gflop({job.net!r}, {job.classes}, {job.patch}))"
    )
    environment = {**os.environ, **ON_PATH}
    told = subprocess.run(
        [str(PYTHON["medseg"]), "-c", command], env=environment, capture_output=True, check=True
    )
    return float(told.stdout)


def measure(job: Job, rounds: int) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Ceilings in GFLOP/s by precision, best seconds by row, and rows that failed though they must not."""
    ceiling: dict[str, float] = {}
    best: dict[str, float] = {}
    faults, left = [], rows()
    for _ in range(rounds):
        for precision in {row.precision or "fp32": None for row in left}:
            found = run("ceiling", replace(job, precision=precision))
            ceiling[precision] = max(ceiling.get(precision, 0.0), found["gflop_per_s"])
        for row in list(left):
            try:
                answer: dict[str, Any] = run(
                    row.method, replace(job, engine=row.engine, precision=row.precision)
                )
            except RuntimeError as problem:
                answer = {"unavailable": str(problem)}
            if "unavailable" in answer:
                print(f"  {row.name} is not to be had: {answer['unavailable']}", flush=True)  # noqa: T201
                left.remove(row)
                faults += [row.name] if row.named else []
            else:
                best[row.name] = min(best.get(row.name, 1e9), *answer["walls_s"])
    return ceiling, best, faults


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=["micro", "light", "big"], default=["light", "big"])
    parser.add_argument("--side", type=int, default=96, help="voxels of the window along each axis")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    window = (options.side,) * 3
    failed: list[str] = []
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for net in options.nets:
            weights = Path(folder) / f"{net}.safetensors"
            job = Job(
                net=net,
                classes=CLASSES,
                shape=window,
                onto=window,
                patch=window,
                weights=str(weights),
                repeats=options.repeats,
            )
            job.save_weights()
            work = gflop(job)
            ceiling, best, faults = measure(job, options.rounds)
            failed += faults
            tops = ", ".join(f"{precision} {speed:.0f} GFLOP/s" for precision, speed in ceiling.items())
            print(f"{net} net, {work:.0f} GFLOP a window of {options.side}^3; ceiling {tops}")  # noqa: T201
            for row in (row for row in rows() if row.name in best):
                speed = work / best[row.name]
                share = speed / ceiling[row.precision or "fp32"]
                ratio = best[row.name] / best.get("PyTorch fp32", float("nan"))
                print(  # noqa: T201
                    f"  {row.name:<22}{best[row.name]:8.3f} s {speed:7.0f} GFLOP/s"
                    f"  {share:5.0%} of the ceiling   {ratio:.2f} of PyTorch fp32's time",
                    flush=True,
                )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
