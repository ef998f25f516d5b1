"""Policies on the command line, from a doubtful DICOM folder to every file of the results."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from dicom_series import write_dicom_series

Medseg = Callable[..., Any]
RADIUS, CENTRE = 15.0, (21.0, 22.0, 36.0)  # mm, from the first voxel
BALL_ML = 4 / 3 * np.pi * RADIUS**3 / 1000
SHAPE = (60, 50, 30)
GONE = (10, 11)
TILT = float(np.tan(np.radians(15)))


def stored(*, shear: float = 0.0) -> np.ndarray:
    """A ball of 100 HU in 0 HU, as `write_dicom_series` places voxels, each slice `shear` mm aside a mm."""
    i, j, k = np.indices(SHAPE)
    place = np.stack([i * 0.7, j * 0.9 + k * 2.5 * shear, k * 2.5])
    middle = np.add(CENTRE, (0, 9.0 if shear else 0, 0))[:, None, None, None]
    return np.where(np.linalg.norm(place - middle, axis=0) <= RADIUS, 1124, 1024).astype(np.uint16)


@pytest.fixture
def gapped(tmp_path: Path) -> Path:
    folder = write_dicom_series(tmp_path / "gapped", stored())
    for slice_ in GONE:
        (folder / f"IM{slice_:04d}.dcm").unlink()
    return folder


@pytest.fixture
def tilted(tmp_path: Path) -> Path:
    return write_dicom_series(tmp_path / "tilted", stored(shear=TILT), step=(0, 2.5 * TILT, 2.5))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ball.yaml"
    path.write_text("labels: {1: {name: ball}}\nsegment: {threshold: {above: 50}}\n")
    return path


def volume_ml(out: Path) -> float:
    (row,) = (row for row in table(out) if row["quantity"] == "volume")
    return float(row["value"])


def table(out: Path) -> list[dict[str, str]]:
    with (out / "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def record(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "run.json").read_text())
    return read


@pytest.mark.parametrize(("folder", "says"), [("gapped", "7.50 mm apart"), ("tilted", "gantry tilt 15.0")])
def test_without_an_option_doubt_is_refused_in_one_line(
    medseg: Medseg, request: pytest.FixtureRequest, model: Path, tmp_path: Path, folder: str, says: str
) -> None:
    path = request.getfixturevalue(folder)
    for command in (
        ("segment", path, "-m", model, "-o", tmp_path / "out"),
        ("convert", path, "-o", tmp_path / "out.nii.gz"),
    ):
        done = medseg(*command)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert says in done.err
    assert not list(tmp_path.glob("out*"))


def test_a_filled_gap_gives_the_true_volume_and_every_output_says_so(
    medseg: Medseg, gapped: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", gapped, "-m", model, "-o", out, "--gaps", "resample")
    assert done.code == 0
    assert volume_ml(out) == pytest.approx(BALL_ML, rel=0.02)
    told = record(out)
    (note,) = told["notes"]
    assert "missing slice" in note
    assert f"note: {note}\n" in done.out
    assert told["policy"] == {"gaps": "resample"}
    assert told["inputs"][0]["verdict"] == "missing slice"
    assert told["inputs"][0]["decided"] == [note]
    assert json.loads((out / "measurements.json").read_text())["notes"] == [note]
    assert {row["note"] for row in table(out)} == {note}
    for name in ("segmentation", "segmentation-slices"):
        assert b"missing slice resampled" in nib.load(out / f"{name}.nii.gz").header["descrip"].item()


def test_labels_go_back_onto_the_original_slices(
    medseg: Medseg, gapped: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert medseg("segment", gapped, "-m", model, "-o", out, "--gaps", "resample", "-q").code == 0
    kept = [k for k in range(SHAPE[2]) if k not in GONE]
    truth = stored() == 1124
    even, slices = (nib.load(out / f"segmentation{end}.nii.gz") for end in ("", "-slices"))
    assert even.shape == SHAPE
    assert np.array_equal(np.asarray(slices.dataobj) == 1, truth[:, :, kept])
    assert np.array_equal(np.asarray(even.dataobj)[:, :, kept] == 1, truth[:, :, kept])
    assert even.header.get_zooms()[2] == pytest.approx(2.5)
    assert slices.header.get_zooms()[2] == pytest.approx(29 * 2.5 / 27)
    assert b"slices uneven" in slices.header["descrip"].item()
    planes = record(out)["inputs"][0]["planes"]
    assert planes == [[30, 20, 40 + 2.5 * k] for k in kept]  # the first voxel of each, RAS+ mm


def test_slices_taken_as_even_keep_their_number(
    medseg: Medseg, gapped: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert medseg("segment", gapped, "-m", model, "-o", out, "--gaps", "allow", "-q").code == 0
    assert nib.load(out / "segmentation.nii.gz").shape == (60, 50, 28)
    assert not (out / "segmentation-slices.nii.gz").exists()
    told = record(out)
    assert told["inputs"][0]["planes"] is None
    assert "mm" in told["notes"][0]


def test_a_tilt_gives_the_true_volume_and_labels_on_the_sheared_grid(
    medseg: Medseg, tilted: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", tilted, "-m", model, "-o", out, "--tilt", "resample")
    assert done.code == 0
    assert "note: gantry tilt: 15.0 degrees" in done.out
    assert volume_ml(out) == pytest.approx(BALL_ML, rel=0.02)
    mask = nib.load(out / "segmentation.nii.gz")
    assert mask.shape == SHAPE
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (1, 0)
    step = mask.affine[:3, 2]
    assert step == pytest.approx([0, -2.5 * TILT, 2.5], abs=1e-4)  # LPS to RAS
    found, truth = np.asarray(mask.dataobj) == 1, stored(shear=TILT) == 1124
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97
    assert record(out)["policy"] == {"tilt": "resample"}


def test_convert_says_what_was_decided(medseg: Medseg, gapped: Path, tmp_path: Path) -> None:
    out = tmp_path / "image.nii.gz"
    done = medseg("convert", gapped, "-o", out, "--gaps", "resample")
    assert done.code == 0
    assert "note: missing slice: " in done.out
    image = nib.load(out)
    assert image.shape == SHAPE
    assert image.header["descrip"].item() == b"medseg: research use only; missing slice resampled"


def test_info_says_what_would_be_read(medseg: Medseg, gapped: Path, tilted: Path) -> None:
    plain = medseg("info", gapped)
    assert (plain.code, plain.err) == (0, "")
    assert "missing slice" in plain.out
    assert "With these options" not in plain.out
    filled = medseg("info", gapped, "--gaps", "resample")
    assert filled.code == 0
    assert "With these options: 60 x 50 x 30 voxels, 0.7 x 0.9 x 2.5 mm, LPS, from 28 files\n" in filled.out
    assert "note: missing slice: " in filled.out
    useless = medseg("info", tilted, "--gaps", "resample")
    assert useless.code == 0
    assert "With these options: refused: tilted: gantry tilt 15.0" in useless.out


def test_info_as_json_is_a_list_or_says_what_would_be_read(medseg: Medseg, gapped: Path) -> None:
    (candidate,) = json.loads(medseg("info", gapped, "--json").out)
    assert (candidate["verdict"], candidate["readable"], candidate["files"]) == ("missing slice", False, 28)
    filled = json.loads(medseg("info", gapped, "--json", "--gaps", "resample").out)
    assert filled["candidates"] == [candidate]
    assert (filled["read"]["shape"], filled["read"]["files"], filled["refused"]) == ([60, 50, 30], 28, None)
    assert "missing slice" in filled["read"]["notes"][0]
    refused = json.loads(medseg("info", gapped, "--json", "--phase", "3").out)
    assert refused["read"] is None
    assert refused["refused"]


def study(folder: Path, series: int) -> Path:
    """So many series of one study in one folder, of 3, 4, 5 … slices."""
    for number in range(series):

        def describe(k: int, dataset: Any, number: int = number) -> None:
            dataset.SeriesDescription = f"Phase {number}"

        write_dicom_series(
            folder / str(number),
            np.full((8, 8, 3 + number), 1000 + number, np.uint16),
            series=f"1.2.840.99.{number}.7",
            edit=describe,
        )
    return folder


def test_ten_series_are_ten_rows_and_one_can_be_chosen(medseg: Medseg, tmp_path: Path) -> None:
    folder = study(tmp_path / "study", 10)
    done = medseg("info", folder)
    assert done.code == 0
    rows = [line for line in done.out.splitlines() if line.startswith("DICOM series")]
    assert len(rows) == 10
    assert sum("  ...0.99.4.7  " in row for row in rows) == 1
    refused = medseg("convert", folder, "-o", tmp_path / "a.nii.gz")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--series" in refused.err
    for number, series in enumerate(("...99.4.7", "1.2.840.99.4.7", "description=phase 4,modality=CT")):
        out = tmp_path / f"{number}.nii.gz"
        assert medseg("convert", folder, "-o", out, "--series", series).code == 0
        assert nib.load(out).shape == (8, 8, 7)
        assert np.all(np.asarray(nib.load(out).dataobj) == -20)


def test_the_command_line_comes_before_the_pipelines_own_choice(medseg: Medseg, tmp_path: Path) -> None:
    folder = study(tmp_path / "study", 3)
    model = tmp_path / "p.yaml"
    model.write_text("inputs: [{name: ct, select: {min_slices: 5}}]\nsegment: {threshold: {above: 0}}\n")
    for out, arguments, slices in (("own", (), 5), ("other", ("--series", "99.1.7"), 4)):
        done = medseg("segment", folder, "-m", model, "-o", tmp_path / out, "-q", *arguments)
        assert (done.code, done.err) == (0, "")
        told = record(tmp_path / out)
        assert told["inputs"][0]["shape"][2] == slices
        assert told["pipeline"]["inputs"] == [{"name": "ct", "select": {"min_slices": 5}}]
        assert len(told["notes"]) == 1
    assert record(tmp_path / "other")["policy"] == {"series": {"uid": "...99.1.7"}}
    again = tmp_path / "again.yaml"
    again.write_text(json.dumps(record(tmp_path / "own")["pipeline"]))
    assert medseg("segment", folder, "-m", again, "-o", tmp_path / "again", "-q").code == 0
    assert record(tmp_path / "again")["outputs"] == record(tmp_path / "own")["outputs"]


@pytest.mark.parametrize("command", ["segment", "convert", "info"])
@pytest.mark.parametrize("option", [("--series", "modality=CT"), ("--suv",)])
def test_what_is_for_dicom_is_a_usage_error_elsewhere(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path, command: str, option: tuple[str, ...]
) -> None:
    others = {
        "segment": ("-m", pipeline, "-o", tmp_path / "out"),
        "convert": ("-o", tmp_path / "a.nii.gz"),
        "info": (),
    }
    done = medseg(command, ball, *others[command], *option)
    assert done.code == 64
    assert done.err.endswith(f"leave out {option[0]}\n")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--gaps", "ignore"), "'refuse', 'resample', 'allow'"),
        (("--phase", "0"), "x>=1"),
        (("--series", "modalty=CT"), "did you mean 'modality'?"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_read(
    medseg: Medseg, tmp_path: Path, option: tuple[str, str], said: str
) -> None:
    (tmp_path / "a.nii").write_text("no image")
    done = medseg("info", tmp_path / "a.nii", *option)
    assert (done.code, done.out, done.err.count("\n")) == (64, "", 1)
    assert said in done.err


def test_a_cohort_takes_the_options_for_all_cases_and_lists_the_notes(
    medseg: Medseg, gapped: Path, model: Path, tmp_path: Path
) -> None:
    cases = tmp_path / "cases"
    cases.mkdir()
    gapped.rename(cases / "one")
    write_dicom_series(cases / "two", stored(), series="1.2.3.2")
    out = tmp_path / "out"
    refused = medseg("cohort", cases, "-m", model, "-o", out)
    assert refused.code == 3
    filled = ("cohort", cases, "-m", model, "-o", out, "--resume", "--gaps", "resample")
    done = medseg(*filled)
    assert done.code == 0
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (note,) = [row["notes"] for row in rows if row["notes"]]
    assert note.startswith("missing slice: ")
    assert f": note: {note}\n" in done.out
    assert [float(row["ball mL"]) for row in rows] == pytest.approx([BALL_ML] * 2, rel=0.02)
    assert json.loads((out / "cohort.json").read_text())["policy"] == {"gaps": "resample"}
    kept = medseg(*filled)
    assert "2 kept from an earlier run" in kept.out
    assert f": note: {note}\n" in kept.out
    with (out / "summary.csv").open(newline="") as file:
        assert [row["notes"] for row in csv.DictReader(file)] == [row["notes"] for row in rows]
    strict = medseg("cohort", cases, "-m", model, "-o", out, "--resume")
    assert strict.code == 3
    assert "kept" not in strict.out
