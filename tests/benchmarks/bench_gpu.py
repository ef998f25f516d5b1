"""medseg on a GPU beside nnU-Net and MONAI with the same network, and how busy the network keeps the GPU.

    python tests/benchmarks/bench_gpu.py [--peers monai] [--rounds 3] [--seconds 300]

Every run is a fresh process, and methods take turns. What is timed goes from an image in the processor's
memory to labels there: sending, inference, interpolation, decision; imports, weights and a first window come
before. "busy" is the share of that time in which the GPU is at the network, from events around each pass.
In single precision medseg does without TF32, which has 10 bits and which MONAI and PyTorch use by themselves;
nnU-Net runs in half precision by itself. With --seconds no run is begun after so long. Ends with 1 where a
run failed, and says so where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this runs as a script

from benchmarks.peers.job import PYTHON, Job, run
from benchmarks.peers.table import Row

SIZES = {  # voxels of the image as the network sees it, of the labels, of a window
    "small": ((256, 128, 128), (320, 224, 224), (64, 64, 64)),  # as on processors
    "real": ((273, 273, 300), (512, 512, 300), (128, 128, 128)),  # a CT at 1.5 mm
}
COLUMNS = ("wall_s", "network_s", "busy", "cpu_s", "gpu_mib", "above_mib")


def rows(peers: list[str]) -> list[Row]:
    """medseg in each precision, then the peers."""
    found = [Row(f"medseg {precision}", "medseg", None, precision) for precision in ("fp32", "bf16", "fp16")]
    if "monai" in peers:
        found += [Row(f"monai {precision}", "monai", None, precision) for precision in ("fp32", "fp16")]
    return found + ([Row("nnunet", "nnunet")] if "nnunet" in peers else [])


def told(name: str, runs: list[dict[str, Any]]) -> str:
    """One line of the table: medians."""
    cells = []
    for column in COLUMNS:
        values = [found[column] for found in runs if column in found]
        cells.append(f"{median(values):>11.3f}" if values else " " * 11)
    return f"{name:<14}{len(runs):>2}" + "".join(cells)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["big"])
    parser.add_argument("--classes", nargs="+", type=int, default=[25, 105])
    parser.add_argument("--sizes", nargs="+", choices=["small", "real"], default=["small", "real"])
    parser.add_argument("--peers", nargs="*", choices=["monai", "nnunet"], default=["monai", "nnunet"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, help="file for one line of JSON a run")
    parser.add_argument("--this-python", action="store_true", help="run all methods in this environment")
    options = parser.parse_args()
    if options.this_python:
        PYTHON.update(dict.fromkeys(PYTHON, Path(sys.executable)))
    if not has_gpu():
        print("there is no GPU here: nothing was measured")  # noqa: T201
        return 0
    until, failed = time.monotonic() + options.seconds, 0
    with tempfile.TemporaryDirectory() as folder:
        for size, net, classes in product(options.sizes, options.nets, options.classes):
            shape, onto, patch = SIZES[size]
            weights = Path(folder) / f"{net}-{classes}.safetensors"
            job = Job(
                net=net,
                classes=classes,
                shape=shape,
                onto=onto,
                patch=patch,
                weights=str(weights),
                device="cuda",
            )
            if not weights.exists():
                job.save_weights()
            print(f"\n{size}: {net}, {classes} classes, {shape} onto {onto}")  # noqa: T201
            failed += not table(job, options, until)
    return 1 if failed else 0


def table(job: Job, options: argparse.Namespace, until: float) -> bool:
    """Run all rows in turns, none after a time, and print their medians; whether all ran."""
    found: dict[str, list[dict[str, Any]]] = {}
    well = True
    for _, row in product(range(options.rounds), rows(options.peers)):
        if time.monotonic() < until:
            well = measured(row, job, found, options.out) and well
    print(f"{'':<16}" + "".join(f"{name:>11}" for name in COLUMNS))  # noqa: T201
    for name, runs in found.items():
        print(told(name, runs), flush=True)  # noqa: T201
    return well


def has_gpu() -> bool:
    """Whether PyTorch has a GPU; asked where it is, as this process may have none."""
    asks = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([str(PYTHON["medseg"]), "-c", asks], check=False).returncode == 0


def measured(row: Row, job: Job, found: dict[str, list[dict[str, Any]]], out: Path | None) -> bool:
    """Run a row once and keep what it says; whether it ran."""
    try:
        answer = run(row.method, replace(job, precision=row.precision), limit_s=300)
    except Exception as problem:  # noqa: BLE001 - a peer may fail in any way, and is told
        print(f"  {row.name} FAILED: {problem}", flush=True)  # noqa: T201
        return False
    if out is not None:
        with out.open("a") as file:
            file.write(
                json.dumps({"row": row.name, "classes": job.classes, "onto": job.onto, **answer}) + "\n"
            )
    if "unavailable" in answer:
        print(f"  {row.name} is not to be had: {answer['unavailable']}", flush=True)  # noqa: T201
        return False
    found.setdefault(row.name, []).append(answer)
    return True


if __name__ == "__main__":
    raise SystemExit(main())
