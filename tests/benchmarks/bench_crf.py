"""Time and memory of the fully connected CRF on a box of 256 x 224 x 160 voxels, two labels, five updates.

    python tests/benchmarks/bench_crf.py [--shape 256 224 160] [--threads 2] [--backend torch]

Prints the wall time, the peak of the process above what it held before, and both bounds: 60 s and 3 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import torch  # noqa: TID253
from medseg_crf.dense_crf import DenseCrf

from medseg import Grid, Scores, Volume
from medseg.memory import peak_bytes, reset_peak, resident_bytes

SECONDS, BYTES = 60.0, 3_000_000_000


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


def main() -> int:
    """Measure once; 1 where a bound is passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", nargs=3, type=int, default=(256, 224, 160))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", choices=("torch", "pydensecrf"), default="torch")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    step = DenseCrf(intensity=40, backend=asked.backend)
    step(*box((16, 16, 16)))  # libraries are loaded
    scores, volume = box(tuple(asked.shape))
    before = resident_bytes()
    reset_peak()
    begun, busy = time.perf_counter(), time.process_time()
    step(scores, volume)
    said = {
        "shape": list(asked.shape),
        "threads": asked.threads,
        "backend": asked.backend,
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "bound_seconds": SECONDS,
        "peak_gb": round(peak_bytes() / 1e9, 2),
        "above_before_gb": round((peak_bytes() - before) / 1e9, 2),
        "foretold_gb": round(step.work_bytes(scores, volume) / 1e9, 2),
        "bound_gb": BYTES / 1e9,
    }
    print(json.dumps(said))  # noqa: T201 - the result
    return int(said["seconds"] > SECONDS or peak_bytes() > BYTES)


if __name__ == "__main__":
    sys.exit(main())
