"""Soft volumes with known answers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from reductions import GRID, TABLE, WINDOWS, expected, slid
from scipy.special import expit, softmax  # noqa: TID253

from medseg import GeometryError, Grid
from medseg.inference.soft_volume import SoftVolumeSink

EXTENT_ML = 14 * 11 * 9 * 2.0 * 1.5 * 3.0 / 1000  # the shear of the grid changes no volume


def sink(activation: Literal["softmax", "sigmoid"] = "softmax") -> SoftVolumeSink:
    return SoftVolumeSink(TABLE, grid=GRID, axis=WINDOWS.axis, activation=activation)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_equal_scores_share_the_volume(blocks: int) -> None:
    def equal(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((len(windows), 3, *windows.shape[2:]), 2.5, np.float32)

    (found,) = slid(sink(), blocks=blocks, forward=equal)
    assert found == pytest.approx({"liver": EXTENT_ML / 3, "spleen": EXTENT_ML / 3}, rel=1e-6)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_sum_of_probabilities_of_the_whole_image(blocks: int) -> None:
    shares = softmax(expected().astype(float), axis=0).sum(axis=(1, 2, 3)) * GRID.voxel_ml
    (found,) = slid(sink(), blocks=blocks)
    assert found == pytest.approx({"liver": shares[1], "spleen": shares[2]}, rel=1e-6)
    assert found["liver"] == pytest.approx(slid(sink())[0]["liver"], rel=1e-9)


def test_with_sigmoid_each_channel_is_a_label() -> None:
    def two(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([windows, 3 - windows], axis=1)

    shares = expit(np.stack([expected()[0], 3 - expected()[0]]).astype(float)).sum(axis=(1, 2, 3))
    (found,) = slid(sink("sigmoid"), forward=two)
    assert list(found.values()) == pytest.approx(list(shares * GRID.voxel_ml), rel=1e-6)


def test_certain_scores_give_the_volume_of_the_mask() -> None:
    def certain(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        liver = windows[:, 0] > 0
        return np.stack([~liver, liver, np.zeros_like(liver)], axis=1).astype(np.float32) * 200

    (found,) = slid(sink(), forward=certain)
    assert found["liver"] == pytest.approx(np.count_nonzero(expected()[0] > 0) * GRID.voxel_ml, rel=1e-12)
    assert found["spleen"] == 0


def test_pixels_have_no_millilitres() -> None:
    flat = Grid((5, 5, 1), np.eye(4), "px")
    with pytest.raises(GeometryError, match="pixel-size"):
        SoftVolumeSink(TABLE, grid=flat, axis=0, activation="softmax")
