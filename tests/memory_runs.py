"""Runs of a small network in processes of their own, to see what they have in memory at most."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Run", "chosen", "done", "model", "needed"]

CHILD = """
import json, sys
import numpy as np
from medseg import Grid, ResourceError, Resources, Volume, segment
from medseg.memory import highest_bytes

asked = json.loads(sys.argv[1])
array = np.random.default_rng(0).integers(-1000, 1000, asked["shape"], np.int16)[None]
volume = Volume(array, Grid(tuple(asked["shape"]), np.diag([*asked["spacing"], 1.0])), ("image",))
resources = Resources(device="cpu", engine=asked["engine"], max_memory_bytes=asked["limit"])
try:
    result = segment(volume, model=asked["model"], resources=resources)
except ResourceError as problem:
    print(json.dumps({"refused": str(problem), "peak": highest_bytes()}))
else:
    digest = __import__("hashlib").sha256(result.segmentation.array.tobytes()).hexdigest()
    told = {"plan": result.provenance["plan"], "used": result.provenance["used"]}
    print(json.dumps({**told, "labels": digest, "peak": highest_bytes()}))
"""


@dataclass(frozen=True)
class Run:
    """A noisy image of `shape` voxels of `spacing` mm through a model, within `limit` bytes."""

    model: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    engine: str
    limit: int | None = None


def model(folder: Path, *, classes: int, patch: int, spacing: float) -> Path:
    """A pipeline file with a network of random weights; needs PyTorch in this process."""
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
        "preprocess": [{"resample": {"spacing": spacing}}],
        "segment": {
            "network": {
                "architecture": {"unet": {"channels": [8, 16]}},
                "head": "softmax",
                "weights": [{"path": "w.safetensors", "sha256": digest}],
                "window": {"patch": [patch] * 3, "overlap": 0.1},
            }
        },
        "measure": [],
        "write": [],
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def chosen(folder: Path, chance: random.Random) -> Run:
    """A configuration at random."""
    i, j, k = (chance.randrange(60, 200) for _ in range(3))
    file = model(
        folder,
        classes=chance.choice([2, 5, 25, 60, 105]),
        patch=chance.choice([32, 48, 64]),
        spacing=chance.uniform(1.2, 2.5),
    )
    return Run(str(file), (i, j, k), (1.0, 1.0, 1.5), chance.choice(["torch", "openvino"]))


def done(run: Run) -> dict[str, Any]:
    """What a run in a process of its own says of itself; `peak` is its largest size, in bytes."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(asdict(run))],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def needed(refusal: str) -> int:
    """The bytes that a refusal says would do."""
    found = re.search(r"--max-memory ([\d.]+)GB", refusal)
    assert found is not None, refusal
    return round(float(found[1]) * 1e9)
