"""Labels without scores move onto the edges of the image."""

from __future__ import annotations

import numpy as np
import pytest
from crf_phantoms import INTENSITY, LABELS, dice, phantom
from medseg_crf import label_crf
from medseg_crf.label_crf import LabelCrf

from medseg import Grid, Object, Segmentation, Volume
from medseg.steps import Postprocessor

STEP = LabelCrf(intensity=INTENSITY)


def test_noisy_labels_come_closer_to_the_truth_in_one_part_or_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = phantom(3)
    found = case.truth.replace(array=case.found[None].astype(np.uint8))
    better = Postprocessor.check(STEP(found, case.image), onto=found.grid)
    for label in LABELS:
        truth = case.truth.mask(label.name)
        assert dice(better.mask(label.name), truth) >= dice(found.mask(label.name), truth) + 0.01
    monkeypatch.setattr(label_crf, "MOST_VOXELS", 100_000)
    parts = STEP(found, case.image)
    assert (parts.array != better.array).mean() < 2e-3


def test_a_picture_is_two_dimensional() -> None:
    grid = Grid((40, 40, 1), np.diag([0.5, 0.5, 1.0, 1.0]))
    random = np.random.default_rng(0)
    truth = np.hypot(*(np.indices((40, 40)) - 20))[..., None] < 12
    image = np.where(truth, 100, 0) + random.normal(0, 10, grid.shape)
    noisy = truth ^ (random.random(grid.shape) < 0.08)
    table = LABELS.only(["organ"])
    found = Segmentation.from_masks({"organ": noisy}, grid, table)
    better = LabelCrf(intensity=20, appearance_mm=3, smooth_mm=0.5)(
        found, Volume(image[None].astype(np.float32), grid)
    )
    assert dice(noisy, truth) < 0.9
    assert dice(better.mask("organ"), truth) > 0.995


def test_objects_and_empty_layers_stay_as_they_are() -> None:
    case = phantom(0)
    nothing = case.truth.replace(array=np.zeros_like(case.truth.array))
    assert not STEP(nothing, case.image).array.any()
    objects = case.truth.replace(kinds=("objects",), objects=(Object(1, "organ"), Object(2, "tumour")))
    assert np.array_equal(STEP(objects, case.image).array, objects.array)
