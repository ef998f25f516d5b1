"""The shipped files work: on cases that the model was trained on, turned, and in other units of intensity.

It has seen all cases of its data set, so that the overlaps here say nothing about its accuracy: that is on
its card.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import medseg
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

LABELS = ("anterior hippocampus", "posterior hippocampus")
CASES = (1, 65, 124, 188, 245, 302)
TORCH = medseg.Resources(engine="torch", threads=1)  # a graph takes longer to make than this to run


def segment(volume: Volume) -> Segmentation:
    return medseg.segment(volume, model="hippocampus", resources=TORCH).segmentation


@cache
def image(folder: Path, case: int) -> Volume:
    return medseg.read(folder / "mr_hippocampus_msd" / "images" / f"hippocampus_{case:03}.nii.gz")


@cache
def found(folder: Path, case: int) -> Segmentation:
    return segment(image(folder, case))


def outlined(folder: Path, case: int) -> NDArray[np.float32]:
    """The manual labels of a case, [i, j, k]: 1 anterior, 2 posterior."""
    path = folder / "mr_hippocampus_msd" / "labels" / f"hippocampus_{case:03}.nii.gz"
    return np.asarray(medseg.read(path).array[0], np.float32)


def test_the_weights_fit_the_network() -> None:
    """And an image without a hippocampus is taken, and gets its own grid back."""
    noise = np.random.default_rng(0).normal(100, 20, (1, 36, 44, 30)).astype(np.float32)
    volume = Volume(noise, Grid((36, 44, 30), np.diag([1.0, 1.0, 1.0, 1.0])), ("mr",))
    segmentation = segment(volume)
    assert [label.name for label in segmentation.labels] == list(LABELS)
    assert segmentation.grid.same_as(volume.grid)


def test_cases_it_was_trained_on_overlap_their_outlines(real_data: Path, figures: list[str]) -> None:
    scores = np.array([_dice(real_data, case) for case in CASES])
    means = scores.mean(axis=0)
    figures.append(
        f"hippocampus, {len(CASES)} cases of its training data: Dice {means[0]:.3f} {means[1]:.3f}"
    )
    assert means[0] > 0.87
    assert means[1] > 0.85
    assert scores.min() > 0.75


def _dice(folder: Path, case: int) -> list[float]:
    truth, segmentation = outlined(folder, case), found(folder, case)
    pairs = [(segmentation.mask(name), truth == value) for value, name in enumerate(LABELS, start=1)]
    return [float(2 * (a & b).sum() / (a.sum() + b.sum())) for a, b in pairs]


@pytest.mark.parametrize("codes", ["LPS", "SAR", "PIL"])
def test_axes_in_another_order_get_the_same_voxels(real_data: Path, codes: str) -> None:
    straight = found(real_data, CASES[0])
    turned = segment(image(real_data, CASES[0]).reorient(codes))
    assert turned.grid.axis_codes == codes
    back = turned.onto(turned.grid.reoriented(straight.grid.axis_codes))
    assert back.grid.same_as(straight.grid)
    assert (back.array != straight.array).mean() < 1e-3  # sums in another order


def test_a_mirrored_head_gets_mirrored_labels(real_data: Path) -> None:
    """The other side of a head, as it would be: the voxels mirrored, the grid as it is."""
    volume = image(real_data, CASES[0])
    assert volume.grid.axis_codes == "RAS"
    mirrored = segment(volume.replace(array=volume.array[:, ::-1].copy()))
    assert (mirrored.array[:, ::-1] != found(real_data, CASES[0]).array).mean() < 1e-3


def test_the_unit_of_intensity_does_not_matter(real_data: Path) -> None:
    volume = image(real_data, CASES[1])
    scaled = volume.replace(array=volume.array.astype(np.float32) * 1000)
    assert (segment(scaled).array != found(real_data, CASES[1]).array).mean() < 1e-4
