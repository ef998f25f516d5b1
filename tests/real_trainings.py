"""Real images of two kinds as datasets to train on, and what is reached on them without learning."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253 - a test module
import numpy as np
import trainings
from datasets import nifti, picture, table
from numpy.typing import NDArray
from PIL import Image  # noqa: TID253

nibabel: Any = untyped_nibabel
Array = NDArray[Any]
TILES = 3  # along each side of the micrograph
PIECES = 3  # along the spine of each image
THRESHOLDS = 32


@dataclass(frozen=True)
class RealSet:
    """A small dataset: what makes it, in a folder, of the folder of real images."""

    name: str
    made: Callable[[Path, Path], Path]


def axons(real: Path, folder: Path) -> Path:
    """An electron micrograph of a nerve cut into tiles: axons and their myelin, 2-D, without a scale."""
    source = real / "em_axon_sem"
    found = {
        "image": next(source.glob("*SEM.png")),
        "label:axon": next(source.glob("*axon-manual.png")),
        "label:myelin": next(source.glob("*myelin-manual.png")),
    }
    rows = []
    arrays = {name: np.asarray(Image.open(path).convert("L")).T for name, path in found.items()}
    side = min(arrays["image"].shape) // TILES
    for number in range(TILES**2):
        i, j = (side * part for part in divmod(number, TILES))
        names = []
        for name, array in arrays.items():
            tile = array[i : i + side, j : j + side]
            values = tile if name == "image" else ((tile > 128) * 255).astype(np.uint8)
            names.append(f"{name.rpartition(':')[2]}{number}.png")
            picture(folder / names[-1], values)
        rows.append(f"tile{number},subject{number},{','.join(names)}")
    return table(folder / "cases.csv", f"case,subject,{','.join(found)}", *rows)


def cords(real: Path, folder: Path) -> Path:
    """Spinal cords, T1 and T2, cut into pieces along the spine: a thin structure, 3-D."""
    for contrast in ("t1", "t2"):
        image, mask = (
            nibabel.as_closest_canonical(
                nibabel.load(real / "mr_spinalcord_sct" / f"{contrast}{part}.nii.gz")
            )
            for part in ("", "_seg")
        )
        height = image.shape[2] // PIECES
        for piece in range(PIECES):
            part = slice(piece * height, (piece + 1) * height)
            name = f"{contrast}-{piece}.nii.gz"
            affine = image.affine @ np.block(
                [[np.eye(3), np.array([[0], [0], [piece * height]])], [0, 0, 0, 1]]
            )
            nifti(folder / "images" / name, np.asarray(image.dataobj)[..., part].astype(np.float32), affine)
            nifti(
                folder / "labels" / name, (np.asarray(mask.dataobj)[..., part] > 0).astype(np.uint8), affine
            )
    return table(folder / "dataset.yaml", "labels: [cord]").parent


SETS = (
    RealSet("axons", axons),
    RealSet("cords", cords),
)


def dice(found: Array, truth: Array) -> float:
    """Dice of two masks."""
    return float(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))


def everywhere(image: Array, truth: Array) -> float:
    """The Dice of calling all of the image the label."""
    return dice(np.ones(image.shape, bool), truth)


def by_brightness(image: Array, truth: Array) -> float:
    """The best Dice of any range of brightness, chosen by looking at the truth.

    No predictor by brightness alone does better on this image.
    """
    cuts = np.quantile(image, np.linspace(0, 1, THRESHOLDS))
    cuts[0], cuts[-1] = -np.inf, np.inf
    return max(
        dice((image >= low) & (image <= high), truth) for low in cuts[:-1] for high in cuts[1:] if low < high
    )


def _pairs(data: Path) -> Mapping[str, tuple[Array, Mapping[str, Array]]]:
    """Image and masks of each case, as they were written."""
    if data.suffix == ".csv":
        with data.open(newline="") as file:
            return {
                row["case"]: (
                    np.asarray(Image.open(data.parent / row["image"])),
                    {
                        name[6:]: np.asarray(Image.open(data.parent / path)) > 0
                        for name, path in row.items()
                        if name.startswith("label:")
                    },
                )
                for row in csv.DictReader(file)
            }
    return {
        path.name.removesuffix(".nii.gz"): (
            np.asarray(nibabel.load(path).dataobj),
            {"cord": np.asarray(nibabel.load(data / "labels" / path.name).dataobj) > 0},
        )
        for path in sorted((data / "images").iterdir())
    }


def require_beaten(
    real: RealSet,
    run: Path,
    data: Path,
    figures: list[str],
    *,
    floor: Callable[[Array, Array], float],
    margin: float,
) -> None:
    """Held-out cases are segmented better, by a margin, than by what needs no learning."""
    cases = json.loads((run / "fold0" / "validation.json").read_text())
    assert cases
    pairs = _pairs(data)
    reached: dict[str, list[float]] = {}
    floors: dict[str, list[float]] = {}
    for case in cases:
        image, masks = pairs[case["case"]]
        for row in case["rows"]:
            if row["quantity"] == "dice" and row["label"] in masks:
                reached.setdefault(row["label"], []).append(row["value"])
                floors.setdefault(row["label"], []).append(floor(image, masks[row["label"]]))
    steps = trainings.rows(run)[-1]["step"]
    for label, values in reached.items():
        mean, needs = float(np.mean(values)), float(np.mean(floors[label]))
        told = f"{real.name}, {len(cases)} held out, {steps} steps: {label} Dice {mean:.3f}"
        figures.append(f"{told}; {floor.__name__.replace('_', ' ')} {needs:.3f}")
        assert mean > needs + margin
