# ruff: noqa: T201 - a script: it prints
"""Measure `phantom-abdomen`, or any model with its labels, on phantoms it was not trained on.

    python recipe/evaluate.py --model medseg_phantom/models/phantom-abdomen --phantoms 64

Prints Dice and volume error of each label. A label counts where enough of it is in the field of view;
phantoms without a tumour in view have no tumour Dice, and what was found in them is told apart.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from cases import scanned

import medseg
from medseg.segmentation import Segmentation
from medseg.testing.abdomen import ORGANS, Phantom

FIRST_SEED = 800_000  # far from those of training and validation
LEAST_ML = 5.0  # an organ of which the field of view holds less is not counted
LEAST_TUMOUR_ML = 0.1
TUMOUR = "liver tumour"


@dataclass(frozen=True)
class Score:
    """How well one label of one phantom was found; sizes in mL, `true_ml` from fractions of voxels."""

    dice: float
    found_ml: float
    true_ml: float

    @property
    def volume_error(self) -> float:
        """Share by which the volume found differs from the true one."""
        return abs(self.found_ml - self.true_ml) / self.true_ml


def scores(phantom: Phantom, found: Segmentation) -> dict[str, Score]:
    """The score of each label of which something is in view or was found."""
    result = {}
    for label in ORGANS:
        a, b = found.mask(label.name), phantom.truth.mask(label.name)
        voxels = int(a.sum() + b.sum())
        if voxels:
            overlap = 2 * int((a & b).sum()) / voxels
            found_ml = float(a.sum()) * found.grid.voxel_ml
            result[label.name] = Score(overlap, found_ml, phantom.volumes_ml[label.name])
    return result


def table(measured: list[dict[str, Score]]) -> str:
    """One line a label."""
    lines = ["label           n   Dice mean  median  lowest   volume error median  90th percentile"]
    for label in ORGANS:
        least = LEAST_TUMOUR_ML if label.name == TUMOUR else LEAST_ML
        counted = [m[label.name] for m in measured if label.name in m and m[label.name].true_ml >= least]
        if not counted:
            continue
        overlap = np.array([score.dice for score in counted])
        error = np.array([score.volume_error for score in counted])
        lines.append(
            f"{label.name:14} {len(counted):2}   {overlap.mean():9.3f}  {np.median(overlap):6.3f}"
            f"  {overlap.min():6.3f}   {np.median(error):19.1%}  {np.percentile(error, 90):15.1%}"
        )
    without = [m.get(TUMOUR) for m in measured if TUMOUR not in m or m[TUMOUR].true_ml < LEAST_TUMOUR_ML]
    false = [score.found_ml for score in without if score is not None and score.found_ml > 0]
    lines.append(
        f"{len(without)} phantoms without a tumour in view: tumour found in {len(false)}"
        f" (at most {max(false, default=0.0):.2f} mL)"
    )
    return "\n".join(lines)


def measured(seed: int, model: Path) -> dict[str, Score]:
    """Scan, segment and score one phantom; says on stderr how it went."""
    phantom = scanned(seed)
    result = medseg.segment(phantom.volume, model=model, resources=medseg.Resources(threads=1))
    found = scores(phantom, result.segmentation)
    spacing = " x ".join(f"{step:.1f}" for step in phantom.volume.grid.spacing)
    row = " ".join(f"{name}={score.dice:.3f}" for name, score in found.items())
    print(f"{seed} {phantom.phase} {spacing} mm: {row}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure the phantoms, several at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--phantoms", type=int, default=64)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--jobs", type=int, default=2, help="phantoms at a time, one thread each")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.phantoms)
    with ProcessPoolExecutor(given.jobs) as workers:
        print(table(list(workers.map(measured, seeds, repeat(given.model)))))


if __name__ == "__main__":
    main()
