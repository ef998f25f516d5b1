"""A job by nnU-Net: its own predictor, its default resampling of logits, its own decision. No mirroring."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - a benchmark
from benchmarks.peers import nets
from benchmarks.peers.job import Job, answer, asked
from benchmarks.peers.meter import Meter
from nnunetv2.inference.export_prediction import (  # type: ignore[import-not-found]  # in .venv-peers only
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # type: ignore[import-not-found]
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # type: ignore[import-not-found]

CONFIGURATION = "3d_fullres"


def plans(job: Job) -> PlansManager:
    """Plans as nnU-Net's planner writes them, as far as its inference reads them."""
    configuration = {
        "patch_size": list(job.patch),
        "spacing": list(job.spacing),
        "architecture": {},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
    }
    return PlansManager(
        {
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {CONFIGURATION: configuration},
        }
    )


def main() -> None:
    """Do the job this process was started for."""
    job = asked()
    image = torch.from_numpy(job.image()[None])
    meter = Meter(job.device)
    network = nets.load(job.net, job.classes, Path(job.weights)).to(job.device)
    planned = plans(job)
    configuration = planned.get_configuration(CONFIGURATION)
    labels = {"background": 0} | {f"label {n}": n for n in range(1, job.classes)}
    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=job.device != "cpu",
        device=torch.device(job.device),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network, planned, configuration, [network.state_dict()], {"labels": labels}, "none", None
    )
    box = [[0, n] for n in job.onto]
    properties = {
        "spacing": [1.0, 1.0, 1.0],
        "shape_before_cropping": job.onto,
        "shape_after_cropping_and_before_resampling": job.onto,
        "bbox_used_for_cropping": box,
    }
    with torch.inference_mode():
        network(image[None, :, : job.patch[0], : job.patch[1], : job.patch[2]].to(job.device))

    meter.start()
    logits = predictor.predict_logits_from_preprocessed_data(image)
    found = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, planned, configuration, predictor.label_manager, properties
    )
    measured = meter.stop()
    if job.labels:
        np.save(job.labels, found)
    answer(
        {**measured, "version": version("nnunetv2"), "torch": torch.__version__, "output_bytes": found.nbytes}
    )


if __name__ == "__main__":
    main()
