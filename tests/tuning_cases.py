"""Cases whose best parameter is known: a box, a small true part or a false one, and a speck."""

from pathlib import Path

import numpy as np
from datasets import Array, nifti, table

BOX, PART, SPECK = 216, 27, 8  # voxels of 1 uL
OWN, SMALL, LARGE = 0.001, 0.01, 0.1  # mL: removes nothing; the speck; the part too


def truth(*, part: bool) -> Array:
    """A box, and a part of its own."""
    array = np.zeros((20, 12, 12), np.uint8)
    array[2:8, 2:8, 2:8] = 1
    array[11:14, 3:6, 3:6] = part
    return array


def found(*, speck: bool) -> Array:
    """What a threshold finds: box and part, true or not, and a speck."""
    array = truth(part=True)
    array[17:19, 8:10, 8:10] = speck
    return array


def case(folder: Path, name: str, *, part: bool = True, speck: bool = True, ignored: bool = False) -> None:
    """A case; in one of its corners nobody knows what is right."""
    mask, image = truth(part=part), found(speck=speck)
    if ignored:
        mask[:, :, 11] = 9
        image[:, :, 11] = 1
    nifti(folder / "images" / f"{name}.nii.gz", image.astype(np.float32), np.eye(4))
    nifti(folder / "labels" / f"{name}.nii.gz", mask, np.eye(4))


def dataset(folder: Path, *, labels: str = "{1: lesion}") -> Path:
    """What the masks mean."""
    table(folder / "dataset.yaml", "name: lesions", f"labels: {labels}", "ignore: 9")
    return folder


def pipeline(path: Path, *steps: str, labels: str = "{1: {name: lesion}}") -> Path:
    """A threshold and steps."""
    return table(
        path,
        "# by hand",
        f"labels: {labels}",
        "segment: {threshold: {above: 0.5}}",
        "postprocess:",
        *(f"- {step}" for step in steps or ("fill-holes", f"remove-small: {{below_ml: {OWN}}}")),
    )


def dice(extra: int, missed: int = 0, right: int = BOX + PART) -> float:
    """Of so many voxels too many, and too few."""
    return 2 * (right - missed) / (2 * (right - missed) + extra + missed)
