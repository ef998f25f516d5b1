"""Masks made elsewhere: read, measured, published."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: TID253
from closed_forms import ball

from medseg.errors import InputError, PipelineError, UsageError
from medseg.io.nifti import write_labels
from medseg.run.made_masks import measure_mask, measurements_named
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

AFFINE = np.diag([-2.0, -2.0, 4.0, 1.0])
GRID = Grid((40, 36, 20), AFFINE)
BALL_ML = 4 / 3 * np.pi * 20**3 / 1000


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "ct.nii.gz"
    values = np.random.default_rng(0).integers(-50, 150, GRID.shape).astype(np.int16)
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return path


def bodies() -> np.ndarray:
    """A liver of 20 mm radius (1) with a tumour of 8 mm (2)."""
    values = ball(GRID, GRID.centre, 20).astype(np.uint8)
    values[ball(GRID, GRID.centre + np.array([8, 0, 0]), 8)] = 2
    return values


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(bodies(), AFFINE), path)
    (tmp_path / "mask.json").write_text(json.dumps({"labels": {"liver": 1, "liver tumour": 2}}))
    return path


def rows(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return {(row["label"], row["object"], row["quantity"]): row for row in csv.DictReader(file)}


def test_a_mask_is_measured_and_published(image: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = measure_mask(image, mask, out=out)
    assert result.case_id == "ct"
    found = rows(out)
    both = sum(float(found[name, "", "volume"]["value"]) for name in ("liver", "liver tumour"))
    assert both == pytest.approx(BALL_ML, rel=0.03)
    assert found["liver tumour", "1", "host"]["value"] == "liver"
    assert float(found["liver tumour", "1", "longest_axial_diameter"]["value"]) == pytest.approx(16, abs=2)
    assert found["liver", "", "qc"]["value"] == "ok"
    assert found["liver", "", "surface_area"]["unit"] == "mm²"
    record = json.loads((out / "run.json").read_text())
    assert sorted(record["outputs"]) == ["measurements.csv", "measurements.json", "preview.png"]
    assert record["mask"]["labels"] == {"1": "liver", "2": "liver tumour"}
    assert [next(iter(step)) for step in record["measure"]][:2] == ["medseg/volumes", "medseg/shape"]
    assert str(tmp_path) not in (out / "run.json").read_text()
    with pytest.raises(UsageError, match="exists"):
        measure_mask(image, mask, out=out, measure="volumes")
    measure_mask(image, mask, out=out, measure="volumes", labels=["liver"], overwrite=True, case="again")
    assert {(row["case"], row["label"]) for row in rows(out).values()} == {("again", "liver")}


def test_another_axis_order_gives_the_same_numbers(image: Path, mask: Path, tmp_path: Path) -> None:
    table = LabelTable((Label(1, "liver"), Label(2, "liver tumour")))
    turned = Segmentation(bodies()[None], GRID, table).onto(GRID.reoriented("SPR"))
    other = tmp_path / "turned" / "mask.nii.gz"
    other.parent.mkdir()
    nib.save(nib.Nifti1Image(turned.array[0], turned.grid.affine), other)
    (other.parent / "mask.json").write_text((tmp_path / "mask.json").read_text())
    first, second = (measure_mask(image, path, measure="volumes, lesions") for path in (mask, other))
    assert first.measurements == second.measurements


def test_another_grid_is_told_in_every_output(image: Path, tmp_path: Path) -> None:
    finer = GRID.respaced((1, 1, 2))
    path = tmp_path / "fine.nii.gz"
    nib.save(nib.Nifti1Image(ball(finer, GRID.centre, 20).astype(np.uint8), finer.affine), path)
    out = tmp_path / "out"
    measure_mask(image, path, out=out, measure="volumes")
    (volume,) = (row for key, row in rows(out).items() if key[2] == "volume")
    assert float(volume["value"]) == pytest.approx(BALL_ML, rel=0.05)
    note = "mask: its voxels (1 x 1 x 2 mm) are not the image's (2 x 2 x 4): nearest labels are taken"
    assert volume["note"] == note
    assert note in json.loads((out / "run.json").read_text())["notes"]


def test_what_cannot_be_measured_is_refused_in_one_line_and_leaves_nothing(
    image: Path, mask: Path, tmp_path: Path
) -> None:
    far = tmp_path / "far.nii.gz"
    moved = AFFINE.copy()
    moved[:3, 3] = (500, 0, 0)
    nib.save(nib.Nifti1Image(bodies(), moved), far)
    out = tmp_path / "out"
    for wrong, message in (
        (far, r"none of its .* lies in the image"),
        (image, "smallest value is -50"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(InputError, match=message) as refused:
            measure_mask(image, wrong, out=out)
        assert "\n" not in str(refused.value)
    with pytest.raises(PipelineError, match=r"measure\[0\].lesions.labels: there is no label 'lver'"):
        measure_mask(image, mask, out=out, measure="lesions: {labels: [lver]}")
    with pytest.raises(UsageError, match="no label 'bone'"):
        measure_mask(image, mask, out=out, labels=["bone"])
    assert not out.exists()


def test_measurements_are_named_as_in_a_pipeline_file() -> None:
    (first, second) = measurements_named("volumes, lesions: {min_ml: 0.1}")
    assert (first.name, second.name) == ("volumes", "lesions")
    assert dict(second.written)["medseg/lesions"]["min_ml"] == 0.1
    with pytest.raises(PipelineError, match="volume"):
        measurements_named("volumen")
    with pytest.raises(PipelineError, match="min_m"):
        measurements_named("lesions: {min_m: 1}")
    for nothing in ("", "[", "{"):
        with pytest.raises(UsageError):
            measurements_named(nothing)


def of_objects(path: Path, values: np.ndarray, objects: dict[str, tuple[int, ...]]) -> Path:
    ids = LabelTable(tuple(Label(n, f"object {n}") for own in objects.values() for n in own))
    write_labels(values.astype(np.uint8), GRID, path, labels=ids, source=None, objects=objects)
    return path


def test_a_mask_that_says_that_it_holds_objects_has_a_row_for_each(image: Path, tmp_path: Path) -> None:
    """And nothing of all of them together but their volume, as of one, and whether something is odd."""
    path = of_objects(tmp_path / "ids.nii.gz", bodies(), {"node": (1, 2)})
    result = measure_mask(image, path)
    found: dict[tuple[int | None, str], Any] = {
        (row.object, row.quantity): row.value for row in result.measurements
    }
    each = [found[number, "volume"] for number in (1, 2)]
    assert found[None, "objects"] == 2
    assert sum(each) == pytest.approx(found[None, "volume"]) == pytest.approx(BALL_ML, rel=0.03)
    assert not {"surface_area", "longest_axial_diameter", "lesions"} & {quantity for _, quantity in found}


def test_objects_beside_labels_have_rows_too(image: Path, tmp_path: Path) -> None:
    """As where someone drew a segment that is none of them."""
    segments = {
        "Segment0_Name": "node 1", "Segment0_LabelValue": "1", "Segment0_Layer": "0",
        "Segment0_Tags": "Medseg.ObjectOf:node|",
        "Segment1_Name": "cuff", "Segment1_LabelValue": "2", "Segment1_Layer": "0",
    }  # fmt: skip
    picture = sitk.GetImageFromArray(bodies().transpose(2, 1, 0))
    picture.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    picture.SetSpacing((2.0, 2.0, 4.0))
    for key, text in segments.items():
        picture.SetMetaData(key, text)
    sitk.WriteImage(picture, str(tmp_path / "edited.seg.nrrd"))
    result = measure_mask(image, tmp_path / "edited.seg.nrrd")
    found = {(row.label, row.object, row.quantity) for row in result.measurements}
    assert {("node", 1, "volume"), ("cuff", None, "surface_area")} <= found
