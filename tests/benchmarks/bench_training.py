# ruff: noqa: T201 - a script: it prints
"""Training held against nnU-Net 2.8.1: Dice of unseen cases after equal time, and patches a second.

    make bench-peers
    python tests/benchmarks/bench_training.py DATASET --minutes 30
    python tests/benchmarks/bench_training.py DATASET --minutes 30 --speed

DATASET is one that `medseg train` takes, of single-channel NIfTI files, as the hippocampus set. Both train
on the same split by subject, one after the other, each on all cores. medseg's time is that of its whole
command, preparing and validating included; nnU-Net's is that of training alone, and its schedule ends then.
Predictions are on the native grid; nnU-Net mirrors along all axes, as it does by default. With --speed,
medseg also trains nnU-Net's own network, patch and batch for a while, to compare patches a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.job import ON_PATH, PYTHON, ROOT

from medseg.evaluation import evaluate_files, match_files, metrics_named
from medseg.training.dataset import Dataset, open_dataset

NAME = "Dataset004_Hippocampus"
METRICS = "dice, hd95"
SPEED_EPOCHS, SPEED_STEPS = 3, 8


def command(*words: str) -> None:
    """Run `medseg` in a process of its own; its progress goes to stderr."""
    subprocess.run(
        [str(PYTHON["medseg"]), "-c", "from medseg.cli import main; main()", *words], check=True, cwd=ROOT
    )


def ours(dataset: Path, run: Path, minutes: float) -> dict[str, Any]:
    """Train by the command, default plan; Dice and HD95 as the training itself appraised its cases."""
    began = time.monotonic()
    command("train", str(dataset), "-o", str(run), "--time-budget", f"{minutes:g}m", "--overwrite")
    seconds = time.monotonic() - began
    rows = [
        {"case": each["case"], **row}
        for each in json.loads((run / "fold0" / "validation.json").read_text(encoding="utf-8"))
        for row in each["rows"]
    ]
    log = (run / "fold0" / "log.csv").read_text(encoding="utf-8").splitlines()
    spec = yaml.safe_load((run / "plan.yaml").read_text(encoding="utf-8"))["training"]
    return {"rows": rows, "seconds": seconds, "epochs": len(log) - 1, "batch": spec.get("batch", 2)}


def handed_over(dataset: Dataset, held: list[str], work: Path) -> None:
    """The dataset as nnU-Net wants it, with the split."""
    raw = work / "raw" / NAME
    for folder in (raw / "imagesTr", raw / "labelsTr", work / "preprocessed", work / "results"):
        folder.mkdir(parents=True)
    cases = dataset.trainable
    for case in cases:
        (image,) = case.images.values()
        assert case.label is not None
        shutil.copyfile(image, raw / "imagesTr" / f"{case.id}_0000.nii.gz")
        shutil.copyfile(case.label, raw / "labelsTr" / f"{case.id}.nii.gz")
    told = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, **{label.name: label.value for label in dataset.labels}},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    splits = {"train": [case.id for case in cases if case.id not in held], "val": held}
    (work / "splits.json").write_text(json.dumps(splits), encoding="utf-8")


def theirs(work: Path, seconds: float) -> dict[str, Any]:
    """Train by nnU-Net in its own environment, and score its masks as ours are."""
    environment = {**os.environ, **ON_PATH}
    environment["PYTHONPATH"] += os.pathsep + str(ROOT)
    subprocess.run(
        [str(PYTHON["peers"]), "-m", "benchmarks.peers.on_nnunet_training", str(work), f"{seconds}"],
        check=True,
        env=environment,
        stdout=sys.stderr,
    )
    told: dict[str, Any] = json.loads((work / "answer.json").read_text(encoding="utf-8"))
    references = work / "references"
    references.mkdir()
    held = json.loads((work / "splits.json").read_text(encoding="utf-8"))["val"]
    for case in held:
        shutil.copyfile(work / "raw" / NAME / "labelsTr" / f"{case}.nii.gz", references / f"{case}.nii.gz")
    found = evaluate_files(match_files(work / "predicted", references), metrics_named(METRICS))
    told["rows"] = [
        {"case": case.case, "label": row.label, "quantity": row.quantity, "value": row.value}
        for case in found.cases
        for row in case.rows
    ]
    return told


def speed(dataset: Path, run: Path, peer: dict[str, Any]) -> float:
    """Patches a second of medseg's loop with nnU-Net's network, patch and batch; augmentation as planned."""
    built = peer["architecture"]
    network = {
        "channels": built["features_per_stage"],
        "strides": built["strides"][1:],
        "kernels": built["kernel_sizes"],
        "deep_supervision": len(built["features_per_stage"]) - 2,
    }
    overlay = {
        "segment": {"network": {"architecture": {"dynunet": network}, "window": {"patch": peer["patch"]}}},
        "training": {"batch": peer["batch"], "steps_per_epoch": SPEED_STEPS},
    }
    part = run.with_suffix(".yaml")
    part.write_text(yaml.safe_dump(overlay), encoding="utf-8")
    words = ("--epochs", str(SPEED_EPOCHS), "--validation", "0", "--pipeline", str(part), "--overwrite")
    command("train", str(dataset), "-o", str(run), *words)
    header, *lines = (run / "fold0" / "log.csv").read_text(encoding="utf-8").splitlines()
    column = header.split(",").index("samples_per_s")
    return float(np.median([float(line.split(",")[column]) for line in lines[1:]]))


def mean(rows: list[dict[str, Any]], label: str, quantity: str) -> float:
    """The mean over cases."""
    values = [r["value"] for r in rows if r["label"] == label and r["quantity"] == quantity]
    return float(np.mean([value for value in values if value is not None]))


def main() -> None:
    """Train both, print a table and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--work", type=Path, default=Path("bench-training"))
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True)
    dataset = open_dataset(given.dataset)
    us = ours(given.dataset, given.work / "medseg", given.minutes)
    held = sorted({row["case"] for row in us["rows"]})
    print(f"medseg: {us['seconds']:.0f} s in all, {us['epochs']} epochs, {len(held)} validation cases")
    handed_over(dataset, held, given.work / "nnunet")
    peer = theirs((given.work / "nnunet").resolve(), 60 * given.minutes)
    print(f"nnU-Net: {peer['seconds']:.0f} s of training, {peer['iterations']} iterations of {peer['batch']}")
    for quantity in ("dice", "hd95"):
        for label in dataset.labels:
            ours_, theirs_ = (mean(each["rows"], label.name, quantity) for each in (us, peer))
            print(f"{quantity} {label.name}: medseg {ours_:.4f}, nnU-Net {theirs_:.4f}")
    print(f"nnU-Net: {peer['patches_per_s']:.2f} patches/s")
    if given.speed:
        rate = speed(given.dataset, given.work / "speed", peer)
        print(
            f"medseg, same network, patch, batch: {rate:.2f} patches/s, {rate / peer['patches_per_s']:.2f} x"
        )


if __name__ == "__main__":
    main()
