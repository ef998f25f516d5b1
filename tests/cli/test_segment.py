import csv
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest

Medseg = Callable[..., Any]
FILES = ["measurements.csv", "measurements.json", "preview.png", "run.json", "segmentation.nii.gz"]


def test_writes_everything_and_prints_the_volume(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "--model", pipeline)
    assert done.code == 0
    assert done.err.startswith("Segmenting (threshold) …\n")  # a slow machine says more
    assert sorted(path.name for path in out.iterdir()) == FILES
    row = next(line for line in done.out.splitlines() if line.startswith("ball"))
    assert float(row.split()[1]) == pytest.approx(33.5, rel=0.02)  # a ball of 20 mm radius
    assert "Research use only" in done.out
    with (out / "measurements.csv").open(newline="") as file:
        volume = next(line for line in csv.DictReader(file) if line["quantity"] == "volume")
    assert float(volume["value"]) == pytest.approx(33.5, rel=0.02)
    assert volume["unit"] == "mL"


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path]:
    """Three cubes of 1, 1 and 8 mL, and a pipeline that makes each an object; its measure is left open."""
    image = np.zeros((60, 30, 30), np.int16)
    for start, side in ((2, 10), (16, 10), (32, 20)):
        image[start : start + side, 2 : 2 + side, 2 : 2 + side] = 100
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "cubes.nii.gz")
    (tmp_path / "cubes.yaml").write_text(
        "labels: {1: {name: cube}}\n"
        "segment: {threshold: {above: 50}}\n"
        "postprocess: [{split: {label: cube}}]\n"
        "measure: [MEASURE]\n"
        "write: [csv]\n"
    )
    return tmp_path / "cubes.nii.gz", tmp_path / "cubes.yaml"


@pytest.mark.parametrize(
    ("measure", "wanted"),
    [
        ("volumes", ["cube", "3", "10.0", "mL", "100"]),
        ("objects", ["cube", "3", "10.0", "mL"]),
        ("volumes, objects", ["cube", "3", "10.0", "mL", "100"]),
        ("objects: {most: 2}", ["cube", "3", "the", "last", "1", "have", "no", "rows"]),
    ],
)
def test_objects_are_counted(
    medseg: Medseg, three: tuple[Path, Path], tmp_path: Path, measure: str, wanted: list[str]
) -> None:
    image, pipeline = three
    pipeline.write_text(pipeline.read_text().replace("MEASURE", measure))
    done = medseg("segment", image, "-o", tmp_path / "out", "--model", pipeline)
    assert done.code == 0, done
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["label", "objects", "size", "mean", "intensity", "note"]
    assert wanted in lines


def test_the_mask_has_the_images_affine_and_codes(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    medseg("segment", ball, "-o", tmp_path / "out", "--model", pipeline, "-q")
    image, mask = nib.load(ball), nib.load(tmp_path / "out" / "segmentation.nii.gz")
    assert np.array_equal(image.affine, mask.affine)
    for form in ("get_sform", "get_qform"):
        (a, code), (b, copied) = (getattr(nifti, form)(coded=True) for nifti in (image, mask))
        assert code == copied == 1
        assert np.array_equal(a, b)
    assert np.array_equal(np.asarray(mask.dataobj) == 1, np.asarray(image.dataobj) == 100)


def test_run_json_reruns_the_same(medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path) -> None:
    medseg("segment", ball, "-o", tmp_path / "out", "--model", pipeline, "-q", "--seed", "7")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    again = tmp_path / "again.yaml"
    again.write_text(json.dumps(record["pipeline"]))  # JSON is YAML
    assert medseg("segment", ball, "-o", tmp_path / "out2", "--model", again, "-q", "--seed", "7").code == 0
    second = json.loads((tmp_path / "out2" / "run.json").read_text())
    assert second["outputs"] == record["outputs"]
    assert second["pipeline"] == record["pipeline"]
    assert record["seed"] == 7
    assert record["plan"]["device"] == record["used"]["device"] == "cpu"
    assert record["resources"]["precision"] == "auto"
    for name, digest in record["outputs"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert record["inputs"][0]["sha256"] == hashlib.sha256(ball.read_bytes()).hexdigest()
    walk = ["read", "preprocess[0]", "segment", "postprocess[0]", "measure[0]"]
    assert [step["step"] for step in record["steps"]] == walk + [f"write[{n}]" for n in range(4)]
    assert all(step["seconds"] >= 0 and step["peak_memory_mb"] > 10 for step in record["steps"])


def test_existing_output_is_refused_unless_told(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    medseg("segment", ball, "-o", out, "--model", pipeline, "-q")
    before = (out / "run.json").read_bytes()
    refused = medseg("segment", ball, "-o", out, "--model", pipeline, "-q")
    assert refused.code == 64
    assert "--overwrite" in refused.err
    assert (out / "run.json").read_bytes() == before
    assert medseg("segment", ball, "-o", out, "--model", pipeline, "-q", "--overwrite").code == 0
    assert (out / "run.json").read_bytes() != before  # it holds the time
    (out / "notes.txt").write_text("mine")
    foreign = medseg("segment", ball, "-o", out, "--model", pipeline, "-q", "--overwrite")
    assert foreign.code == 64
    assert "notes.txt" in foreign.err
    assert (out / "notes.txt").read_text() == "mine"


def test_all_48_orientations_give_the_same_physical_mask(
    medseg: Medseg, ball: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """One image in every axis order and direction; the pipeline resamples, so nothing is a mere copy."""
    pipeline = tmp_path / "resampled.yaml"
    pipeline.write_text(
        "preprocess: [{reorient: {to: RAS}}, {resample: {spacing: [1.5, 1.5, 4.0]}}]\n"
        "segment: {threshold: {above: 40}}\n"
        "postprocess: [{close: {radius_mm: 3}}]\n"
        "write: [nifti]\n"
    )
    image = nib.load(ball)
    values = np.asarray(image.dataobj).copy()
    values[20:26, 4:9, 3:6] = 60  # nothing symmetrical
    start = nib.Nifti1Image(values, image.affine)
    start.set_sform(image.affine, 1)
    start.set_qform(None, 0)  # a quaternion cannot say every affine to the last bit
    reference = None
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = start.as_reoriented(np.column_stack([order, flips]))
            path, out = tmp_path / "turned.nii", tmp_path / f"out{order}{flips}"
            nib.save(turned, path)
            assert medseg("segment", path, "-o", out, "--model", pipeline, "-q").code == 0
            mask = nib.load(out / "segmentation.nii.gz")
            assert np.array_equal(mask.affine, nib.load(path).affine)
            back = np.asarray(nib.as_closest_canonical(mask).dataobj)
            reference = back if reference is None else reference
            with subtests.test(order=order, flips=flips):
                assert np.array_equal(back, reference)
    assert reference is not None
    assert 3000 < reference.sum() < 4000


def test_several_inputs_by_position_and_by_name(medseg: Medseg, ball: Path, tmp_path: Path) -> None:
    """Two images on different grids become channels of one volume."""
    image = nib.load(ball)
    other = tmp_path / "other.nii.gz"
    nib.save(
        nib.Nifti1Image(np.asarray(image.dataobj)[:, ::-1] * 2, image.affine @ _flip_j(image.shape[1])), other
    )
    pipeline = tmp_path / "two.yaml"
    pipeline.write_text(
        "inputs: [{name: t1}, {name: flair}]\nsegment: {threshold: {above: 150, channel: 1}}\n"
    )
    ways: list[list[Any]] = [
        [ball, other],
        [ball, "--input", f"flair={other}"],
        ["--input", f"flair={other}", "--input", f"t1={ball}"],
    ]
    for number, arguments in enumerate(ways):
        out = tmp_path / f"out{number}"
        assert medseg("segment", *arguments, "-o", out, "--model", pipeline, "-q").code == 0
        mask = np.asarray(nib.load(out / "segmentation.nii.gz").dataobj)
        assert np.array_equal(mask == 1, np.asarray(image.dataobj) == 100)


def _flip_j(size: int) -> np.ndarray[Any, Any]:
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = size - 1
    return flip


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{tmp}/absent.nii.gz", "-o", "{tmp}/out", "--model", "{pipeline}"], 2, "absent.nii.gz"),
        (["{tmp}/text.nii", "-o", "{tmp}/out", "--model", "{pipeline}"], 2, "text.nii"),
        (["{tmp}/text.txt", "-o", "{tmp}/out", "--model", "{pipeline}"], 2, "text.txt"),
        (["{tmp}/cut.nii.gz", "-o", "{tmp}/out", "--model", "{pipeline}"], 2, "cut.nii.gz"),
        (["{tmp}/empty", "-o", "{tmp}/out", "--model", "{pipeline}"], 2, "empty"),
        (["{ball}", "{ball}", "-o", "{tmp}/out", "--model", "{pipeline}"], 64, "takes 1 input"),
        (["-o", "{tmp}/out", "--model", "{pipeline}"], 64, "takes 1 input"),
        (["--input", "mr={ball}", "-o", "{tmp}/out", "--model", "{pipeline}"], 64, "no input 'mr'"),
        (["--input", "{ball}", "-o", "{tmp}/out", "--model", "{pipeline}"], 64, "NAME=PATH"),
        (["{ball}", "-o", "{tmp}/out", "--model", "{tmp}/typo.yaml"], 4, "did you mean 'keep-largest'"),
        (["{ball}", "-o", "{tmp}/out", "--model", "{tmp}/parameter.yaml"], 4, "did you mean 'above'"),
        (["{ball}", "-o", "{tmp}/out", "--model", "ct-tisue"], 4, "did you mean 'ct-tissue'"),
        (["{ball}", "-o", "{tmp}/out", "--model", "{tmp}/absent.yaml"], 4, "absent.yaml"),
        (["{ball}", "-o", "/proc/out", "--model", "{pipeline}"], 5, "/proc"),
        (["{ball}", "-o", "{ball}/out", "--model", "{pipeline}"], 5, "ball.nii.gz"),
        (["{ball}", "-o", "{tmp}/out", "--model", "{pipeline}", "--sead", "1"], 64, "--sead"),
        (["{ball}", "--model", "{pipeline}"], 64, "--out"),
    ],
)
def test_bad_input_is_one_line_the_right_code_and_no_output(  # noqa: PLR0917 - one table
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "text.nii").write_text("not an image\n" * 100)
    (tmp_path / "text.txt").write_text("not an image\n")
    (tmp_path / "cut.nii.gz").write_bytes(ball.read_bytes()[:-200])
    (tmp_path / "empty").mkdir()
    (tmp_path / "typo.yaml").write_text("segment: threshold\npostprocess: [keep-largst]\n")
    (tmp_path / "parameter.yaml").write_text("segment: {threshold: {abov: 1}}\n")
    before = sorted(tmp_path.rglob("*"))
    filled = [a.format(tmp=tmp_path, ball=ball, pipeline=pipeline) for a in arguments]
    done = medseg("segment", *filled)
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("medseg: ")
    assert done.err.count("\n") == 1
    assert says in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_another_modality_is_refused_unless_forced(medseg: Medseg, tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    pipeline = tmp_path / "mr.yaml"
    pipeline.write_text(
        "inputs: [{name: t1, modality: MR}]\nsegment: {threshold: {above: 150}}\nwrite: [csv]\n"
    )
    refused = medseg("segment", sample, "-o", tmp_path / "out", "--model", pipeline)
    assert refused.code == 2
    assert "is CT, and input 't1' must be MR" in refused.err
    assert not (tmp_path / "out").exists()
    forced = medseg("segment", sample, "-o", tmp_path / "out", "--model", pipeline, "--force-modality", "-q")
    assert forced.code == 0


def test_a_case_can_be_given_a_name(medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path) -> None:
    named = ball.rename(tmp_path / "DOE_JANE_19500101.nii.gz")
    out = tmp_path / "out"
    assert medseg("segment", named, "-o", out, "--model", pipeline, "-q", "--case", "case-7").code == 0
    for path in out.iterdir():
        assert b"DOE" not in path.read_bytes()
    assert json.loads((out / "run.json").read_text())["case"] == "case-7"


def test_device_and_determinism_are_recorded(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "--model", pipeline, "-q", "--deterministic", "--device", "cpu")
    assert done.code == 0
    resources = json.loads((out / "run.json").read_text())["resources"]
    assert (resources["device"], resources["deterministic"]) == ("cpu", True)


def test_a_device_that_is_none_is_refused_before_anything(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    done = medseg("segment", ball, "-o", tmp_path / "out", "--model", pipeline, "--device", "gpu0")
    assert (done.code, len(done.err.splitlines())) == (64, 1)
    assert "--device gpu0: give auto, cpu, cuda or cuda:N" in done.err
    assert not (tmp_path / "out").exists()
