"""Time medseg's resampling and morphology against the usual libraries, in one run, on one image.

    python tests/benchmarks/bench_steps.py

Prints the best wall time of three rounds, interleaved, and the ratio to the named peer; nothing is asserted.
The figures of a busy machine mean little, their ratios more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage  # noqa: TID253 - a benchmark
from skimage.transform import resize  # noqa: TID253 - a benchmark

from medseg import Grid, Label, LabelTable, Segmentation, Volume
from medseg.builtin.postprocess.keep_largest import KeepLargest
from medseg.builtin.postprocess.opening import Opening
from medseg.builtin.preprocess.resample import Resample

ROUNDS = 3
GRID = Grid((192, 192, 128), np.diag([1.0, 1.0, 1.5, 1.0]))


def blobs() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Smooth noise, in [-1, 1]: many parts of many sizes above 0."""
    noise = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, 4)
    return np.asarray(smooth / np.abs(smooth).max(), np.float32)


def compare(title: str, ours: Callable[[], object], peer: str, theirs: Callable[[], object]) -> None:
    """Print both times and their ratio."""
    best = {"ours": float("inf"), "theirs": float("inf")}
    for _ in range(ROUNDS):
        for name, call in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    ratio = best["ours"] / best["theirs"]
    ours_s, theirs_s = f"{best['ours']:7.3f} s", f"{best['theirs']:7.3f} s"
    print(f"{title:<24} {ours_s}   {peer:<34} {theirs_s}   ratio {ratio:.2f}")  # noqa: T201


def main() -> None:
    """Run every comparison."""
    image = blobs()
    volume = Volume(image[None], GRID)
    labels = Segmentation.from_masks({"a": image > 0.1}, GRID, LabelTable((Label(1, "a"),)))
    mask, volume_image = labels.mask("a"), volume
    print(f"{GRID!r}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    step = Resample(spacing=0.8)
    finer = step(volume).grid.shape
    compare(
        "resample, linear",
        lambda: step(volume_image),
        "scikit-image resize, order 1",
        lambda: resize(image, finer, order=1, anti_aliasing=False),
    )
    compare(
        "keep-largest", lambda: KeepLargest()(labels, volume), "scipy label + bincount", lambda: largest(mask)
    )
    compare(
        "open, 3 mm",
        lambda: Opening(radius_mm=3)(labels, volume),
        "scipy exact distance transform",
        lambda: opened(mask, 3.0),
    )


def largest(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> object:
    """The largest part, by scipy."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def opened(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], radius: float) -> object:
    """An exact Euclidean opening, by scipy."""
    eroded = ndimage.distance_transform_edt(mask, sampling=GRID.spacing) > radius
    return ndimage.distance_transform_edt(~eroded, sampling=GRID.spacing) <= radius


if __name__ == "__main__":
    main()
