"""A job by MONAI: its sliding window, linear interpolation of all logits, arg-max. No mirroring.

MONAI fixes no way from logits to the native grid; this is the plain one.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - a benchmark
from benchmarks.peers import nets
from benchmarks.peers.job import answer, asked
from benchmarks.peers.meter import Meter
from monai.inferers.inferer import SlidingWindowInferer  # noqa: TID253


@torch.inference_mode()
def main() -> None:
    """Do the job this process was started for."""
    job = asked()
    image = torch.from_numpy(job.image()[None, None])
    meter = Meter(job.device)
    network = nets.load(job.net, job.classes, Path(job.weights)).to(job.device)
    inferer = SlidingWindowInferer(job.patch, sw_batch_size=1, overlap=0.5, mode="gaussian")
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(job.precision or "fp32")
    with torch.autocast(torch.device(job.device).type, half, enabled=half is not None):
        network(image[..., : job.patch[0], : job.patch[1], : job.patch[2]].to(job.device))

        meter.start()
        logits = inferer(image.to(job.device), network)
    assert isinstance(logits, torch.Tensor)
    logits = torch.nn.functional.interpolate(logits, job.onto, mode="trilinear", align_corners=False)
    found = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
    measured = meter.stop()
    if job.labels:
        np.save(job.labels, found)
    answer(
        {**measured, "version": version("monai"), "torch": torch.__version__, "output_bytes": found.nbytes}
    )


if __name__ == "__main__":
    main()
