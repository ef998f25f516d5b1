"""What is asked of a label, and what becomes of voxels that cannot be measured."""

import logging

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.errors import GeometryError
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Source, Volume

pytest.importorskip("medseg_radiomics")

from medseg_radiomics.radiomics import Radiomics

GRID = Grid((30, 24, 16), np.diag([1.0, 1.25, 2.5, 1.0]))
LABELS = LabelTable((Label(1, "cube"), Label(2, "nothing")))


def cube() -> NDArray[np.bool_]:
    mask = np.zeros(GRID.shape, bool)
    mask[10:20, 8:16, 6:10] = True  # 10 mm along each axis
    return mask


def measured(
    step: Radiomics, image: NDArray[np.generic], mask: NDArray[np.bool_], grid: Grid = GRID
) -> dict[tuple[str, str], Measured]:
    segmentation = Segmentation.from_masks({"cube": mask}, grid, LABELS)
    volume = Volume(image[None], grid, source=Source(grid, "array", modality="CT"))
    rows = Measurement.check(
        step(volume, segmentation, Prediction(segmentation=segmentation)), segmentation=segmentation
    )
    return {(row.label, row.quantity): row for row in rows}


def noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(40, 20, GRID.shape).astype(np.float32)


def test_volume_and_statistics_of_a_cube() -> None:
    image, mask = noise(), cube()
    rows = measured(Radiomics(families=("morphology", "statistics"), bins=16), image, mask)
    inside = image[mask].astype(float)
    approx = rows["cube", "ibsi_morph_vol_approx"]
    assert approx.value == pytest.approx(1000)
    assert approx.unit == "mm³"
    assert rows["cube", "ibsi_stat_mean"].value == pytest.approx(inside.mean(), rel=1e-5)
    assert rows["cube", "ibsi_stat_var"].value == pytest.approx(inside.var(), rel=1e-4)
    assert rows["cube", "ibsi_stat_var"].unit == "HU²"
    assert rows["nothing", "ibsi_features"].value == 0
    assert rows["nothing", "ibsi_features"].flag == "empty"


def test_entropy_of_bins_is_numpys() -> None:
    image, mask = noise(), cube()
    rows = measured(Radiomics(families=("histogram",), bin_width=5, low=-100, labels=("cube",)), image, mask)
    (entropy,) = (row.value for (_, name), row in rows.items() if name.startswith("ibsi_ih_entropy"))
    shares = np.unique(np.floor((image[mask] + 100) / 5), return_counts=True)[1] / mask.sum()
    assert entropy == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-6)


def test_voxels_outside_a_range_are_left_out_of_all_but_the_shape() -> None:
    image, mask = noise(), cube()
    step = Radiomics(families=("morphology", "statistics"), bins=16, low=30, high=50)
    rows = measured(step, image, mask)
    kept = image[mask & (image >= 30) & (image <= 50)].astype(float)
    assert rows["cube", "ibsi_stat_mean"].value == pytest.approx(kept.mean(), rel=1e-5)
    assert rows["cube", "ibsi_morph_vol_approx"].value == pytest.approx(1000)
    none = measured(Radiomics(families=("statistics",), bins=16, low=1e4), image, mask)
    assert none["cube", "ibsi_features"].flag == "no voxel is within low and high"


def test_brought_to_cubes_a_volume_stays() -> None:
    step = Radiomics(families=("morphology",), bins=16, spacing_mm=1.0)
    rows = measured(step, noise(), cube())
    assert rows["cube", "ibsi_morph_vol_approx"].value == pytest.approx(1000, rel=0.1)


def test_what_is_not_finite_is_left_out_and_flagged() -> None:
    image, mask = noise(), cube()
    image[10, 8, 6], image[0, 0, 0] = np.nan, np.inf
    rows = measured(Radiomics(families=("statistics",), bins=16), image, mask)
    inside = image[mask & np.isfinite(image)].astype(float)
    assert rows["cube", "ibsi_features"].flag == "1 voxels not finite"
    assert rows["cube", "ibsi_stat_mean"].value == pytest.approx(inside.mean(), rel=1e-5)


def test_one_voxel_has_what_is_defined() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[12, 12, 8] = True
    rows = measured(Radiomics(families=("morphology", "statistics"), bins=16), noise(), mask)
    elongation = rows["cube", "ibsi_morph_pca_elongation"]
    assert (elongation.value, elongation.flag) == (None, "not defined")
    assert rows["cube", "ibsi_morph_vol_approx"].value == pytest.approx(1.25 * 2.5)


def test_nothing_is_printed_and_logging_stays_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(logging.getLogger().handlers)
    measured(Radiomics(families=("statistics",), bins=16), noise(), cube())
    assert logging.getLogger().handlers == before
    assert capsys.readouterr().out == ""


def test_flat_images_and_axes_that_lean_are_refused() -> None:
    flat = Grid((30, 24, 1), np.eye(4))
    with pytest.raises(GeometryError, match="flat"):
        measured(Radiomics(bins=16), noise()[..., :1], cube()[..., 6:7], flat)
    affine = GRID.affine.copy()
    affine[1, 2] = 0.3
    with pytest.raises(GeometryError, match="right angles"):
        measured(Radiomics(bins=16), noise(), cube(), Grid(GRID.shape, affine))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "one of bins and bin_width"),
        ({"bins": 16, "bin_width": 5, "low": 0}, "one of bins and bin_width"),
        ({"bin_width": 5}, "needs low"),
        ({"bins": 16, "low": 5, "high": 5}, "low is below high"),
        ({"bins": 16, "families": []}, "at least one"),
        ({"bins": 16, "families": ["wavelet"]}, "families"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Radiomics.model_validate(wrong)
