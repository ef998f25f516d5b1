import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from dicom_series import write_dicom_series
from PIL import Image  # noqa: TID253

Medseg = Callable[..., Any]


def test_a_plan_is_printed_and_nothing_is_written(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = medseg("segment", ball, "--model", pipeline, "--plan")
    assert done.code == 0
    assert "32 x 30 x 24 voxels, 2 x 2 x 3 mm" in done.out
    assert "peak memory" in done.out
    assert done.out.endswith("No image was segmented, and no result written.\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_for_programs(medseg: Medseg, ball: Path, pipeline: Path) -> None:
    done = medseg("segment", ball, "--model", pipeline, "--plan", "--json", "--max-memory", "4GiB")
    told = json.loads(done.out)
    assert told["image"]["shape"] == told["prepared"]["shape"] == [32, 30, 24]
    assert told["limit_mb"] == 4096
    assert told["device"] == "cpu"
    assert 10 < told["peak_memory_mb"] < 4096


def test_a_plan_follows_the_steps_before_the_segmenter(medseg: Medseg, ball: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "preprocess: [{reorient: {to: SPL}}, {resample: {spacing: 1}}, {pad: {minimum_shape: [80, 1, 1]}}]\n"
        "segment: {threshold: {above: 50}}\n"
        "labels: {1: {name: foreground}}\n"
    )
    done = medseg("segment", ball, "--model", file, "--plan", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["prepared"]["shape"] == [80, 60, 64]


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--plan", "--max-memory", "many"], "--max-memory many: give a size, as in 6GB", 64),
        (["--plan", "--max-memory", "0"], "more than nothing", 64),
        (["--plan", "--max-memory", "2iB"], "give a size", 64),
        (["--json", "-o", "x"], "--json is for --plan", 64),
        ([], "--out", 64),
        (["--plan", "--engine", "tensorrt"], "tensorrt", 64),
        (["--plan", "--precision", "fp8"], "fp8", 64),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    medseg: Medseg, ball: Path, pipeline: Path, arguments: list[str], said: str, code: int
) -> None:
    done = medseg("segment", ball, "--model", pipeline, *arguments)
    assert done.code == code
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("size", "mb"),
    [("5000MB", 4768), ("20g", 19073), ("15.5 GiB", 15872), ("10485760000", 10000), ("9000000kB", 8583)],
)
def test_sizes_may_be_written_in_several_ways(
    medseg: Medseg, ball: Path, pipeline: Path, size: str, mb: int
) -> None:
    done = medseg("segment", ball, "--model", pipeline, "--plan", "--json", "--max-memory", size)
    assert json.loads(done.out)["limit_mb"] == mb


def test_a_limit_that_reading_has_passed_already_is_refused(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    done = medseg("segment", ball, "--model", pipeline, "-o", tmp_path / "out", "--max-memory", "3MB")
    assert done.code == 5
    assert "--max-memory" in done.err
    assert not (tmp_path / "out").exists()


def test_what_was_planned_and_used_stands_in_run_json(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert medseg("segment", ball, "--model", pipeline, "-o", out, "--deterministic", "-q").code == 0
    record = json.loads((out / "run.json").read_text())
    assert record["resources"]["deterministic"] is True
    assert record["plan"]["peak_memory_mb"] > record["plan"]["above_resident_mb"]
    assert record["used"]["peak_memory_mb"] >= max(step["peak_memory_mb"] for step in record["steps"])


def refusal_of(medseg: Medseg, tmp_path: Path, *arguments: object) -> str:
    """What the run and its plan are both refused with."""
    planned = medseg("segment", *arguments, "--plan")
    run = medseg("segment", *arguments, "-o", tmp_path / "out", "-q")
    assert planned.code == run.code != 0
    assert planned.err == run.err
    assert planned.out == ""
    assert not (tmp_path / "out").exists()
    return str(planned.err)


def planned_image(medseg: Medseg, *arguments: object) -> Any:
    done = medseg("segment", *arguments, "--plan", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)["image"]


def test_a_plan_gives_a_picture_the_scale_that_the_run_gives_it(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(picture)
    assert planned_image(medseg, picture, "-m", pipeline)["unit"] == "px"
    scaled = planned_image(medseg, picture, "-m", pipeline, "--pixel-size", "0.25")
    assert scaled == {"shape": [8, 6, 1], "spacing": [0.25] * 3, "unit": "mm"}
    said = refusal_of(medseg, tmp_path, ball, "-m", pipeline, "--pixel-size", "0.25")
    assert "a pixel size is for PNG and TIFF" in said


def test_a_plan_refuses_another_modality_as_the_run_does(medseg: Medseg, tmp_path: Path) -> None:
    series = write_dicom_series(tmp_path / "ct", np.full((6, 5, 4), 1124, np.uint16))
    model = tmp_path / "mr.yaml"
    model.write_text(
        "inputs: [{name: t1, modality: MR}]\nlabels: {1: {name: x}}\nsegment: {threshold: {above: 50}}\n"
    )
    assert "is CT, and input 't1' must be MR" in refusal_of(medseg, tmp_path, series, "-m", model)
    assert planned_image(medseg, series, "-m", model, "--force-modality")["shape"] == [6, 5, 4]


def test_a_plan_reads_as_the_options_say(medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path) -> None:
    several = tmp_path / "several.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4, 3), np.int16), np.diag([2.0, 2, 2, 1])), several)
    assert "--phase" in refusal_of(medseg, tmp_path, several, "-m", pipeline)
    assert planned_image(medseg, several, "-m", pipeline, "--phase", 2)["shape"] == [6, 5, 4]
    assert "no phase 2" in refusal_of(medseg, tmp_path, ball, "-m", pipeline, "--phase", 2)
    assert "a series is for DICOM" in refusal_of(
        medseg, tmp_path, ball, "-m", pipeline, "--series", "modality=CT"
    )
    series = write_dicom_series(tmp_path / "ct", np.full((6, 5, 8), 1124, np.uint16))
    assert "SUV are for PET" in refusal_of(medseg, tmp_path, series, "-m", pipeline, "--suv")
    (series / "IM0003.dcm").unlink()
    assert "1 slice is probably missing" in refusal_of(medseg, tmp_path, series, "-m", pipeline)
    assert planned_image(medseg, series, "-m", pipeline, "--gaps", "resample")["shape"] == [6, 5, 8]


def test_a_plan_takes_inputs_and_labels_by_name(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    assert planned_image(medseg, "--input", f"image={ball}", "-m", pipeline)["shape"] == [32, 30, 24]
    assert "no input 'ct'" in refusal_of(medseg, tmp_path, "--input", f"ct={ball}", "-m", pipeline)
    assert "no label 'bal'" in refusal_of(medseg, tmp_path, ball, "-m", pipeline, "--labels", "bal")
