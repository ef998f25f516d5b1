"""`--write`: files beside those of the pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cohorts
import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
import SimpleITK as sitk  # noqa: TID253
from dicom_validators import dcentvfy, dciodvfy, segimage2itkimage, tid1500reader

SAMPLE = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RESULTS = "dicom-seg,dicom-sr,rtstruct,secondary-capture"
KIDNEYS = {"left kidney": "18639004", "right kidney": "9846003"}  # SNOMED CT has a code for each
Medseg = Callable[..., Any]
Install = Callable[..., None]


@pytest.fixture
def model(tmp_path: Path, install: Install) -> Path:
    install("ordered")
    path = tmp_path / "ball.yaml"
    path.write_text("segment: {threshold: {above: 50}}\nwrite: [csv]\n")
    return path


def test_adds_files_in_the_order_that_they_need(
    medseg: Medseg, ball: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "-m", model, "--write", "answer,letter", "-q")
    assert done.code == 0, done.err
    record = json.loads((out / "run.json").read_text())
    assert set(record["outputs"]) == {"measurements.csv", "letter.txt", "answer.txt"}
    assert [next(iter(call)) for call in record["pipeline"]["write"]] == [
        "medseg/csv",
        "fake-ordered/letter",
        "fake-ordered/answer",
    ]


def test_what_the_user_named_and_the_image_cannot_have_is_refused_before_the_run(
    medseg: Medseg, ball: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "-m", model, "--write", "letter,picky", "-q")
    assert done.code == 2
    assert "writer 'picky' needs an MR image" in done.err
    assert not out.exists()


def test_what_the_pipeline_names_is_left_out_with_what_refers_to_it(
    medseg: Medseg, ball: Path, tmp_path: Path, install: Install
) -> None:
    install("ordered")
    model = tmp_path / "picky.yaml"
    model.write_text("segment: {threshold: {above: 50}}\nwrite: [picky, echo, letter]\n")
    done = medseg("segment", ball, "-o", tmp_path / "out", "-m", model)
    assert done.code == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["left_out"] == {
        "picky": "an MR image",
        "echo": "what 'fake-ordered/picky' would write, which is left out",
    }
    assert set(record["outputs"]) == {"letter.txt"}
    demanded = medseg("segment", ball, "-o", tmp_path / "other", "-m", model, "--write", "echo")
    assert demanded.code == 2
    assert "writer 'echo' needs what 'fake-ordered/picky' would write, which is left out" in demanded.err


def test_a_plan_knows_them(medseg: Medseg, ball: Path, model: Path) -> None:
    done = medseg("segment", ball, "-m", model, "--plan", "--write", "leter")
    assert done.code == 4
    assert "no writer is called 'leter'; did you mean 'letter'?" in done.err
    assert medseg("segment", ball, "-m", model, "--plan", "--write", "letter").code == 0


def test_a_cohort_writes_them_for_each_case(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    assert medseg("cohort", source, "-o", out, "-m", model, "--write", "letter").code == 0
    assert len(list(out.glob("*/letter.txt"))) == 2
    again = medseg("cohort", source, "-o", out, "-m", model, "--write", "letter", "--resume")
    assert "2 kept from an earlier run" in again.out
    refused = medseg("cohort", source, "-o", tmp_path / "other", "-m", model, "--write", "picky")
    assert refused.code == 3
    assert "writer 'picky' needs an MR image" in refused.out


def test_dicom_results_need_a_dicom_series(medseg: Medseg, ball: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "-m", model, "--write", "dicom-sr,dicom-seg")
    assert done.code == 2
    assert "writer 'dicom-seg' needs a DICOM series as its image" in done.err
    alone = medseg("segment", ball, "-o", out, "-m", model, "--write", "dicom-sr")
    assert alone.code == 64
    assert "dicom-sr: refers to what 'medseg/dicom-seg' writes; add that before it" in alone.err
    assert not out.exists()


# ---- the DICOM results of a phantom with a left and a right kidney, whose images are JPEG 2000


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample study as JPEG 2000 without loss."""
    folder = tmp_path_factory.mktemp("study")
    for path in SAMPLE.iterdir():
        image = pydicom.dcmread(path)
        uid = image.SOPInstanceUID
        image.decompress(generate_instance_uid=False)
        image.compress(JPEG_2000, generate_instance_uid=False)
        image.SOPInstanceUID = uid
        image.save_as(folder / path.name)
    return folder


def across(points: Any) -> float:
    """Mean place of points `[n, 3]` from the patient's right to the left: the first axis of LPS, mm."""
    return float(np.reshape(np.asarray(points, float), (-1, 3))[:, 0].mean())


def test_results_of_a_compressed_study_are_valid_and_know_left_from_right(
    medseg: Medseg, study: Path, tmp_path: Path
) -> None:
    out, plain = tmp_path / "out", tmp_path / "plain"
    done = medseg("segment", study, "-o", out, "-m", "phantom-abdomen", "--write", RESULTS, "-q")
    assert done.code == 0, done.err
    assert medseg("segment", SAMPLE, "-o", plain, "-m", "phantom-abdomen", "-q").code == 0
    files = sorted(out.glob("*.dcm"))
    assert len(files) == 6  # of summaries there are three
    assert [dciodvfy(path) for path in files] == [[]] * 6
    assert dcentvfy([*files, *study.iterdir()]) == []

    (found,) = segimage2itkimage(out / "segmentation.dcm", tmp_path / "dcmqi", merge=True)[1]
    image, nifti = sitk.ReadImage(found), sitk.ReadImage(plain / "segmentation.nii.gz")
    values = sitk.GetArrayFromImage(sitk.Resample(image, nifti, interpolator=sitk.sitkNearestNeighbor))
    assert np.array_equal(values, sitk.GetArrayFromImage(nifti))  # as of the images without compression

    segments = pydicom.dcmread(out / "segmentation.dcm", stop_before_pixels=True).SegmentSequence
    numbers = {segment.SegmentLabel: segment.SegmentNumber for segment in segments}
    codes = {
        segment.SegmentLabel: segment.SegmentedPropertyTypeCodeSequence[0].CodeValue for segment in segments
    }
    assert KIDNEYS.items() < codes.items()
    array = sitk.GetArrayFromImage(image)
    at = {name: np.argwhere(array == numbers[name])[:, ::-1].tolist() for name in KIDNEYS}
    left, right = (across(list(map(image.TransformIndexToPhysicalPoint, at[name]))) for name in KIDNEYS)
    assert left > right + 80

    contours = pydicom.dcmread(out / "rtstruct.dcm")
    regions = {item.ROINumber: item.ROIName for item in contours.StructureSetROISequence}
    places = {
        regions[item.ReferencedROINumber]: across(
            np.concatenate([contour.ContourData for contour in item.ContourSequence])
        )
        for item in contours.ROIContourSequence
    }
    assert abs(places["left kidney"] - left) < 3
    assert abs(places["right kidney"] - right) < 3

    report = tid1500reader(out / "measurements.dcm", tmp_path)
    told = {group["TrackingIdentifier"]: group["Finding"]["CodeValue"] for group in report["Measurements"]}
    assert KIDNEYS.items() < told.items()
