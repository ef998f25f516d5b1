"""Phantoms to train and to measure on: random patients in random scanners."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.preprocess.reorient import Reorient
from medseg.builtin.preprocess.resample import Resample
from medseg.testing.abdomen import Phantom, abdomen, scan_grid
from medseg.volume import Grid, Volume

__all__ = ["SPACING_MM", "Case", "prepared", "scanned", "training_case"]

SPACING_MM = 3.0
CODES = tuple(x + y + z for x in "RL" for y in "AP" for z in "SI")  # each axis either way
FINEST_TO_TRAIN_MM = 1.6  # finer scans look like smooth coarse ones at 3 mm, and take long to paint


@dataclass(frozen=True)
class Case:
    """An image in HU and its labels, both [i, j, k] at 3 mm in RAS."""

    image: NDArray[np.int16]
    labels: NDArray[np.uint8]


def scanned(seed: int, *, finest_mm: float = 1.0) -> Phantom:
    """One phantom in a random scanner.

    In-plane spacing and slice thickness from `finest_mm` to 5 mm, noise of 5 to 25 HU, a field of view of
    300 to 420 mm by 150 to 300 mm, any order and direction of the axes, and a tilt of up to 8 degrees.
    """
    rng = np.random.default_rng([seed, 3])
    return abdomen(seed, grid=_scanner(rng, finest_mm), noise_hu=float(rng.uniform(5, 25)))


def prepared(volume: Volume) -> Volume:
    """The image as the model's pipeline shows it to the network, before the intensity window."""
    return Resample(spacing=SPACING_MM, antialias=True)(Reorient(to="RAS")(volume))


def training_case(seed: int) -> Case:
    """A training phantom: its labels are painted at 3 mm, not resampled; two in five are scanned so too."""
    rng = np.random.default_rng([seed, 4])
    if rng.random() < 0.4:
        grid = _scanner(rng, SPACING_MM, SPACING_MM).reoriented("RAS")
        phantom = abdomen(seed, grid=grid, noise_hu=float(rng.uniform(2, 20)))
        return Case(phantom.volume.array[0].copy(), phantom.truth.array[0].copy())
    image = prepared(scanned(seed, finest_mm=FINEST_TO_TRAIN_MM).volume)
    truth = abdomen(seed, grid=image.grid, noise_hu=0.0).truth
    return Case(np.rint(image.array[0]).astype(np.int16), truth.array[0].copy())


def _scanner(rng: np.random.Generator, finest_mm: float, coarsest_mm: float = 5.0) -> Grid:
    inplane, thick = (math.exp(rng.uniform(math.log(finest_mm), math.log(coarsest_mm))) for _ in range(2))
    width, length = float(rng.uniform(300, 420)), float(rng.uniform(150, 300))
    codes = CODES[int(rng.integers(len(CODES)))]
    codes = "".join(np.array(list(codes))[rng.permutation(3)])
    tilt = tuple(float(angle) for angle in rng.uniform(-8, 8, 3))
    aside: Any = rng.uniform(-1, 1, 3) * (10, 10, 45)
    return scan_grid(
        spacing=(inplane, inplane, thick),
        extent_mm=(width, width, length),
        codes=codes,
        tilt_deg=(tilt[0], tilt[1], tilt[2]),
        centre=(float(aside[0]), float(aside[1] - 20), float(aside[2] + 15)),
    )
