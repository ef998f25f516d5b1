"""Bodies whose box is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg import GeometryError, Grid, InputError, Segmentation, Source, Volume
from medseg.builtin.preprocess.crop_body import CropBody
from medseg.inference.windows import Windows
from medseg.segmentation import Label, LabelTable

GRID = Grid((120, 100, 60), np.diag([2.0, 2.0, 4.0, 1.0]))
CENTRE = (150.0, 70.0, 110.0)  # far from the middle of the grid, mm
RADII = (50.0, 40.0, 80.0)


def ellipsoid(grid: Grid = GRID, grow: float = 0.0) -> NDArray[np.bool_]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    away = (grid.to_world(index) - CENTRE) / (np.array(RADII) + grow)
    return np.asarray((away**2).sum(axis=-1) <= 1)


def ct(body: NDArray[np.bool_], grid: Grid = GRID, *, noise: float = 10.0, seed: int = 0) -> Volume:
    values = np.where(body, 40.0, -1000.0) + np.random.default_rng(seed).normal(0, noise, grid.shape)
    return Volume(values[None].astype(np.float32), grid, source=Source(grid, "NIfTI-1", modality="CT"))


def box(cropped: Volume, whole: Grid = GRID) -> tuple[list[int], list[int]]:
    low = np.rint(whole.to_index(cropped.grid.affine[:3, 3])).astype(int)
    return low.tolist(), (low + cropped.grid.shape).tolist()


def test_the_box_of_an_ellipsoid_is_its_extent_and_margin() -> None:
    body = ellipsoid()
    low, high = box(CropBody(margin_mm=10, step_mm=0)(ct(body)))
    for axis, margin in enumerate((5, 5, 3)):  # 10 mm in voxels of 2, 2 and 4 mm
        held = np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))
        # a coarse voxel of 4 mm may add one voxel of 2 mm, never take one away
        assert held[0] - margin - 1 <= low[axis] <= held[0] - margin
        assert held[-1] + 1 + margin <= high[axis] <= held[-1] + 2 + margin


@pytest.mark.parametrize("step_mm", [0.0, 8.0, 24.0, 50.0])
def test_nothing_of_the_body_is_cut_and_edges_are_multiples(step_mm: float) -> None:
    body = ellipsoid()
    low, high = box(CropBody(margin_mm=0, step_mm=step_mm)(ct(body)))
    for axis, (start, stop) in enumerate(zip(low, high, strict=True)):
        step = max(1, round(step_mm / GRID.spacing[axis]))
        assert start % step == 0
        assert stop % step == 0 or stop == GRID.shape[axis]
        held = np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))
        assert start <= held[0] <= held[-1] < stop


def test_the_table_is_left_out_though_it_is_joined_to_the_back() -> None:
    body = ellipsoid()
    joined = body.copy()
    joined[10:115, 13:15, 12:48] = True  # a plate of 4 mm under the back, much wider than the body
    joined[74:76, 13:20, 27:28] = True  # a cushion's seam that touches both
    low, high = box(CropBody(margin_mm=0, step_mm=0)(ct(joined)))
    assert low[0] > 20
    assert high[0] < 110
    assert box(CropBody(margin_mm=0, step_mm=0)(ct(body)))[0][0] >= low[0]


def test_an_ear_stays() -> None:
    body = ellipsoid()
    body[75:77, 54:60, 27:29] = True  # 4 x 12 x 8 mm, standing out
    assert box(CropBody(margin_mm=0, step_mm=0)(ct(body)))[1][1] >= 60


def test_noise_at_the_skin_moves_no_window() -> None:
    crops = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        ragged = ellipsoid(grow=float(rng.uniform(-1.5, 1.5)))
        crops.append(CropBody()(ct(ragged, noise=80.0, seed=seed)).grid)
    assert all(crop == crops[0] for crop in crops)
    exact = [CropBody(step_mm=0)(ct(ellipsoid(grow=g))).grid for g in (-1.5, 1.5)]
    assert exact[0] != exact[1]  # without steps they do move


def test_fewer_windows_are_needed() -> None:
    cropped = CropBody()(ct(ellipsoid()))
    patch = (32, 32, 16)
    assert len(Windows(cropped.grid.shape, patch)) * 2 < len(Windows(GRID.shape, patch))


def test_results_return_with_background_outside() -> None:
    body = ellipsoid()
    cropped = CropBody()(ct(body))
    table = LabelTable((Label(1, "body"),))
    inside = cropped.array[0] > -300
    found = Segmentation.from_masks({"body": inside}, cropped.grid, table).onto(GRID)
    assert np.array_equal(found.mask("body"), body)


def test_an_image_without_modality_is_parted_by_otsu() -> None:
    volume = ct(ellipsoid())
    scaled = Volume(volume.array * 0.5 + 700, GRID)
    assert CropBody()(scaled).grid == CropBody()(volume).grid


def test_a_body_that_fills_the_image_is_handed_back() -> None:
    volume = ct(np.ones(GRID.shape, bool))
    assert CropBody()(volume) is volume


def test_two_slices_are_no_thin_sheet() -> None:
    grid = replace(GRID, shape=(120, 100, 2), affine=GRID.affine + np.diag([0, 0, 0, 0]))
    body = np.zeros(grid.shape, bool)
    body[40:80, 30:60] = True
    low, high = box(CropBody(margin_mm=0, step_mm=0)(ct(body, grid)), grid)
    assert high[2] - low[2] == 2
    assert low[0] in (39, 40)


def test_air_alone_is_refused() -> None:
    with pytest.raises(InputError, match="no voxel is above -300"):
        CropBody()(ct(np.zeros(GRID.shape, bool)))


def test_pixels_are_refused() -> None:
    flat = Grid((9, 9, 1), np.eye(4), "px")
    with pytest.raises(GeometryError, match="pixel-size"):
        CropBody()(Volume(np.zeros((1, 9, 9, 1), np.uint8), flat))
