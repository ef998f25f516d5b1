# ruff: noqa: T201, TID253 - a script: it prints, and writes NIfTI as any dataset has it
"""Paint phantoms as a dataset that `medseg train` takes: images/, labels/ and dataset.yaml.

    python recipe/dataset.py phantoms --phantoms 160
    medseg train phantoms -o runs/a --pipeline recipe/plan.yaml --time-budget 90m

What is there already is kept, so that more phantoms can be added. They count their seeds up from 0;
`evaluate.py` and the sample data have seeds far from these.
"""

from __future__ import annotations

import argparse
import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import nibabel as nib
import numpy as np
from cases import SPACING_MM, training_case

DESCRIPTION = Path(__file__).with_name("dataset.yaml")


def paint(seed: int, folder: Path) -> None:
    """Write the training phantom of that seed: image in HU and labels, at 3 mm in RAS."""
    image, labels = (folder / part / f"phantom-{seed:04d}.nii.gz" for part in ("images", "labels"))
    if image.exists() and labels.exists():
        return
    case = training_case(seed)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    for path, array in ((labels, case.labels), (image, case.image)):
        partial = path.with_name("." + path.name)
        nib.save(nib.Nifti1Image(array, affine), partial)
        partial.rename(path)


def main() -> None:
    """Paint them, several at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--phantoms", type=int, default=160)
    parser.add_argument("--jobs", type=int, default=2, help="phantoms at a time, one thread each")
    given = parser.parse_args()
    for part in ("images", "labels"):
        (given.folder / part).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(given.jobs) as workers:
        for seed, _ in enumerate(workers.map(paint, range(given.phantoms), repeat(given.folder))):
            print(f"\r{seed + 1}/{given.phantoms}", end="", flush=True)
    print()
    shutil.copyfile(DESCRIPTION, given.folder / DESCRIPTION.name)


if __name__ == "__main__":
    main()
