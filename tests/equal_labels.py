"""Cases in which medseg's labels are held against those of `full_volume`, voxel by voxel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from full_volume import agreed, decided, interpolated, mean_scores
from known_network import Kind, KnownNetwork, image, known_logits
from numpy.typing import NDArray

from medseg import Grid, Label, LabelTable, Resources, Volume, Wanted
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.segment.network import NetworkSegmenter, SlidingWindow, WeightsFile
from medseg.inference.engines import Recipe, open_engine
from medseg.inference.windows import Blend, Windows

__all__ = ["CASES", "Case", "Outcome", "compare"]

Size = tuple[int, int, int]
Logits = Callable[[NDArray[Any]], NDArray[np.float32]]
CLOSE = 16 * float(np.spacing(np.float32(4)))  # logits reach 4: the best two, closer than this, are a tie


@dataclass(frozen=True)
class Case:
    """An image of `shape`, slid over by windows of `patch`, decided on a grid of `onto` voxels in its box."""

    name: str
    shape: Size
    patch: Size
    onto: Size
    classes: int
    codes: str = "RAS"  # of the native grid; the model's is RAS
    beyond: float = 0.0  # voxels by which the native grid stands out of the model's
    overlap: float = 0.5
    blend: Blend = "gaussian"

    @property
    def grid(self) -> Grid:
        """The model's."""
        return Grid(self.shape, np.diag([1.5, 2.0, 2.5, 1.0]))

    @property
    def native(self) -> Grid:
        """The one that labels are decided on."""
        steps = (np.array(self.shape) + 2 * self.beyond) / np.array(self.onto)
        index = np.diag([*steps, 1.0])  # from its voxels to the model's: outer faces meet, or stand out
        index[:3, 3] = steps / 2 - 0.5 - self.beyond
        return Grid(self.onto, self.grid.affine @ index).reoriented(self.codes)


CASES = (
    Case("finer", (40, 36, 32), (16, 16, 16), (52, 47, 42), 5),
    Case("odd sizes, finer", (37, 29, 23), (15, 11, 13), (51, 41, 47), 7),
    Case("coarser", (48, 40, 36), (16, 16, 16), (23, 19, 31), 5),
    Case("finer here, coarser there", (31, 40, 33), (16, 24, 9), (77, 17, 33), 3),
    Case("turned", (25, 33, 41), (16, 16, 16), (40, 50, 30), 4, codes="PIL"),
    Case("smaller than the patch", (20, 9, 33), (16, 16, 16), (31, 21, 50), 5),
    Case("standing out", (30, 26, 28), (12, 12, 12), (60, 55, 41), 6, beyond=3.3, overlap=0.7),
    Case("same grid", (33, 30, 27), (16, 16, 16), (33, 30, 27), 5),
    Case("two classes", (45, 30, 30), (16, 16, 16), (70, 45, 37), 2),
    Case("25 classes, constant weights", (64, 20, 21), (16, 16, 16), (95, 33, 34), 25, blend="constant"),
    Case("105 classes", (36, 24, 25), (16, 16, 16), (47, 35, 33), 105),
)


@dataclass(frozen=True)
class Outcome:
    """Counts of voxels: all, labels unlike the whole-volume method's, and what the comparison can see."""

    voxels: int
    different: int
    wrong: int  # unlike double precision's, though that one's best two scores are no tie
    ties: int  # unlike double precision's where they are
    without_halo: int  # that would differ if a slice between two slabs were forgotten
    by_corners: int  # that would differ if cells whose corners agree were not interpolated
    labels: int  # that occur


def compare(case: Case, kind: Kind, folder: Path, *, engine: str = "torch", device: str = "cpu") -> Outcome:
    """Segment a case through the segmenter `network`, and by the whole volume; `folder` takes the weights."""
    pixels = image(case.shape, case.classes)
    resources = Resources(device=device, engine=engine)
    found, axis = _by_medseg(case, kind, pixels, folder, resources)
    windows = Windows(case.shape, case.patch, case.overlap, case.blend)
    logits: Logits = partial(known_logits, kind, case.classes)
    if engine != "torch":  # others compute whole numbers in their own way: theirs are what counts
        logits = _engines_logits(case, kind, resources)
    mean = mean_scores(pixels, windows, logits, axis)
    scores, inside = interpolated(mean, case.grid, case.native, axis)
    torn, _ = interpolated(mean, case.grid, case.native, axis, torn_at=windows.starts(axis)[1:])
    exact, _ = interpolated(
        mean_scores(pixels, windows, logits, axis, np.float64), case.grid, case.native, axis
    )
    corner, agree = agreed(mean, case.grid, case.native)
    second, first = np.sort(exact, axis=0)[-2:]
    unlike = found != decided(exact, inside)
    close = first - second <= CLOSE
    return Outcome(
        voxels=found.size,
        different=int(np.count_nonzero(found != decided(scores, inside))),
        wrong=int(np.count_nonzero(unlike & ~close)),
        ties=int(np.count_nonzero(unlike & close)),
        without_halo=int(np.count_nonzero(found != decided(torn, inside))),
        by_corners=int(np.count_nonzero(agree & inside & (found != corner))),
        labels=len(np.unique(found)),
    )


def _engines_logits(case: Case, kind: Kind, resources: Resources) -> Logits:
    """The logits of windows, one at a time, as the engine that these resources mean gives them."""
    network = KnownNetwork(kind=kind)
    return open_engine(
        network.build(dims=3, inputs=1, outputs=case.classes),
        recipe=Recipe(__name__, repr(network), case.classes),
        sha256="0" * 64,
        batch=1,
        channels=1,
        patch=case.patch,
        resources=resources,
        precision="fp32",
    )


def _by_medseg(
    case: Case, kind: Kind, pixels: NDArray[np.float32], folder: Path, resources: Resources
) -> tuple[NDArray[Any], int]:
    """Labels `[i, j, k]` on the native grid, and the axis along which slabs came."""
    import torch
    from safetensors.torch import save_file

    weights = folder / "weights.safetensors"
    save_file({"one": torch.ones(1)}, weights)
    file = WeightsFile(path=weights.name, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    segmenter = NetworkSegmenter(
        architecture=KnownNetwork(kind=kind),
        head=Softmax(),
        weights=(file,),
        window=SlidingWindow(patch=case.patch, overlap=case.overlap, blend=case.blend),
    )
    labels = LabelTable(tuple(Label(n, f"label {n}") for n in range(1, case.classes)))
    with segmenter.bound(labels=labels, folder=folder).open(resources) as predictor:
        volume = Volume(pixels[None], case.grid, ("image",))
        prediction = predictor(volume, onto=case.native, wanted=Wanted())
    return prediction.segmentation.array[0], "ijk".index(prediction.used["axis"])
