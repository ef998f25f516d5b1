"""Small trainings: spheres in noise, networks that learn them in seconds, and what a training left behind."""

import csv
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import nifti, table
from numpy.typing import NDArray
from prepared_cases import prepared

# an interrupt is ignored in what a shell runs in its background, and so in what the tests start there
START = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from medseg.cli import main
main()
"""
SIDE = 24
LABELS = ("large", "small")
TIMES = ("seconds", "samples_per_s")  # columns of a log that no two runs have alike
TINY = """\
segment:
  network:
    architecture:
      dynunet:
        {channels: [4, 8, 16], strides: [2, 2], kernels: [3, 3, 3], deep_supervision: 1}
    window: {patch: [24, 24, 24]}
training:
"""
Array = NDArray[Any]


def spheres(seed: int, *, side: int = SIDE) -> tuple[Array, Array]:
    """An image of noise with a brighter sphere and a small darker one in it, and the mask: 1 and 2."""
    rng = np.random.default_rng(seed)
    index = np.indices((side, side, side)).transpose(1, 2, 3, 0)
    mask = np.zeros((side, side, side), np.uint8)
    for value, radius, low, high in ((1, 5.5, 6, 9), (2, 3.5, 15, 19)):
        centre = rng.uniform(low, high, 3)
        mask[np.linalg.norm(index - centre, axis=-1) <= radius] = value
    image = rng.normal(0, 15, mask.shape) + np.choose(mask, [100.0, 200.0, 0.0])
    return image.astype(np.float32), mask


def dataset(folder: Path, *, cases: int = 5, side: int = SIDE, name: str = "case") -> Path:
    """`images/` and `labels/` of spheres: case0, case1, …; labels are called large and small."""
    for number in range(cases):
        image, mask = spheres(number, side=side)
        nifti(folder / "images" / f"{name}{number}.nii.gz", image, np.eye(4))
        nifti(folder / "labels" / f"{name}{number}.nii.gz", mask, np.eye(4))
    return table(folder / "dataset.yaml", "name: spheres", f"labels: [{', '.join(LABELS)}]").parent


def overlay(path: Path, **training: object) -> Path:
    """A pipeline file that lays a tiny network, and these values of `training:`, over the plan."""
    values = {"steps_per_epoch": 4, "batch": 2, "warm_up": 0, **training}
    lines = [f"  {key}: {'null' if value is None else value}\n" for key, value in values.items()]
    path.write_text(TINY + "".join(lines), encoding="utf-8")
    return path


def rows(run: Path, fold: int = 0) -> list[dict[str, str]]:
    """The rows of a fold's log."""
    path = run / f"fold{fold}" / "log.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def steady(found: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows without the columns of times."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in found]


def checkpoints(run: Path, fold: int = 0) -> list[Path]:
    """The checkpoints of a fold, the oldest first."""
    return sorted((run / f"fold{fold}" / "checkpoints").glob("*.ckpt"))


def content(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds but times: values by their path in it."""
    import torch

    found: dict[str, Any] = {}

    def gather(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                if key not in (*TIMES, "elapsed"):
                    gather(part, f"{place}/{key}")
        elif isinstance(value, list | tuple):
            for number, part in enumerate(value):
                gather(part, f"{place}/{number}")
        else:
            found[place] = (
                (value.dtype, value.numpy().tobytes()) if isinstance(value, torch.Tensor) else value
            )

    gather(torch.load(path, map_location="cpu", weights_only=True), "")
    return found


def start(*arguments: object, before: str = "") -> subprocess.Popen[str]:
    """`medseg train` in a process of its own, on one thread, after some lines of Python."""
    return subprocess.Popen(
        [sys.executable, "-c", before + START, "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def made(
    folder: Path, text: str = "", *, cases: int = 4, held: int = 1, epochs: int = 2, seed: int = 0
) -> Any:
    """A course over prepared spheres in `folder`; `text` is YAML laid over a small pipeline file."""
    from medseg.config import PipelineFile
    from medseg.evaluation import metrics_named
    from medseg.plugin.catalog import discover
    from medseg.training.fit import Course, Hardware
    from medseg.training.overlay import laid_over
    from medseg.training.recipe import recipe
    from medseg.training.schedule import Budget

    planned = yaml.safe_load(TINY.rstrip() + " {steps_per_epoch: 4, batch: 2, warm_up: 0}\n")
    planned["segment"]["network"]["head"] = "softmax"
    planned["labels"] = {1: {"name": "large"}, 2: {"name": "small"}}
    content = laid_over(planned, yaml.safe_load(text) or {}, [])
    catalog = discover()
    how, found = recipe(PipelineFile.model_validate(content), catalog), []
    for number in range(cases):
        image, mask = spheres(number)
        ids = mask if how.segment.step.of_objects else None
        place = folder / "cases" / f"case{number}"
        found.append(prepared(place, (image[None] - 100) / 40, mask, values=(1, 2), objects=ids))
    (folder / "fold0").mkdir(exist_ok=True)
    return Course(
        recipe=how,
        cases=found[held:],
        validation=found[:held],
        metric=metrics_named("dice", catalog)[0],
        budget=Budget(epochs, None),
        folder=folder / "fold0",
        seed=seed,
        hardware=Hardware(threads=1),  # more only wait for each other
    )


def killed_again_and_again(
    arguments: Sequence[object], run: Path, *, kills: int, seed: int, damage: float = 0.0
) -> list[int]:
    """Resume a training and kill it, so many times; returns the epochs in the log at each kill.

    Each process is killed after its first or second epoch, up to the length of one epoch later: in a step, in
    a validation, while a checkpoint is written. With a probability of `damage` the newest checkpoint is then
    cut short.
    """
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    found = []
    for _ in range(kills):
        process = start(*arguments, "-o", run, "--resume")
        due = len(rows(run)) + chance.randint(1, 2)
        while process.poll() is None and len(rows(run)) < due:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, float(rows(run)[-1]["seconds"])) if rows(run) else 0)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        found.append(len(rows(run)))
        if chance.random() < damage:
            newest = checkpoints(run)[-1]
            newest.write_bytes(newest.read_bytes()[: chance.randint(0, newest.stat().st_size - 1)])
    return found


def require_same(run: Path, other: Path, *, epochs: int) -> None:
    """Two trainings ended in the same bits: checkpoints but for times, weights, logs."""
    mine, its = (content(checkpoints(each)[-1]) for each in (run, other))
    assert [name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name)] == []
    assert {"/rng", "/standing/step", "/optimizer_states/0/state/0/exp_avg"} <= set(mine)
    assert any(name.startswith("/state_dict/average.") for name in mine)
    logs = [steady(rows(each)) for each in (run, other)]
    assert logs[0] == logs[1]
    assert [row["epoch"] for row in logs[0]] == [str(n + 1) for n in range(epochs)]
    weights = [(each / "fold0" / "weights.safetensors").read_bytes() for each in (run, other)]
    assert weights[0] == weights[1]
