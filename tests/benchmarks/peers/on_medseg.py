"""A job by medseg: the public walk of a model folder whose segmenter is `network`."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - a benchmark
import yaml
from benchmarks.peers.component import catalog
from benchmarks.peers.job import Job, answer, asked
from benchmarks.peers.meter import Meter
from pydantic import PrivateAttr

import medseg
from medseg import Grid, Resources, Segmentation, Volume
from medseg.errors import MedsegError, ResourceError
from medseg.inference.engines.torch_engine import TorchEngine
from medseg.pipeline import Pipeline, Stage, walk
from medseg.prediction import Plan, Prediction
from medseg.run.case import Setup, memory_as_resource, processors
from medseg.run.chosen import prepare
from medseg.steps import Preprocessor


class Prepared(Preprocessor):
    """Gives the image on the model's grid, made beforehand: the peers' preprocessing is not timed either."""

    _volume: Volume | None = PrivateAttr(None)

    @classmethod
    def of(cls, volume: Volume) -> Prepared:
        """A step that gives this volume."""
        step = cls()
        step._volume = volume
        return step

    def __call__(self, volume: Volume) -> Volume:
        """The image that was made beforehand."""
        assert self._volume is not None
        return self._volume


def model_folder(job: Job, folder: Path) -> Path:
    """Write a model that does the job: one network, no preprocessing, nothing measured or written."""
    weights = folder / "weights.safetensors"
    shutil.copyfile(job.weights, weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    pipeline = {
        "labels": {n: {"name": f"label {n}"} for n in range(1, job.classes)},
        "segment": {
            "network": {
                "architecture": {"bench-unet": {"net": job.net}},
                "head": "softmax",
                "weights": [{"path": weights.name, "sha256": digest}],
                "window": {"patch": list(job.patch)},
            }
        },
        "measure": [],
        "write": [],
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


def on_grid(array: Any, spacing: tuple[float, float, float]) -> Volume:
    """An image `[i, j, k]` whose first voxel's outer corner is at the origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array(spacing) / 2
    return Volume(array[None], Grid(array.shape, affine), ("image",))


def resources(job: Job) -> Resources:
    """medseg's defaults, but for what the job says."""
    plain = Resources()
    return Resources(
        device=job.device,
        engine=job.engine or plain.engine,
        precision=job.precision or plain.precision,
        max_memory_bytes=job.max_memory_bytes,
        threads=job.threads,
    )


class Run:
    """The walk over one image, as often as asked; keeps the plan."""

    def __init__(self, pipeline: Pipeline, predictor: Any, limit: int | None) -> None:
        self._pipeline = pipeline
        self._predictor = predictor
        self._limit = limit
        self.plan: Plan | None = None

    def __call__(self, image: Volume, onto: tuple[int, int, int]) -> tuple[Prediction, Segmentation]:
        step = Prepared.of(image)
        stage: Stage[Preprocessor] = Stage("preprocess[0]", "prepared", "medseg-benchmarks", "0", step, {})
        # The native image is not looked at: one value, seen from every voxel, takes no memory.
        native = on_grid(np.broadcast_to(np.float32(0), onto), (1.0, 1.0, 1.0))
        pipeline = replace(self._pipeline, preprocess=(stage,))
        prediction, segmentation, _ = walk(pipeline, native, self._predictor, afford=self._afford)
        return prediction, segmentation

    def _afford(self, plan: Plan) -> None:
        self.plan = plan
        if self._limit is not None and plan.total_bytes > self._limit:
            raise ResourceError(f"needs about {plan.total_bytes} bytes")


class Busy:
    """How long a GPU is at the network: events before and after each pass, in its own queue."""

    def __init__(self) -> None:
        self._passes: list[tuple[Any, Any]] = []
        plain = TorchEngine.infer

        def infer(engine: TorchEngine, images: torch.Tensor) -> torch.Tensor:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # PyTorch's own
            begin.record()
            logits = plain(engine, images)
            end.record()
            self._passes.append((begin, end))
            return logits

        TorchEngine.infer = infer  # type: ignore[method-assign,assignment]  # to time it from outside

    def seconds(self) -> float:
        """Of all passes; wait for the GPU first."""
        return round(float(sum(begin.elapsed_time(end) for begin, end in self._passes)) / 1000, 4)


def main() -> None:
    """Do the job this process was started for."""
    job = asked()
    image = on_grid(job.image(), job.spacing)
    meter = Meter(job.device)
    with tempfile.TemporaryDirectory() as folder:
        model, pipeline = prepare(model_folder(job, Path(folder)), catalog())
        setup = Setup(model=model, pipeline=pipeline, resources=resources(job))
        try:
            with memory_as_resource(), processors(job.threads), setup.opened() as predictor:
                measured = measure(job, image, meter, Run(pipeline, predictor, job.max_memory_bytes))
        except MedsegError as problem:
            measured = {"unavailable": f"{type(problem).__name__}: {problem}"}
    answer({**measured, "version": medseg.__version__, "torch": torch.__version__})


def measure(job: Job, image: Volume, meter: Meter, run: Run) -> dict[str, Any]:
    """Walk once over one window to warm up, then over the image."""
    part = image.array[0][tuple(slice(0, side) for side in job.patch)]
    i, j, k = (math.ceil(side * step) for side, step in zip(part.shape, job.spacing, strict=True))
    run(on_grid(part, job.spacing), (i, j, k))

    network = Busy() if job.device != "cpu" else None
    meter.start()
    walls = []
    for _ in range(job.repeats - 1):
        begun = time.perf_counter()
        run(image, job.onto)
        walls.append(round(time.perf_counter() - begun, 3))
    begun = time.perf_counter()
    prediction, segmentation = run(image, job.onto)
    walls.append(round(time.perf_counter() - begun, 3))
    measured = meter.stop()
    if network is not None:
        measured |= {"network_s": network.seconds(), "busy": round(network.seconds() / sum(walls), 4)}
    (layer,) = segmentation.array
    if job.labels:
        np.save(job.labels, layer)
    assert run.plan is not None
    return {
        **measured,
        "walls_s": walls,
        "output_bytes": segmentation.array.nbytes,
        "plan_mib": round(run.plan.peak_bytes / 2**20, 1),
        "plan_total_mib": round(run.plan.total_bytes / 2**20, 1),
        "plan_s": run.plan.seconds,
        "batch_blocks": [run.plan.batch, run.plan.blocks],
        "strategy": run.plan.strategy,
        "used": {key: value for key, value in prediction.used.items() if key != "weights"},
    }


if __name__ == "__main__":
    main()
