"""A training by nnU-Net: its default plan, loop and schedule, the schedule ending with the time there is.

python -m benchmarks.peers.on_nnunet_training WORK SECONDS   # WORK holds nnU-Net's three folders, filled
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WORK, SECONDS = Path(sys.argv[1]), float(sys.argv[2])
FOLDERS = {f"nnUNet_{name}": str(WORK / name) for name in ("raw", "preprocessed", "results")}
os.environ.update(FOLDERS)  # read when nnU-Net is imported
os.environ.setdefault("nnUNet_n_proc_DA", "2")  # one process for each core, as more would get in the way
os.environ.setdefault("nnUNet_compile", "f")

import torch  # noqa: E402, TID253 - a benchmark
from nnunetv2.experiment_planning import (  # type: ignore[import-not-found]  # noqa: E402 - in .venv-peers only
    plan_and_preprocess_api as prepare,
)
from nnunetv2.inference.predict_from_raw_data import (  # type: ignore[import-not-found]  # noqa: E402
    nnUNetPredictor,
)
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import (  # type: ignore[import-not-found]  # noqa: E402
    nnUNetTrainer,
)

from medseg.allocator import keep_freed_memory  # noqa: E402 - it needs nothing but the standard library

DATASET, CONFIGURATION = 4, "3d_fullres"
NAME = f"Dataset{DATASET:03d}_Hippocampus"
ITERATIONS, VALIDATING = 25, 2  # of an epoch; by default 250 and 50, too long to fit a budget to


class TimedTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with short epochs, as many as fit into the time at the pace of the first."""

    num_epochs: int
    trained_s = 0.0

    def run_training(self) -> None:
        """As the original, with the number of epochs set after the first of them."""
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = ITERATIONS, VALIDATING
        self.save_every = 10_000
        self.on_train_start()
        began = time.monotonic()
        while self.current_epoch < self.num_epochs:
            self.on_epoch_start()
            self.on_train_epoch_start()
            started = time.monotonic()
            outputs = [self.train_step(next(self.dataloader_train)) for _ in range(ITERATIONS)]
            self.trained_s += time.monotonic() - started
            self.on_train_epoch_end(outputs)
            with torch.no_grad():
                self.on_validation_epoch_start()
                outputs = [self.validation_step(next(self.dataloader_val)) for _ in range(VALIDATING)]
                self.on_validation_epoch_end(outputs)
            self.on_epoch_end()
            spent = time.monotonic() - began
            more = max(0, round((SECONDS - spent) * self.current_epoch / spent))
            self.num_epochs = self.current_epoch + more
            self.lr_scheduler.max_steps = max(1, self.num_epochs)
        self.spent_s = time.monotonic() - began


def planned() -> dict[str, Any]:
    """Fingerprint, default plan and preprocessed cases, made by nnU-Net."""
    prepare.extract_fingerprints([DATASET], num_processes=2, show_progress_bar=False)
    prepare.plan_experiments([DATASET])
    prepare.preprocess([DATASET], configurations=[CONFIGURATION], num_processes=[2])
    folder = WORK / "preprocessed" / NAME
    splits = json.loads((WORK / "splits.json").read_text(encoding="utf-8"))
    (folder / "splits_final.json").write_text(json.dumps([splits]), encoding="utf-8")
    plans: dict[str, Any] = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    return plans


def main() -> None:
    """Prepare, train, predict the validation cases with mirroring (its default), and say how it went."""
    keep_freed_memory()
    plans = planned()
    told = json.loads((WORK / "raw" / NAME / "dataset.json").read_text(encoding="utf-8"))
    plans["continue_training"] = False  # as its own entry point says it
    trainer = TimedTrainer(plans, CONFIGURATION, 0, told, device=torch.device("cpu"))
    trainer.run_training()
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        use_mirroring=True, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        told,
        "TimedTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    held = json.loads((WORK / "splits.json").read_text(encoding="utf-8"))["val"]
    out = WORK / "predicted"
    out.mkdir(exist_ok=True)
    predictor.predict_from_files_sequential(
        [[str(WORK / "raw" / NAME / "imagesTr" / f"{case}_0000.nii.gz")] for case in held],
        [str(out / case) for case in held],
    )
    configuration = plans["configurations"][CONFIGURATION]
    batch = configuration["batch_size"]
    answer = {
        "patch": configuration["patch_size"],
        "batch": batch,
        "architecture": configuration["architecture"]["arch_kwargs"],
        "epochs": trainer.current_epoch,
        "iterations": trainer.current_epoch * ITERATIONS,
        "seconds": trainer.spent_s,
        "patches_per_s": trainer.current_epoch * ITERATIONS * batch / trainer.trained_s,
    }
    (WORK / "answer.json").write_text(json.dumps(answer, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
