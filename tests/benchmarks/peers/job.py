"""What one run is to do, handed to a fresh process as JSON and answered as JSON. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["ON_PATH", "PYTHON", "ROOT", "Job", "answer", "asked", "run"]

ROOT = Path(__file__).resolve().parents[3]
PYTHON = {"medseg": ROOT / ".venv/bin/python", "peers": ROOT / ".venv-peers/bin/python"}
ON_PATH = {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "tests"), os.environ.get("PYTHONPATH"))))}
NO_FOLDERS = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), os.devnull)
THEIRS = ("nnunet", "monai")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Slide a network over an image of `shape` voxels and decide labels on a grid of `onto` voxels.

    Both grids fill the same box. `weights` is a file of random weights; labels go to `labels` (.npy) if that
    is given. Engine, memory and threads are medseg's own; None is its default.
    """

    net: str
    classes: int  # the background among them
    shape: tuple[int, int, int]
    onto: tuple[int, int, int]
    patch: tuple[int, int, int]
    weights: str
    labels: str = ""
    repeats: int = 1
    engine: str | None = None
    precision: str | None = None
    max_memory_bytes: int | None = None
    threads: int | None = None
    device: str = "cpu"

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels of the image, where those of `onto` are 1 mm apart."""
        i, j, k = (n / m for n, m in zip(self.onto, self.shape, strict=True))
        return i, j, k

    def image(self) -> Any:
        """The image `[i, j, k]`, float32: noise, which is as much work as anything else."""
        import numpy as np

        return np.random.default_rng(0).standard_normal(self.shape, np.float32)

    def save_weights(self) -> None:
        """Write the file of weights; by another process, as this one may have no PyTorch."""
        command = [
            str(PYTHON["medseg"]),
            "-m",
            "benchmarks.peers.nets",
            self.net,
            str(self.classes),
            self.weights,
        ]
        subprocess.run(command, env={**os.environ, **ON_PATH}, cwd=ROOT, check=True)


def asked() -> Job:
    """The job this process was started for."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    for key, value in given.items():
        if isinstance(value, list):
            given[key] = tuple(value)
    return Job(**given)


def answer(found: dict[str, Any]) -> None:
    """Tell the process that asked; libraries may have printed before."""
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def run(method: str, job: Job, *, limit_s: float = 3600) -> dict[str, Any]:
    """Do a job by one method in a fresh process; raises RuntimeError with the end of what it said."""
    python = PYTHON["peers" if method in THEIRS else "medseg"]
    # nnU-Net warns where its folders are not named; nothing is read or written there
    environment = {**os.environ, **ON_PATH, **NO_FOLDERS, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(  # a child's address space is its own: nothing of an earlier run is left in it
        [str(python), "-m", f"benchmarks.peers.on_{method}", json.dumps(asdict(job))],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{method} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"method": method, **found}
