"""Time and memory of the fully connected CRF on a box of 256 x 224 x 160 voxels, two labels, five updates.

    python tests/benchmarks/bench_crf.py [--shape 256 224 160] [--threads 2] [--backend torch] [--peer]

Prints the wall time, the peak of the process above what it held before, and both bounds: 60 s and 3 GB. With
`--peer` both backends compute the same input, one after the other, and the ratio of their wall times to that
of pydensecrf2 is printed, if it is installed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch  # noqa: TID253
from medseg_crf.dense_crf import DenseCrf

from medseg import Grid, Scores, Volume
from medseg.memory import peak_bytes, reset_peak, resident_bytes

SECONDS, BYTES = 60.0, 3_000_000_000
Backend = Literal["torch", "pydensecrf"]


def box(shape: tuple[int, int, int]) -> tuple[Scores, Volume]:
    """A ball of 50 HU in fat with noise, and logits that are unsure of it."""
    grid = Grid(shape, np.diag([1.5, 1.5, 1.5, 1.0]))
    random = np.random.default_rng(0)
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    inside = sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True)) < 0.5
    image = random.normal(0, 20, shape).astype(np.float32)
    image += np.where(inside, np.float32(50), np.float32(-100))
    logits = random.normal(0, 1, shape).astype(np.float32) + np.where(inside, np.float32(1), np.float32(-1))
    return Scores(np.stack([-logits, logits]), grid, "logits", "softmax"), Volume(image[None], grid)


def measured(backend: Backend, shape: tuple[int, int, int], threads: int) -> dict[str, Any]:
    """What a backend takes with a box of this shape."""
    step = DenseCrf(intensity=40, backend=backend)
    step(*box((16, 16, 16)))  # libraries are loaded
    scores, volume = box(shape)
    before = resident_bytes()
    reset_peak()
    begun, busy = time.perf_counter(), time.process_time()
    step(scores, volume)
    return {
        "shape": list(shape),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "backend": backend,
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "bound_seconds": SECONDS,
        "peak_gb": round(peak_bytes() / 1e9, 2),
        "above_before_gb": round((peak_bytes() - before) / 1e9, 2),
        "foretold_gb": round(step.work_bytes(scores, volume) / 1e9, 2),
        "bound_gb": BYTES / 1e9,
    }


def main() -> int:
    """Measure once; 1 where a bound is passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", nargs=3, type=int, default=(256, 224, 160))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", choices=("torch", "pydensecrf"), default="torch")
    parser.add_argument("--peer", action="store_true", help="both backends, and their ratio")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    backends: tuple[Backend, ...] = ("torch", "pydensecrf") if asked.peer else (asked.backend,)
    if asked.peer and find_spec("pydensecrf") is None:
        print("pydensecrf2 is not installed: torch alone is measured")  # noqa: T201 - the result
        backends = ("torch",)
    found = []
    for backend in backends:
        found.append(measured(backend, tuple(asked.shape), asked.threads))
        print(json.dumps(found[-1]))  # noqa: T201 - the result
        gc.collect()
    if len(found) == 2:
        ratio = found[0]["seconds"] / found[1]["seconds"]
        print(f"wall time of torch by that of pydensecrf2: {ratio:.2f}")  # noqa: T201 - the result
    return int(any(each["seconds"] > SECONDS or each["peak_gb"] > each["bound_gb"] for each in found))


if __name__ == "__main__":
    sys.exit(main())
