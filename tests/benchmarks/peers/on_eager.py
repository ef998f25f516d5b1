"""The forward pass of a job's first window by plain PyTorch: what every engine is held against."""

from __future__ import annotations

import time
from pathlib import Path

import torch  # noqa: TID253 - a benchmark
from benchmarks.peers import nets
from benchmarks.peers.job import answer, asked
from benchmarks.peers.meter import Meter


@torch.inference_mode()
def main() -> None:
    """Do the job this process was started for."""
    job = asked()
    image = torch.from_numpy(job.image()[None, None])
    meter = Meter()
    network = nets.load(job.net, job.classes, Path(job.weights))
    window = image[..., : job.patch[0], : job.patch[1], : job.patch[2]]
    walls = []
    with torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bf16"):
        network(window)
        meter.start()
        for _ in range(job.repeats):
            begun = time.perf_counter()
            network(window)
            walls.append(round(time.perf_counter() - begun, 4))
    answer({**meter.stop(), "walls_s": walls, "version": torch.__version__, "torch": torch.__version__})


if __name__ == "__main__":
    main()
