"""The fastest convolution this machine has shown: oneDNN, 3 x 3 x 3, 320 channels to 320, in GFLOP/s.

Matrix products are slower here in single precision, so the convolution is the ceiling.
"""

from __future__ import annotations

import time

import torch  # noqa: TID253 - a benchmark
from benchmarks.peers.job import answer, asked

CHANNELS, SIDE = 320, 24


@torch.inference_mode()
def main() -> None:
    """Do the job this process was started for; of it, only `precision` and `repeats` matter."""
    job = asked()
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    layer = torch.nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1, bias=False).to(dtype)
    image = torch.randn(1, CHANNELS, SIDE, SIDE, SIDE).to(dtype)
    gflop = 2 * CHANNELS**2 * 27 * SIDE**3 / 1e9
    layer(image)
    walls = []
    for _ in range(job.repeats):
        begun = time.perf_counter()
        layer(image)
        walls.append(time.perf_counter() - begun)
    answer(
        {"gflop_per_s": round(gflop / min(walls), 1), "gflop": round(gflop, 1), "torch": torch.__version__}
    )


if __name__ == "__main__":
    main()
