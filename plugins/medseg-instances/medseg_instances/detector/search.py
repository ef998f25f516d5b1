"""A detector slid over an image: each window is searched by itself, what all of them find is put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.inference import Windows
from medseg.inference.windows import Place
from medseg.memory import release_freed_memory
from medseg.prediction import silent
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid, Volume
from medseg_instances.detector.findings import (
    FINDING_BYTES,
    Finding,
    Findings,
    in_voxels,
    painted,
    wrong_by,
)

if TYPE_CHECKING:
    import torch

    from medseg_instances.detector.network import Found
    from medseg_instances.detector.segmenter import Detector

__all__ = ["ID_BYTES", "findings_bytes", "search", "windows_of"]

WRONG_BOX = 0.05  # of a side: a box that is so wrong at each end is still right by 0.81 of it, in a picture
RIM = 4  # voxels: boxes of up to three that a window sees of an object lie a voxel too far within it
ID_BYTES, BITS = 4, 8
# How often the boxes of a window hold each of its voxels, on average: twice, where ellipsoids twice as long
# as thick lie along the diagonal of space and as close as balls can. Their box is sqrt(8) of their thickness
# to the third, 22.6 of half of it; they have 4/3 pi 2 = 8.4, and fill 0.74 of space: 22.6 * 0.74 / 8.4 = 2.0.
CROWD = 2


def windows_of(grid: Grid, how: Detector) -> Windows:
    """Where the windows lie."""
    return Windows(grid.shape, how.patch, how.window.overlap)


def findings_bytes(grid: Grid, how: Detector) -> int:
    """What all that is found takes, before it is a map of ids: masks, as bits, of every window."""
    windows = windows_of(grid, how)
    voxels = math.prod(windows.patch)
    each = voxels * CROWD // BITS + min(how.most, voxels) * FINDING_BYTES
    return max(1, len(how.weights)) * len(windows) * each


def search(
    volume: Volume,
    forwards: Sequence[Callable[[torch.Tensor], list[Found]]],
    *,
    how: Detector,
    labels: LabelTable,
    batch: int = 1,
    progress: Callable[[str, int, int], None] = silent,
) -> Segmentation:
    """What networks find in an image, on its own grid; each is called with windows `[N, C, *patch]`."""
    import torch

    windows = windows_of(volume.grid, how)
    findings = Findings()
    done = 0
    fill = volume.array.min(axis=(1, 2, 3))
    for places in _batches(windows, batch):
        images = torch.from_numpy(_cut(volume.array, places, windows.patch, fill))
        images = images.reshape(images.shape[: 2 + how.dims])
        for forward in forwards:
            for place, found in zip(places, forward(images), strict=True):
                findings.extend(_in_image(found, place, windows))
        done += len(places)
        progress("segment", done, len(windows))
    release_freed_memory()  # of the networks; ids come in its place
    return painted(findings, volume.grid, labels, shared=how.shared)


def _batches(windows: Windows, batch: int) -> Iterator[list[Place]]:
    i, j, k = (slice(0, size) for size in windows.shape)
    places = windows.places((i, j, k))
    while some := list(islice(places, batch)):
        yield some


def _cut(
    image: NDArray[Any], places: Sequence[Place], patch: Place, fill: NDArray[Any]
) -> NDArray[np.float32]:
    """The windows `[N, C, *patch]`; beyond the image is `fill[C]`, the smallest value of each channel."""
    cut = np.empty((len(places), len(image), *patch), np.float32)
    cut[:] = fill.reshape(-1, 1, 1, 1)
    for window, place in zip(cut, places, strict=True):
        low = [max(0, start) for start in place]
        high = [min(n, start + side) for n, start, side in zip(image.shape[1:], place, patch, strict=True)]
        here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, place, strict=True))
        window[(slice(None), *there)] = image[(slice(None), *here)]
    return cut


def _in_image(found: Found, place: Place, windows: Windows) -> Iterator[Finding]:
    """The objects of one window, in the image's voxels."""
    boxes, masks = found.boxes.float().cpu(), found.masks.float().cpu()
    dims = boxes.shape[1] // 2
    rims = [_rims(axis, place[axis], windows) for axis in range(dims)]
    low = [max(0, -start) for start in place]
    high = [
        min(side, size - start) for side, size, start in zip(windows.patch, windows.shape, place, strict=True)
    ]
    for box, mask, label, score in zip(
        boxes, masks, found.labels.tolist(), found.scores.tolist(), strict=True
    ):
        voxels = in_voxels(box, mask, low[:dims], high[:dims])
        if voxels is None:
            continue
        inside, first = voxels
        i, j, k = (a + b for a, b in zip((*first, 0)[:3], place, strict=True))
        yield Finding.of(
            inside.reshape((*inside.shape, 1)[:3]),
            (i, j, k),
            label=label,
            score=float(score),
            cut=_is_cut(box.tolist(), place, windows, rims),
        )


def _is_cut(box: Sequence[float], place: Place, windows: Windows, rims: Sequence[tuple[int, int]]) -> bool:
    """Whether a box reaches a border of its window beyond which the image goes on: boxes are not exact.

    What lies in a rim alone is taken for cut, too: the next window sees more there.
    """
    dims = len(box) // 2
    for axis in range(dims):
        low, high = box[axis], box[dims + axis]
        start, side = place[axis], windows.patch[axis]
        near = wrong_by(high - low, WRONG_BOX)
        before, behind = rims[axis]
        if start > 0 and (low <= near or high <= before):
            return True
        if start + side < windows.shape[axis] and (high >= side - near or low >= side - behind):
            return True
    return False


def _rims(axis: int, start: int, windows: Windows) -> tuple[int, int]:
    """How wide a window's rims are at its beginning and end: at most half of what it shares with the next.

    So no box lies in the rims of both.
    """
    side, starts = windows.patch[axis], windows.starts(axis)
    number = starts.index(start)
    before = starts[number - 1] + side - start if number else 0
    behind = start + side - starts[number + 1] if number + 1 < len(starts) else 0
    return min(RIM, before // 2), min(RIM, behind // 2)
