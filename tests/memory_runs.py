"""Runs of a small network by the real command, in processes of their own, to see what they have in memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import yaml

__all__ = ["Run", "chosen", "command", "done", "image", "model", "needed"]

START = """
import atexit, sys
from medseg.memory import highest_bytes
atexit.register(lambda: print("peak", highest_bytes(), file=sys.stderr))
from medseg.cli import main
main()
"""
STEPS = {  # after the segmenter: all kinds, and the hungriest of each
    "postprocess": ["keep-largest"],
    "measure": ["volumes"],
    "write": ["nifti", "csv", "preview"],
}


@dataclass(frozen=True)
class Run:
    """A noisy image of `shape` voxels of `spacing` mm through a model, within `limit` bytes.

    `cache` is the folder of the engines' graphs: an empty one means that they are made first.
    """

    model: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    engine: str
    limit: int | None = None
    cache: str | None = None


def model(folder: Path, *, classes: int, patch: int, spacing: float, more: bool = True) -> Path:
    """A pipeline file with a network of random weights; `more` adds steps around it. Needs PyTorch here."""
    import torch
    from safetensors.torch import save_file

    from medseg.builtin.network.unet import Unet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = Unet(channels=(8, 16)).build(dims=3, inputs=1, outputs=classes).state_dict()
    save_file(state, folder / "w.safetensors")
    digest = hashlib.sha256((folder / "w.safetensors").read_bytes()).hexdigest()
    content = {
        "labels": {n: {"name": f"label {n}"} for n in range(1, classes)},
        "preprocess": [{"resample": {"spacing": spacing}}] if more else [],
        "segment": {
            "network": {
                "architecture": {"unet": {"channels": [8, 16]}},
                "head": "softmax",
                "weights": [{"path": "w.safetensors", "sha256": digest}],
                "window": {"patch": [patch] * 3, "overlap": 0.1},
            }
        },
        **(STEPS if more else {"measure": [], "write": ["nifti"]}),
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def image(path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Path:
    """A NIfTI file of noise."""
    array = np.random.default_rng(0).integers(-1000, 1000, shape, np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


def chosen(folder: Path, chance: random.Random) -> Run:
    """A configuration at random."""
    i, j, k = (chance.randrange(60, 200) for _ in range(3))
    file = model(
        folder,
        classes=chance.choice([2, 5, 25, 60, 105]),
        patch=chance.choice([32, 48, 64]),
        spacing=chance.uniform(1.2, 2.5),
    )
    cache = folder / "cache"
    return Run(
        str(file), (i, j, k), (1.0, 1.0, 1.5), chance.choice(["torch", "openvino", "onnx"]), cache=str(cache)
    )


def done(run: Run) -> dict[str, Any]:
    """What `medseg segment` says of itself in run.json; `peak` is its largest size, in bytes.

    Or, where it was refused, what it said.
    """
    folder = Path(run.model).parent
    size = "x".join(str(n) for n in run.shape)
    path = folder / f"image-{size}.nii"
    if not path.exists():
        image(path, run.shape, run.spacing)
    out = folder / "out"
    asked = ["segment", str(path), "--model", run.model, "--out", str(out), "--overwrite"]
    code, peak, said = command(*asked, engine=run.engine, limit=run.limit, cache=run.cache)
    if code == 5:
        return {"refused": said, "peak": peak}
    assert code == 0, said
    record: dict[str, Any] = json.loads((out / "run.json").read_text())
    return {**record, "peak": peak, "labels": record["outputs"]["segmentation.nii.gz"]}


def command(
    *asked: str, engine: str, limit: int | None = None, cache: str | None = None
) -> tuple[int, int, str]:
    """Run `medseg` as a shell would: its exit code, its largest size in bytes, and its stderr."""
    more = [] if limit is None else ["--max-memory", str(limit)]
    ended = subprocess.run(
        [sys.executable, "-c", START, *asked, "--quiet", "--device", "cpu", "--engine", engine, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | ({} if cache is None else {"XDG_CACHE_HOME": cache}),
    )
    said, _, peak = ended.stderr.rpartition("peak ")
    return ended.returncode, int(peak), said.strip()


def needed(refusal: str) -> int:
    """The bytes that a refusal says would do."""
    found = re.search(r"--max-memory ([\d.]+)GB", refusal)
    assert found is not None, refusal
    return round(float(found[1]) * 1e9)
