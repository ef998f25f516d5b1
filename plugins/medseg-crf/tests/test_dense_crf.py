"""Scores of an unsure network become better; what does not fit is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from crf_phantoms import INTENSITY, LABELS, dice, hd95, phantom
from medseg_crf.bilateral_grid import MOST_CELLS
from medseg_crf.dense_crf import DenseCrf
from medseg_crf.field import _kernels

from medseg import GeometryError, Grid, InputError, Scores, UsageError, Volume
from medseg.steps import Refiner
from medseg.testing.known_image import known_image, twice

STEP = DenseCrf(intensity=INTENSITY)


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_of_noisy_scores_come_closer_to_the_truth(seed: int) -> None:
    case = phantom(seed)
    better = Refiner.check(STEP(case.scores, case.image), like=case.scores).array.argmax(axis=0)
    for label in LABELS:
        truth = case.truth.mask(label.name)
        before, after = case.found == label.value, better == label.value
        assert dice(after, truth) >= dice(before, truth) + 0.01
        assert hd95(after, truth) <= hd95(before, truth)


def ball(activation: Any, kind: Any = "logits") -> tuple[Scores, Volume]:
    """Logits of a ball, some of them wrong, on an oblique and anisotropic grid."""
    volume, segmentation = known_image()
    wrong = np.random.default_rng(0).random(volume.grid.shape) < 0.1
    logits = np.where(segmentation.mask("ball") ^ wrong, 1.0, -1.0).astype(np.float32)
    if activation == "softmax":
        two = np.stack([-logits / 2, logits / 2])
        return Scores(
            np.exp(two) / np.exp(two).sum(0) if kind == "probabilities" else two, volume.grid, kind, "softmax"
        ), volume
    shares = 1 / (1 + np.exp(-logits))
    return Scores((shares if kind == "probabilities" else logits)[None], volume.grid, kind, "sigmoid"), volume


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_two_labels_by_softmax_are_one_by_sigmoid_and_arrays_stay_as_they_were(kind: Any) -> None:
    found = {}
    for activation in ("softmax", "sigmoid"):
        scores, volume = ball(activation, kind)
        first, second = twice(partial(STEP, scores, volume), scores.array, volume.array)
        assert np.array_equal(first.array, second.array)
        assert first.kind == "logits"
        found[activation] = first.array
    assert np.allclose(found["softmax"][1] - found["softmax"][0], found["sigmoid"][0], atol=1e-3)
    truth = known_image()[1].mask("ball")
    assert dice(found["sigmoid"][0] > 0, truth) > 0.99


def test_what_works_on_a_device_gives_the_same_bits_on_the_processor() -> None:
    scores, volume = ball("softmax")
    assert np.array_equal(STEP.on("cpu")(scores, volume).array, STEP(scores, volume).array)


def test_memory_is_told_by_shapes_and_margins_by_the_kernels() -> None:
    scores, volume = ball("sigmoid")
    assert STEP.work_bytes(scores, volume) > 4 * 12 * scores.array.size
    assert STEP.margin_mm == 16.0
    assert DenseCrf(intensity=1, appearance_weight=0).margin_mm == 3.0


@pytest.mark.parametrize("mm", [0.8, 1.0, 4.0])
def test_the_cells_of_narrow_kernels_are_reckoned_with(mm: float) -> None:
    """On voxels of 1 mm a cell of the finest kernels is a voxel, for each of 34 intensities: 26 million."""
    grid = Grid((96, 90, 90), np.eye(4))
    image = np.random.default_rng(0).uniform(-1e4, 1e4, grid.shape).astype(np.float32)
    step = DenseCrf(intensity=1, appearance_mm=mm, smooth_weight=0)
    scores = Scores(np.zeros((2, *grid.shape), np.float32), grid, "logits", "softmax")
    volume = Volume(image[None], grid)
    ((_, kernel),) = _kernels(step, image, grid)
    assert (kernel.cells > MOST_CELLS) == (mm <= 1)
    state = 4 * 16 * image.size + 4 * scores.array.size
    assert step.work_bytes(scores, volume) >= state + 5 * 4 * kernel.cells
    without = DenseCrf(intensity=1, appearance_weight=0)
    assert without.work_bytes(scores, volume) == state


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"unit": "px"}, GeometryError, "appearance_mm of dense-crf"),
        (
            {"affine": np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])},
            GeometryError,
            "lean",
        ),
    ],
)
def test_voxels_without_millimetres_or_right_angles_are_refused(change: Any, error: Any, said: str) -> None:
    grid = Grid(**{"shape": (3, 3, 3), "affine": np.eye(4), "unit": "mm"} | change)
    scores = Scores(np.zeros((2, 3, 3, 3), np.float32), grid, "logits", "softmax")
    with pytest.raises(error, match=said):
        STEP(scores, Volume(np.zeros((1, 3, 3, 3), np.float32), grid))


def test_scores_without_meaning_and_channels_that_are_not_there_are_refused() -> None:
    scores, volume = ball("sigmoid")
    with pytest.raises(UsageError, match="heads softmax, sigmoid"):
        STEP(Scores(scores.array, scores.grid, "logits"), volume)
    with pytest.raises(InputError, match="channel 3 of dense-crf is not there: the image has 1"):
        DenseCrf(intensity=1, channel=3)(scores, volume)
