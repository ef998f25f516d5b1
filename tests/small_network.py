"""A U-Net so small that it runs in no time, its weights in a file, and the segmenter that has them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from safetensors.torch import save_file

from medseg import Grid, Label, LabelTable, Prediction, Resources, Volume, Wanted
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.network import NetworkSegmenter

__all__ = [
    "GRID",
    "LABELS",
    "ONE_THREAD",
    "SMALL",
    "logits",
    "module",
    "noise",
    "predicted",
    "saved",
    "segmenter",
]

LABELS = LabelTable((Label(1, "liver"), Label(2, "spleen")))
SMALL = Unet(channels=(4, 8))
ONE_THREAD = Resources(threads=1)  # small networks wait for each other
GRID = Grid((21, 18, 15), np.diag([1.0, 1.0, 2.0, 1.0]))


def saved(folder: Path, name: str = "w.safetensors", *, seed: int = 0, half: bool = False, **how: Any) -> Any:
    """Random weights of SMALL as `weights:` names them."""
    how = {"dims": 3, "inputs": 1, "outputs": 3, **how}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = SMALL.build(**how).state_dict()
    save_file({key: value.half() if half else value for key, value in state.items()}, folder / name)
    return {"path": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}


def module(folder: Path, name: str = "w.safetensors", **how: Any) -> torch.nn.Module:
    """What was saved, without medseg."""
    from safetensors.torch import load_file

    net = SMALL.build(**{"dims": 3, "inputs": 1, "outputs": 3, **how})
    net.load_state_dict({key: value.float() for key, value in load_file(folder / name).items()})
    return net.eval()


def segmenter(weights: Sequence[Any], **parameters: Any) -> NetworkSegmenter:
    full = {
        "architecture": SMALL,
        "head": Softmax(),
        "weights": list(weights),
        "window": {"patch": [8, 8, 8]},
        **parameters,
    }
    return NetworkSegmenter.model_validate(full)


def predicted(
    network: NetworkSegmenter,
    folder: Path,
    volume: Volume,
    *,
    labels: LabelTable = LABELS,
    onto: Grid | None = None,
    resources: Resources | None = None,
) -> Prediction:
    with network.bound(labels=labels, folder=folder).open(resources or ONE_THREAD) as predictor:
        return predictor(volume, onto=onto or volume.grid, wanted=Wanted())


def noise(grid: Grid = GRID, channels: int = 1, seed: int = 3) -> Volume:
    array = np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)
    return Volume(array, grid, tuple(f"c{n}" for n in range(channels)))


def logits(net: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(net(torch.from_numpy(np.array(image))[None])[0].numpy())
