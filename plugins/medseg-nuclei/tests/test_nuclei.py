"""The shipped files work: on drawn nuclei, and on pictures that the model was trained on.

It has seen all pictures of its data set, so that the scores on them here say nothing about its accuracy: that
is on its card.
"""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # noqa: TID253

import medseg
from medseg.evaluation import evaluate, metrics_named
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Volume

TORCH = medseg.Resources(engine="torch", threads=1)  # a graph takes longer to make than this to run
SIZE = 192
RADIUS = 12.0
CENTRES = ((50, 50), (50, 73), (130, 60), (90, 140), (112, 140), (101, 159), (160, 150))  # some touch
PER_KIND = 1


def segment(volume: Volume) -> Segmentation:
    return medseg.segment(volume, model="nuclei", resources=TORCH).segmentation


def drawn() -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Ids `[x, y]` of discs of a radius of 12 pixels, some of which touch, and their picture, from 0 to 1."""
    x, y = np.mgrid[:SIZE, :SIZE]
    ids = np.zeros((SIZE, SIZE), np.uint16)
    for number, (at_x, at_y) in enumerate(CENTRES, start=1):
        ids[(x - at_x) ** 2 + (y - at_y) ** 2 < (RADIUS - 0.5) ** 2] = number
    rng = np.random.default_rng(0)
    light = gaussian_filter((ids > 0) * (0.8 + 0.1 * rng.random((SIZE, SIZE))), 1.0)
    return ids, (0.05 + light + 0.01 * rng.standard_normal((SIZE, SIZE))).astype(np.float32)


def picture(values: NDArray[np.float32]) -> Volume:
    """A picture in grey, [1, x, y, 1]."""
    return Volume(values[None, ..., None], Grid((*values.shape, 1), np.eye(4), "px"), ("picture",))


def reference(ids: NDArray[np.unsignedinteger], like: Segmentation) -> Segmentation:
    """A mask of ids `[x, y]` as objects that are nuclei."""
    table = LabelTable((Label(1, "nucleus"),))
    things = tuple(Object(int(number), "nucleus") for number in np.unique(ids) if number)
    return Segmentation(ids[None, ..., None].astype(np.uint32), like.grid, table, ("objects",), things)


def precision(found: Segmentation, ids: NDArray[np.unsignedinteger]) -> float:
    """AP at an IoU of 0.5, as TP / (TP + FP + FN)."""
    rows = evaluate(found, reference(ids, found), metrics_named("average-precision"))
    (value,) = [row.value for row in rows if row.quantity == "ap@0.50" and row.label == "nucleus"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("bright", [True, False])
def test_every_drawn_nucleus_is_one_object(bright: bool) -> None:
    ids, values = drawn()
    found = segment(picture(values if bright else 1 - values))
    assert precision(found, ids) == 1.0


def test_an_empty_picture_has_no_objects() -> None:
    values = 0.2 + 0.01 * np.random.default_rng(1).standard_normal((SIZE, SIZE))
    assert len(segment(picture(values.astype(np.float32))).objects) <= 1  # noise may hold a speck


def test_the_unit_of_intensity_does_not_matter() -> None:
    _, values = drawn()
    once, scaled = segment(picture(values)), segment(picture(values * 200 + 7))
    assert (once.array != scaled.array).mean() < 1e-3


@cache
def kinds(folder: Path) -> dict[str, list[str]]:
    """The names of the pictures by kind: grey or colour, and height."""
    found: dict[str, list[str]] = {}
    with (folder / "nuclei_dsb2018" / "index.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(f"{row['mode']} {row['height']}", []).append(row["id"])
    return found


def test_pictures_it_was_trained_on(real_data: Path, figures: list[str]) -> None:
    """Small ones, of every kind."""
    scores: dict[str, float] = {}
    for kind in ("L 256", "L 360", "RGB 256"):
        values = []
        for name in sorted(kinds(real_data)[kind])[:PER_KIND]:
            found = segment(medseg.read(real_data / "nuclei_dsb2018" / "images" / f"{name}.png"))
            mask = medseg.read(real_data / "nuclei_dsb2018" / "labels" / f"{name}.png").array[0, ..., 0]
            values.append(precision(found, np.asarray(mask).astype(np.uint32)))
        scores[kind] = float(np.mean(values))
    figures.append(f"nuclei, {PER_KIND} pictures a kind of its training data: AP@0.5 {scores}")
    assert scores["L 256"] > 0.8
    assert scores["L 360"] > 0.8
    assert scores["RGB 256"] > 0.4
