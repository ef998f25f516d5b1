"""`medseg evaluate`."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from PIL import Image  # noqa: TID253  # writes pictures

from medseg.io.nifti import write_labels
from medseg.segmentation import Label, LabelTable
from medseg.volume import Grid

Medseg = Callable[..., Any]
SHAPE = (16, 12, 10)
AFFINE = np.diag([1.0, 1.5, 3.0, 1.0])


def save(path: Path, starts: dict[int, int], names: dict[int, str] | None = None) -> Path:
    """Cubes of 4 x 4 x 4 by value, from a place along i; named where names are given."""
    array = np.zeros(SHAPE, np.uint8)
    for value, start in starts.items():
        array[start : start + 4, 2:6, 2:6] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    if names is None:
        nib.save(nib.Nifti1Image(array, AFFINE), path)
    else:
        table = LabelTable(tuple(Label(value, name) for value, name in names.items()))
        write_labels(array, Grid(SHAPE, AFFINE), path, labels=table, source=None)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A liver moved by 2 mm, and a tumour that was missed."""
    names = {1: "liver", 2: "tumour"}
    return (
        save(tmp_path / "pred.nii.gz", {1: 4}, names),
        save(tmp_path / "ref.nii.gz", {1: 2, 2: 10}, names),
    )


def test_one_case_is_printed_and_nothing_is_written(
    medseg: Medseg, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = medseg("evaluate", *pair)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "label              dice     hd95  note",
        "liver             0.500  2.00 mm",
        "tumour            0.000        -  absent from prediction",
        "(mean of labels)  0.250  2.00 mm",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_tables_are_written_and_replaced_if_asked(
    medseg: Medseg, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "eval"
    done = medseg("evaluate", *pair, "-o", out)
    assert done.code == 0
    assert done.out.endswith(f"Tables and pictures are in {out}. Research use only.\n")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
        "cases.csv",
        "evaluation.json",
        "pictures",
        "pictures/dice.png",
        "pictures/hd95.png",
        "pictures/worst-1-1.png",
        "pictures/worst-1-2.png",
        "report.html",
        "summary.csv",
    ]
    again = medseg("evaluate", *pair, "-o", out)
    assert again.code == 64
    assert again.err == f"medseg: {out} exists; choose another folder or give --overwrite\n"
    assert medseg("evaluate", *pair, "-o", out, "--overwrite", "--metrics", "dice", "-q").out == ""
    with (out / "cases.csv").open(encoding="utf-8", newline="") as file:
        assert {row["metric"] for row in csv.DictReader(file)} == {"dice"}


def test_json_is_what_the_record_says(medseg: Medseg, pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = medseg("evaluate", *pair, "--json", "--labels", "liver", "-o", tmp_path / "eval")
    printed = json.loads(done.out)
    assert printed["only"] == ["liver"]
    assert [row["value"] for row in printed["cases"][0]["results"]] == [0.5, 2.0]
    written = json.loads((tmp_path / "eval" / "evaluation.json").read_text(encoding="utf-8"))
    assert {"cases.csv", "summary.csv", "report.html"} < set(written.pop("outputs"))
    assert written == printed


def test_folders_give_a_summary(medseg: Medseg, tmp_path: Path) -> None:
    for case, start in (("a", 2), ("b", 4), ("c", 2)):
        save(tmp_path / "pred" / f"{case}.nii.gz", {1: start})
        save(tmp_path / "ref" / f"{case}.nii.gz", {1: 2, **({2: 10} if case == "c" else {})})
    done = medseg("evaluate", tmp_path / "pred", tmp_path / "ref", "--metrics", "dice")
    assert done.code == 0
    assert done.err.splitlines() == ["1/3 a", "2/3 b", "3/3 c"]
    assert done.out.splitlines() == [
        "metric  label                  n   mean            95 %     sd  median    min    max",
        "dice    label 1           3 of 3  0.833  0.500 to 1.000  0.289   1.000  0.500  1.000",
        "dice    label 2           1 of 3  0.000               -      -   0.000  0.000  0.000",
        "dice    (mean of labels)  2 of 2  0.417  0.333 to 0.500  0.589   0.417  0.000  0.833",
        "c: note: the prediction has no label 'label 2': counted as absent from it",
    ]


def test_subjects_images_and_numbers_of_all_cases_together(medseg: Medseg, tmp_path: Path) -> None:
    for case, start in (("a", 2), ("b", 4), ("c", 3)):
        save(tmp_path / "pred" / f"{case}.nii.gz", {1: start})
        save(tmp_path / "ref" / f"{case}.nii.gz", {1: 2})
        save(tmp_path / "images" / f"{case}.nii.gz", {250: 2})
    subjects = tmp_path / "subjects.csv"
    subjects.write_text("case,subject\na,1\nb,1\nc,2\n")
    more = ("--metrics", "overall-iou, lesion-f1", "--subjects", subjects, "--images", tmp_path / "images")
    out = tmp_path / "eval"
    done = medseg("evaluate", tmp_path / "pred", tmp_path / "ref", *more, "-o", out, "-q")
    assert (done.code, done.err) == (0, "")
    assert json.loads((out / "evaluation.json").read_text())["intervals"]["over"] == "subjects"
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file) if row["label"] == "label 1"}
    common, either = 4 + 2 + 3, 4 + 6 + 5
    assert float(rows["overall-iou"]["pooled"]) == pytest.approx(common / either)
    assert float(rows["overall-iou"]["pooled_low"]) == pytest.approx(3 / 5)
    assert rows["lesion-f1"]["pooled"] == "1.0"
    printed = medseg("evaluate", tmp_path / "pred", tmp_path / "ref", *more[:4]).out.splitlines()
    assert printed[0].split()[-1] == "pooled"
    assert printed[-1].split()[-1] == "0.600"


def test_results_of_a_cohort_are_predictions(
    medseg: Medseg, ball: Path, pipeline: Path, tmp_path: Path
) -> None:
    images, references = tmp_path / "images", tmp_path / "references"
    for folder in (images, references):
        folder.mkdir()
    truth = nib.load(ball)
    for case in ("one", "two"):
        (images / f"{case}.nii.gz").write_bytes(ball.read_bytes())
        found = (np.asarray(truth.dataobj) > 50).astype(np.uint8)
        nib.save(nib.Nifti1Image(found, truth.affine), references / f"{case}.nii.gz")
    assert medseg("cohort", images, "-o", tmp_path / "out", "--model", pipeline, "-q").code == 0
    done = medseg("evaluate", tmp_path / "out", references, "--json", "-q")
    assert done.code == 0
    cases = json.loads(done.out)["cases"]
    assert [case["case"] for case in cases] == ["one", "two"]
    assert [(row["label"], row["value"]) for case in cases for row in case["results"]] == [
        ("ball", 1.0),
        ("ball", 0.0),
    ] * 2


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--metrics", "dise"), 4, "metrics[0]: no metric is called 'dise'; did you mean 'dice'?"),
        (("--metrics", "dice: {a: 1}"), 4, "metrics[0].dice"),
        (("--labels", "lever"), 64, "no case has a label 'lever'; did you mean 'liver'?"),
        (("--labels", "a,,b"), 64, "give names with a comma between them"),
        (("--metrics", "nsd: {tolerance_mm: -1}"), 4, "metrics[0].nsd.tolerance_mm"),
        (("--subjects", "none.csv"), 2, "none.csv"),
        (("--images", "none.nii.gz"), 2, "none.nii.gz"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    medseg: Medseg, pair: tuple[Path, Path], tmp_path: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    done = medseg("evaluate", *pair, "-o", tmp_path / "eval", *more)
    assert done.code == code
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "eval").exists()


def test_images_are_for_a_folder(medseg: Medseg, pair: tuple[Path, Path]) -> None:
    done = medseg("evaluate", *pair, "--images", pair[0])
    assert (done.code, done.out) == (64, "")
    assert done.err == "medseg: --images: they are drawn into a folder; give it with -o\n"


def test_what_is_wrong_with_files_is_one_line(
    medseg: Medseg, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    lone = save(tmp_path / "p" / "a.nii.gz", {1: 2})
    save(tmp_path / "r" / "b.nii.gz", {1: 2})
    image = nib.load(pair[0])
    away = np.array(image.affine)
    away[:3, 3] += 400
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), away), tmp_path / "away.nii.gz")
    for given, said in (
        ((tmp_path / "none", pair[1]), "no such file or folder"),
        ((tmp_path / "p", tmp_path / "r"), "1 without a reference: a; 1 without a prediction: b."),
        ((tmp_path / "away.nii.gz", pair[1]), "none of its 64 labelled voxels lies in the image"),
        ((lone, tmp_path / "r"), "1 without a reference: a"),
    ):
        done = medseg("evaluate", *given)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert done.err.count("\n") == 1


def test_help_has_no_model_in_it(medseg: Medseg) -> None:
    done = medseg("evaluate", "--help")
    assert done.code == 0
    assert "--metrics" in done.out
    assert "model" not in done.out


def paint(path: Path, *starts: int, white: int = 255) -> Path:
    """A PNG mask of 30 x 20 pixels with squares of 6."""
    from PIL import Image

    array = np.zeros((20, 30), np.uint8)
    for start in starts:
        array[4:10, start : start + 6] = white
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def test_pictures_get_a_scale(medseg: Medseg, tmp_path: Path) -> None:
    """Squares two pixels apart are 1 mm apart where a pixel has 0.5 mm."""
    pair = paint(tmp_path / "pred.png", 6), paint(tmp_path / "ref.png", 8)
    without = medseg("evaluate", *pair, "--metrics", "hd, nsd")
    assert (without.code, without.err.count("\n")) == (2, 1)
    assert "nsd needs a scale" in without.err
    assert "--pixel-size" in without.err
    out = tmp_path / "eval"
    more = ("--metrics", "hd, nsd, volume-error", "--pixel-size", "0.5", "--images", pair[1])
    done = medseg("evaluate", *pair, *more, "-o", out)
    assert (done.code, done.err) == (0, "")
    record = json.loads((out / "evaluation.json").read_text())
    assert record["pixel_size"] == 0.5
    found = {row["metric"]: (row["value"], row["unit"]) for row in record["cases"][0]["results"]}
    assert found["hd"] == (pytest.approx(1.0), "mm")
    assert found["volume-error"] == (pytest.approx(0), "mL")
    assert record["cases"][0]["volumes"][0]["unit"] == "mL"
    assert (out / "pictures" / "worst-1-1.png").exists()


def test_a_pixel_size_of_what_has_a_scale_is_one_line(
    medseg: Medseg, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    done = medseg("evaluate", *pair, "--pixel-size", "0.5")
    assert (done.code, done.out, done.err.count("\n")) == (64, "", 1)
    assert "a pixel size is for PNG and TIFF" in done.err
    assert medseg("evaluate", *pair, "--pixel-size", "0").code == 64


def test_probabilities_of_a_run_are_held_against_a_mask(medseg: Medseg, tmp_path: Path) -> None:
    """A network of random weights is no good, but it says so in every voxel: a score from 0 to 1."""
    from small_network import GRID, LABELS, noise, saved

    from medseg.io.nifti import write_volume

    weights = saved(tmp_path)
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        "labels: {1: {name: liver}, 2: {name: spleen}}\n"
        "segment: {network: {architecture: {unet: {channels: [4, 8]}}, head: softmax, "
        f"weights: [{{path: {weights['path']}, sha256: {weights['sha256']}}}], "
        "window: {patch: [16, 16, 8]}}}\n"
        "write: [nifti, probabilities]\n"
    )
    image = tmp_path / "image.nii.gz"
    write_volume(noise(), image)
    out = tmp_path / "out"
    assert medseg("segment", image, "--model", pipeline, "-o", out, "--engine", "torch", "-q").code == 0
    truth = np.zeros(GRID.shape, np.uint8)
    truth[4:10, 4:10, 4:10] = 1
    reference = tmp_path / "ref.nii.gz"
    write_labels(truth, GRID, reference, labels=LABELS, source=None)
    done = medseg("evaluate", out, reference, "--metrics", "dice, ece, brier", "--json")
    assert (done.code, done.err) == (0, "")
    (case,) = json.loads(done.out)["cases"]
    assert sorted(case["probabilities_sha256"]) == ["liver", "spleen"]
    rows = {(row["metric"], row["label"]): row for row in case["results"]}
    for metric in ("ece", "brier"):
        assert 0 < rows[metric, "liver"]["value"] < 1
        assert rows[metric, "spleen"]["flag"] == "absent from reference"
    plain = medseg("evaluate", reference, reference, "--metrics", "ece")
    assert (plain.code, plain.out, plain.err.count("\n")) == (2, "", 1)
    assert "no probabilities beside it, which ece needs" in plain.err


def test_objects_of_a_picture_are_compared_with_a_picture_of_ids(medseg: Medseg, tmp_path: Path) -> None:
    """`segment` writes NIfTI for a PNG too; ids are numbers without order, and white is one among them."""
    shades, ids = np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint16)
    for number, (row, column) in zip((300, 255, 7, 8), ((2, 2), (2, 20), (20, 2), (20, 30)), strict=True):
        shades[row : row + 9, column : column + 8] = 200
        ids[row : row + 9, column : column + 8] = number
    Image.fromarray(shades).save(tmp_path / "image.png")
    Image.fromarray(ids).save(tmp_path / "ids.png")
    (tmp_path / "nuclei.yaml").write_text(
        "labels: {1: {name: nucleus}}\nsegment: {threshold: {above: 50}}\n"
        "postprocess: [{split: {label: nucleus, separation_mm: null}}]\nwrite: [nifti]\n"
    )
    out = tmp_path / "out"
    done = medseg(
        "segment", tmp_path / "image.png", "-o", out, "--model", tmp_path / "nuclei.yaml", "--pixel-size", 0.5
    )
    assert done.code == 0, done.err
    assert (out / "segmentation-nucleus.nii.gz").is_file()
    done = medseg(
        "evaluate", out, tmp_path / "ids.png", "--pixel-size", 0.5,
        "--metrics", "dice,average-precision,panoptic-quality", "-o", tmp_path / "scores",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "reference: names no label: its 4 values are taken for ids of objects of 'nucleus'" in done.out
    with (tmp_path / "scores" / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["metric"]: row["value"] for row in csv.DictReader(file)}
    assert [float(rows[each]) for each in ("dice", "ap@0.50", "ap@0.95", "pq")] == [1, 1, 1, 1]


def test_a_picture_whose_last_id_is_white_needs_to_be_called_objects(medseg: Medseg, tmp_path: Path) -> None:
    ids = np.zeros((64, 64), np.uint8)
    for number in range(1, 256):
        row, column = divmod(number, 16)
        ids[4 * row : 4 * row + 3, 4 * column : 4 * column + 3] = number
    path = tmp_path / "ids.png"
    Image.fromarray(ids).save(path)
    done = medseg("evaluate", path, path, "--metrics", "average-precision")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "smoothed edges or labels" in done.err
    done = medseg("evaluate", path, path, "--metrics", "panoptic-quality", "--objects", "cell")
    assert done.code == 0, done.err
    head, row = (line.split() for line in done.out.splitlines() if line.startswith(("label", "cell")))
    measured = dict(zip(head, row, strict=False))
    assert (measured["pq"], float(measured["pq-tp"])) == ("1.000", 255)


def test_objects_of_the_first_layer_are_compared_whatever_their_ids(medseg: Medseg, tmp_path: Path) -> None:
    paths = []
    for name, numbers in (("found", (1, 2, 3)), ("true", (3, 1, 2))):
        array = np.zeros(SHAPE, np.uint8)
        for start, number in zip((1, 5, 9), numbers, strict=True):
            array[start : start + 4, 2:6, 2:6] = number
        table = LabelTable(tuple(Label(number, f"nucleus {number}") for number in (1, 2, 3)))
        paths.append(tmp_path / f"{name}.nii.gz")
        write_labels(
            array, Grid(SHAPE, AFFINE), paths[-1], labels=table, source=None, objects={"nucleus": (1, 2, 3)}
        )
    done = medseg("evaluate", *paths, "--metrics", "dice,average-precision,panoptic-quality")
    assert (done.code, done.err) == (0, "")
    head, row = (line.split() for line in done.out.splitlines() if line.startswith(("label", "nucleus")))
    measured = dict(zip(head, row, strict=False))
    assert {measured[each] for each in ("dice", "ap@0.50", "ap@0.95", "pq", "sq", "rq")} == {"1.000"}
