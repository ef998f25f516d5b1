"""Tissue rules against geometry with known answers, a phantom with exact truth, and real CT."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib  # noqa: TID253
import numpy as np
import pytest
from medseg_ct.tissue_rules import TissueRules
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.prediction import Prediction, Resources, Wanted
from medseg.segmentation import Segmentation
from medseg.testing.abdomen import abdomen, scan_grid
from medseg.volume import Grid, Volume

Mask = NDArray[np.bool_]
BONES = (*range(25, 51), *range(69, 79), *range(91, 117))  # ids of TotalSegmentator's task "total"


def predict(volume: Volume, onto: Grid | None = None) -> Prediction:
    with TissueRules().open(Resources()) as predictor:
        return predictor(volume, onto=onto or volume.grid, wanted=Wanted())


def segment(volume: Volume) -> Segmentation:
    return predict(volume).segmentation


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def read(path: Path) -> Volume:
    image = nib.load(path)
    return Volume(np.asanyarray(image.dataobj)[None], Grid(image.shape, image.affine))


def ellipse(points: NDArray[np.float64], centre: tuple[float, ...], radii: tuple[float, ...]) -> Mask:
    axes = len(radii)
    return np.asarray((((points[..., :axes] - centre) / radii) ** 2).sum(-1) <= 1)


def world_points(grid: Grid) -> NDArray[np.float64]:
    return grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))


def torso(spacing: tuple[float, float, float], *, lungs: bool = True) -> tuple[Volume, dict[str, Mask]]:
    """Nested elliptic cylinders along z, lungs as ellipsoids, a spine with cortex, a table behind."""
    size = (400.0, 320.0, 180.0)
    shape = tuple(round(length / step) for length, step in zip(size, spacing, strict=True))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)]
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    points = world_points(grid)
    body = ellipse(points, (0, 0), (160, 115))
    inner = ellipse(points, (0, 0), (140, 95))
    cavity = ellipse(points, (0, 0), (122, 77))
    spine = ellipse(points, (0, -62), (20, 20))
    marrow = ellipse(points, (0, -62), (16, 16))
    right = ellipse(points, (65, 8, 0), (42, 45, 70)) & lungs
    left = ellipse(points, (-62, 8, 0), (40, 43, 66)) & lungs
    table = (np.abs(points[..., 0]) < 180) & (points[..., 1] < -115) & (points[..., 1] > -122)
    hu = np.full(shape, -1000.0)
    for mask, value in (
        (table, -100), (body, -100), (inner, 50), (cavity, -100), (spine, 800), (marrow, 250), (right, -850),
        (left, -850),
    ):  # fmt: skip
        hu[mask] = value
    truth = {
        "left lung": left,
        "right lung": right,
        "bone": spine,
        "subcutaneous fat": body & ~inner,
        "visceral fat": cavity & ~spine & ~left & ~right,
        "muscle": inner & ~cavity & ~spine,
        "body": body,
    }
    return Volume(hu.astype(np.int16)[None], grid), truth


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 3.0), (1.0, 1.0, 2.0), (3.0, 3.0, 3.0)])
def test_nested_cylinders_are_found_without_the_table(spacing: tuple[float, float, float]) -> None:
    volume, truth = torso(spacing)
    found = segment(volume)
    scores = {name: dice(found.mask(name), mask) for name, mask in truth.items()}
    assert min(scores.values()) > 0.97, scores


def test_the_right_lung_is_on_the_side_towards_which_x_grows() -> None:
    volume, _ = torso((3.0, 3.0, 3.0))
    found = segment(volume)
    middle = volume.grid.shape[0] / 2
    assert np.nonzero(found.mask("right lung"))[0].min() > middle
    assert np.nonzero(found.mask("left lung"))[0].max() < middle


def test_touching_lungs_are_parted_and_the_windpipe_is_left_out() -> None:
    volume, truth = torso((2.0, 2.0, 3.0), lungs=False)
    points = world_points(volume.grid)
    right = ellipse(points, (60, 8, -20), (63, 45, 90)) & ~truth["bone"]
    left = ellipse(points, (-62, 8, -20), (63, 45, 90)) & ~truth["bone"]
    bronchi = ellipse(points[..., 1:], (20, 10), (7, 7)) & (np.abs(points[..., 0]) < 40)
    airway = ellipse(points, (0, 20), (9, 9)) & (points[..., 2] > 10) | bronchi
    hu = volume.array.astype(np.float32)
    hu[0][ellipse(points, (0, 10), (28, 50)) & truth["visceral fat"]] = 40
    hu[0][right | left] = -860
    hu[0][airway] = -1000
    hu += np.random.default_rng(0).normal(0, 20, hu.shape).astype(np.float32)
    found = segment(volume.replace(array=hu))
    assert (right & left).any()  # they touch
    assert dice(found.mask("right lung"), right & ~airway) > 0.985
    assert dice(found.mask("left lung"), left & ~airway) > 0.985
    lungs = found.mask("left lung") | found.mask("right lung")
    assert lungs[airway & ~right & ~left].mean() < 0.15


def test_a_table_pressed_flat_against_the_back_is_taken_off() -> None:
    volume, truth = torso((2.0, 2.0, 3.0))
    points = world_points(volume.grid)
    body = truth["body"] & (points[..., 1] >= -100)
    hu = volume.array.copy()
    hu[0][points[..., 1] < -100] = -1000
    hu[0][(points[..., 1] < -100) & (points[..., 1] > -107) & (np.abs(points[..., 0]) < 180)] = -100
    found = segment(volume.replace(array=hu)).mask("body")
    assert (found & ~body).sum() < 0.002 * body.sum()
    assert dice(found, body) > 0.998


def test_a_torso_without_lungs_has_none_even_with_gas_in_the_bowel() -> None:
    volume, _ = torso((3.0, 3.0, 3.0), lungs=False)
    hu = volume.array.copy()
    points = world_points(volume.grid)
    hu[0][ellipse(points, (40, 20, 60), (30, 30, 60))] = -990  # more than 200 mL, cut by the upper face
    found = segment(volume.replace(array=hu))
    assert not found.mask("left lung").any()
    assert not found.mask("right lung").any()


def test_labels_answer_on_another_grid() -> None:
    volume, truth = torso((3.0, 3.0, 3.0))
    onto = volume.grid.respaced((4.0, 4.0, 4.0))
    found = predict(volume, onto).segmentation
    assert found.grid.same_as(onto)
    assert found.mask("body").sum() * onto.voxel_ml == pytest.approx(
        truth["body"].sum() * volume.grid.voxel_ml, rel=0.02
    )


@pytest.mark.parametrize(
    ("seed", "floors"),
    [
        (1, {"lungs": 0.96, "bone": 0.82, "subcutaneous fat": 0.92, "visceral fat": 0.88, "muscle": 0.84}),
        (3, {"lungs": 0.96, "bone": 0.80, "subcutaneous fat": 0.92, "visceral fat": 0.88, "muscle": 0.82}),
        (6, {"lungs": 0.96, "bone": 0.80, "subcutaneous fat": 0.85, "visceral fat": 0.86, "muscle": 0.82}),
    ],
)
def test_abdominal_phantoms_with_contrast_agent_and_noise(seed: int, floors: dict[str, float]) -> None:
    phantom = abdomen(seed=seed, grid=scan_grid(spacing=(2.6, 2.6, 4.0)))
    found = segment(phantom.volume)
    for name, floor in floors.items():
        names = ("left lung", "right lung") if name == "lungs" else (name,)
        for each in names:
            assert dice(found.mask(each), phantom.tissues.mask(each)) > floor, each
    assert dice(found.mask("body"), phantom.tissues.mask("body")) > 0.98


def test_the_plan_names_the_memory() -> None:
    volume, _ = torso((3.0, 3.0, 3.0))
    with TissueRules().open(Resources()) as predictor:
        plan = predictor.plan(volume.grid, onto=volume.grid, wanted=Wanted())
    assert plan.device == "cpu"
    assert volume.array.nbytes < plan.peak_bytes < 100 * volume.array.nbytes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hu: (hu + 1024.0) / 4000, "values run from"),
        (lambda hu: hu + 1024, "hardly any value is below"),
        (lambda hu: np.clip(hu, -160, 240), "as after clipping"),
        (lambda hu: np.full_like(hu, -1000), "values run from"),
        (lambda hu: np.where(hu > 200, np.nan, hu.astype(np.float32)), "not finite"),
    ],
)
def test_what_is_not_ct_in_hounsfield_units_is_refused(change: object, reason: str) -> None:
    volume, _ = torso((3.0, 3.0, 3.0))
    assert callable(change)
    with pytest.raises(InputError, match=reason):
        segment(volume.replace(array=change(volume.array)))


def test_an_mr_is_refused(real_data: Path) -> None:
    image = next((real_data / "mr_totalseg").glob("mr_sm.nii.gz"))
    with pytest.raises(InputError, match="does not look like CT"):
        segment(read(image))


def test_pixels_without_a_scale_and_several_channels_are_refused() -> None:
    volume, _ = torso((3.0, 3.0, 3.0))
    with pytest.raises(GeometryError, match="pixel-size"):
        segment(volume.replace(grid=Grid(volume.grid.shape, volume.grid.affine, "px")))
    with pytest.raises(InputError, match="one CT"):
        segment(Volume(np.repeat(volume.array, 2, axis=0), volume.grid, ("ct", "pet")))


def test_all_48_axis_orders_and_flips_of_a_real_ct_give_the_same_mask(real_data: Path) -> None:
    volume = read(real_data / "ct_totalseg_A" / "ct.nii.gz").crop((0, 0, 84), (122, 101, 112))
    volume = volume.replace(
        array=volume.array[:, ::2, ::2, ::2],
        grid=volume.grid.respaced((6.0, 6.0, 6.0)).cropped((0, 0, 0), (61, 51, 14)),
    )
    expected = segment(volume)
    for order in permutations(("LR", "PA", "IS")):
        for flips in product((0, 1), repeat=3):
            turned = volume.reorient("".join(pair[flip] for pair, flip in zip(order, flips, strict=True)))
            assert np.array_equal(segment(turned).onto(volume.grid).array, expected.array), (
                turned.grid.axis_codes
            )


def test_bone_and_lungs_of_a_real_ct_agree_with_a_trained_network(
    real_data: Path, figures: list[str]
) -> None:
    folder = real_data / "ct_totalseg_A"
    found = segment(read(folder / "ct.nii.gz"))
    silver = np.asanyarray(nib.load(folder / "seg_total_fast3mm.nii.gz").dataobj)
    scores = {
        "bone": dice(found.mask("bone"), np.isin(silver, BONES)),
        "left lung": dice(found.mask("left lung"), np.isin(silver, (10, 11))),
        "right lung": dice(found.mask("right lung"), np.isin(silver, (12, 13, 14))),
    }
    figures.append("Dice against a network's masks: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
    assert scores["bone"] > 0.88
    assert scores["left lung"] > 0.76  # 40 mL of lung base at 3 mm: nearly all of it is border
    assert scores["right lung"] > 0.93
    muscle = found.mask("muscle")
    assert muscle[np.isin(silver, (80, 81, 82, 83, 84, 85, 86, 87, 88, 89))].mean() > 0.9
    assert (
        muscle[np.isin(silver, (1, 2, 3, 5, 6, 18, 21, 52, 63))].mean() < 0.05
    )  # liver, kidneys, spleen, stomach, bowel, bladder, aorta, vena cava


def test_body_composition_of_a_real_ct_agrees_with_a_trained_network(
    real_data: Path, figures: list[str]
) -> None:
    folder = real_data / "ct_totalseg_A"
    found = segment(read(folder / "ct_sm.nii.gz"))
    scores = {}
    for name, file in (
        ("muscle", "skeletal_muscle"),
        ("subcutaneous fat", "subcutaneous_fat"),
        ("visceral fat", "torso_fat"),
    ):
        silver = np.asanyarray(nib.load(folder / "ct_sm_tissue_types" / f"{file}.nii.gz").dataobj) > 0
        scores[name] = dice(found.mask(name), silver)
    figures.append("Dice against a network's masks: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
    assert scores["muscle"] > 0.79
    assert scores["subcutaneous fat"] > 0.87
    assert scores["visceral fat"] > 0.84


def test_a_crop_inside_the_body_has_no_subcutaneous_fat_to_speak_of(real_data: Path) -> None:
    volume = read(real_data / "ct_spine_tptbox" / "sub-ct_label-22_ct.nii.gz")
    vertebrae = read(real_data / "ct_spine_tptbox" / "sub-ct_seg-vert_label-22_msk.nii.gz").array[0] > 0
    found = segment(volume)
    assert found.mask("body").mean() > 0.98
    assert found.mask("bone")[vertebrae].mean() > 0.85
    assert found.mask("subcutaneous fat").mean() < 0.02
