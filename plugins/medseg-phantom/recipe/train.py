# ruff: noqa: T201, TID253 - a script: it prints, and needs torch whatever it does
"""Train the network of `phantom-abdomen` on phantoms; may be stopped and resumed at any time.

    python recipe/train.py --run runs/a --cache runs/phantoms --steps 5500 --minutes 40

The run's folder keeps `checkpoint.safetensors` (network, its moving average, optimiser), `state.json` and
`log.csv`. The same command resumes from there; every random choice follows from the seed and the step's
number, so a run that was stopped ends as one that was not, up to the rounding of parallel sums.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Case, load
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from medseg.allocator import keep_freed_memory
from medseg.builtin.network.unet import Unet

CHANNELS, RESIDUAL_UNITS, CLASSES = (16, 32, 64, 128), 2, 10
TUMOUR = 9
LOW_HU, HIGH_HU = -200.0, 300.0
# voxels of 3 mm: wide enough to tell left from right; under 32 voxels, torch 2.13 was seen to give gradients
# in bfloat16 on the CPU that are not numbers
PATCH = (80, 80, 64)
BATCH = 2
RATE, DECAY, WARM_UP, COOL_DOWN = 2e-3, 1e-2, 200, 0.6  # the last share of the steps brings the rate to 0
AVERAGING = 0.998  # of weights, per step: what is measured and shipped is the moving average
START_POOL, GROW_EVERY, POOL = 24, 25, 160  # phantoms at first, steps per new one, phantoms kept
VALIDATION = tuple(range(900_000, 900_006))


def network() -> torch.nn.Module:
    """The network as the model's pipeline file builds it."""
    return Unet(channels=CHANNELS, residual_units=RESIDUAL_UNITS).build(dims=3, inputs=1, outputs=CLASSES)


class Pool:
    """Training phantoms, made in the background ahead of their turn."""

    def __init__(self, cache: Path, workers: int) -> None:
        self.cache = cache
        self._makers = ProcessPoolExecutor(workers)
        self._coming: dict[int, Future[Case]] = {}
        self._kept: OrderedDict[int, Case] = OrderedDict()

    def at(self, step: int) -> range:
        """Seeds of the phantoms that may be drawn at that step; the oldest are let go."""
        newest = START_POOL + step // GROW_EVERY
        for seed in range(max(0, newest - POOL), newest + 4):
            if seed not in self._kept and seed not in self._coming:
                self._coming[seed] = self._makers.submit(load, seed, self.cache)
        for seed in [seed for seed in self._kept if seed < newest - POOL]:
            del self._kept[seed]
        return range(max(0, newest - POOL), newest)

    def __getitem__(self, seed: int) -> Case:
        """The phantom of that seed."""
        if seed not in self._kept:
            self._kept[seed] = self._coming.pop(seed).result()
        return self._kept[seed]

    def close(self) -> None:
        """Stop making phantoms."""
        self._makers.shutdown(cancel_futures=True)


def patch(case: Case, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """An augmented patch, [1, i, j, k]: about a tumour, about any label, or anywhere, by equal chances."""
    shape = np.array(case.labels.shape)
    wanted = int(rng.integers(3))
    label = TUMOUR if wanted == 0 else int(rng.integers(1, CLASSES))
    centre = rng.integers(0, shape)
    if wanted < 2:
        found = np.flatnonzero(case.labels == label)
        if len(found):
            centre = np.array(np.unravel_index(found[rng.integers(len(found))], case.labels.shape))
    start = centre - rng.integers(0, PATCH)
    start = np.clip(start, 0, np.maximum(shape - PATCH, 0))
    part = tuple(slice(a, a + n) for a, n in zip(start, PATCH, strict=True))
    image, labels = case.image[part].astype(np.float32), case.labels[part].astype(np.int64)
    image = _augmented(image, rng)
    short = [n - m for n, m in zip(PATCH, image.shape, strict=True)]
    before = [int(rng.integers(n + 1)) for n in short]
    margins = [(b, n - b) for b, n in zip(before, short, strict=True)]
    image = np.clip((image - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1)
    return np.pad(image, margins)[None], np.pad(labels, margins)[None]


def _augmented(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """More noise, another calibration, now and then a blur; never mirrored, as left is not right."""
    from scipy import ndimage

    if rng.random() < 0.2:
        image = ndimage.gaussian_filter(image, rng.uniform(0, 0.6, 3))
    if rng.random() < 0.5:
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + grain * np.float32(rng.uniform(0, 20))
    return np.asarray(image * np.float32(rng.uniform(0.96, 1.04)) + np.float32(rng.uniform(-8, 8)))


def rate(step: int, steps: int) -> float:
    """The learning rate: up, level, and down to 0 along a cosine."""
    if step < WARM_UP:
        return RATE * (step + 1) / WARM_UP
    left = (steps - step) / (COOL_DOWN * steps)
    return RATE if left >= 1 else RATE * 0.5 * (1 - float(np.cos(np.pi * max(0.0, left))))


def dice(found: NDArray[Any], truth: NDArray[Any]) -> list[float]:
    """Dice of labels 1 to 9; NaN for one that is in neither."""
    scores = []
    for value in range(1, CLASSES):
        a, b = found == value, truth == value
        size = int(a.sum() + b.sum())
        scores.append(2 * int((a & b).sum()) / size if size else float("nan"))
    return scores


def validate(net: torch.nn.Module, cache: Path) -> list[float]:
    """Mean Dice of each label at 3 mm on phantoms that were never trained on."""
    scores = []
    net.eval()
    for seed in VALIDATION:
        case = load(seed, cache)
        image = np.clip((case.image.astype(np.float32) - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = sliding_window_inference(
                torch.from_numpy(image)[None, None], PATCH, 1, net, overlap=0.25, mode="gaussian"
            )
        assert isinstance(logits, torch.Tensor)
        scores.append(dice(logits[0].argmax(0).numpy(), case.labels))
    net.train()
    return [float(score) for score in np.nanmean(np.array(scores), axis=0)]


class Run:
    """Network, moving average and optimiser, with their folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        self.folder, self.seed, self.step = folder, seed, 0
        self.net, self.average = network(), network()
        self.average.load_state_dict(self.net.state_dict())
        for module in (self.net, self.average):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.net.parameters(), weight_decay=DECAY)
        self.loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
        if (folder / "state.json").exists():
            self._resume()

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, rate: float) -> float:
        """One step of the optimiser; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.net(images)
        loss = self.loss(logits.float(), labels)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 12.0)
        self.optimiser.step()
        self.step += 1
        keep = min(AVERAGING, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        return float(loss.detach())

    def save(self) -> None:
        """Write the checkpoint, then the state that says it is whole."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        whole = {name: value.contiguous() for name, value in tensors.items()}
        partial = self.folder / "checkpoint.part"
        save_file(whole, partial, {"step": str(self.step)})
        partial.rename(self.folder / "checkpoint.safetensors")
        state = json.dumps({"step": self.step, "seed": self.seed})
        (self.folder / "state.json").write_text(state, encoding="utf-8")
        half = {name: value.contiguous().half() for name, value in self.average.state_dict().items()}
        save_file(half, self.folder / "weights.safetensors")

    def _resume(self) -> None:
        state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        self.step, self.seed = int(state["step"]), int(state["seed"])
        tensors = load_file(self.folder / "checkpoint.safetensors")

        def under(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.net.load_state_dict(under("net."))
        self.average.load_state_dict(under("average."))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in under("optimiser.").items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})


def batches(pool: Pool, seed: int, step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batch of each step from `step` on; each follows from the seed and the step's number."""
    while True:
        rng = np.random.default_rng([seed, step])
        seeds = pool.at(step)
        pairs = [patch(pool[seeds[int(rng.integers(len(seeds)))]], rng) for _ in range(BATCH)]
        images = torch.from_numpy(np.stack([image for image, _ in pairs]))
        yield (
            images.to(memory_format=torch.channels_last_3d),
            torch.from_numpy(np.stack([labels for _, labels in pairs])),
        )
        step += 1


def main() -> None:
    """Train until the steps or the minutes are over, saving and measuring every few hundred steps."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    given.cache.mkdir(parents=True, exist_ok=True)
    pool = Pool(given.cache, given.workers)
    run = Run(given.run, given.seed)
    end = time.monotonic() + 60 * given.minutes
    losses: list[float] = []
    for images, labels in batches(pool, run.seed, run.step):
        losses.append(run.train_step(images, labels, rate(run.step, given.steps)))
        over = run.step >= given.steps or time.monotonic() > end
        if over or run.step % given.every == 0:
            run.save()
            _report(run, float(np.mean(losses)), validate(run.average, given.cache))
            losses.clear()
        if over:
            break
    pool.close()


def _report(run: Run, loss: float, scores: list[float]) -> None:
    row = [time.strftime("%H:%M:%S"), str(run.step), f"{loss:.4f}", *(f"{score:.4f}" for score in scores)]
    print(*row, flush=True)
    with (run.folder / "log.csv").open("a", newline="", encoding="utf-8") as log:
        csv.writer(log).writerow(row)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--cache", type=Path, default=Path("phantom-cache"), help="folder of phantoms")
    parser.add_argument("--steps", type=int, default=5500, help="steps in all, over all sessions")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long")
    parser.add_argument("--every", type=int, default=400, help="steps between measurements")
    parser.add_argument("--threads", type=int, default=2, help="threads of the network")
    parser.add_argument("--workers", type=int, default=1, help="processes that make phantoms")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
