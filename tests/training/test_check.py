import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import AFFINE, SHAPE, decathlon, image, labels, nifti, nnunet, pairs, picture, table

from medseg.training.check import Finding, check_dataset
from medseg.training.dataset import open_dataset


def found(path: Path, kind: str) -> list[Finding]:
    return [each for each in check_dataset(open_dataset(path)) if each.kind == kind]


def serious(path: Path) -> list[tuple[str, str, str | None]]:
    """Errors and warnings: severity, kind, case."""
    findings = check_dataset(open_dataset(path))
    return [(each.severity, each.kind, each.case) for each in findings if each.severity != "info"]


def sound(folder: Path, count: int = 4) -> Path:
    """A dataset without a fault."""
    pairs(folder, [labels(1, 2)] * count)
    table(folder / "who.csv", "case,subject", *(f"case{n},{n}" for n in range(count)))
    table(folder / "dataset.yaml", "labels: [liver, tumour]", "subjects: who.csv", "licence: CC0-1.0")
    return folder


def test_a_sound_dataset_has_no_findings(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    dataset = open_dataset(sound(tmp_path))
    assert check_dataset(dataset, lambda *told: heard.append(told)) == ()
    assert heard[-1] == ("check", 4, 4)


def test_a_mask_beside_its_image_is_told_in_mm(tmp_path: Path) -> None:
    sound(tmp_path)
    moved = AFFINE.copy()
    moved[2, 3] = 6
    nifti(tmp_path / "labels" / "case1.nii.gz", labels(1), moved)
    (finding,) = found(tmp_path, "geometry")
    assert (finding.severity, finding.case) == ("error", "case1")
    assert "6 mm beside the image" in str(finding)


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    decathlon(tmp_path, [labels(1, 2)] * 6)
    (tmp_path / "imagesTr" / "brain_000.nii.gz").unlink()
    (tmp_path / "labelsTr" / "brain_001.nii.gz").unlink()
    (tmp_path / "imagesTr" / "brain_002.nii.gz").write_bytes(b"")
    (tmp_path / "labelsTr" / "brain_003.nii.gz").write_bytes(b"no image")
    assert serious(tmp_path) == [
        ("error", "missing-file", "brain_000"),
        ("error", "missing-file", "brain_001"),
        ("error", "unreadable", "brain_002"),
        ("error", "unreadable", "brain_003"),
    ]
    assert [each.what for each in found(tmp_path, "missing-file")] == [
        "the file of 'mri' does not exist",
        "the file of 'label' does not exist",
    ]


def test_not_a_number_is_told(tmp_path: Path) -> None:
    sound(tmp_path)
    array = image()
    array[0, 0, 0] = np.nan
    nifti(tmp_path / "images" / "case2.nii.gz", array)
    (finding,) = found(tmp_path, "unreadable")
    assert finding.case == "case2"
    assert "finite" in finding.what or "NaN" in finding.what


def test_values_labels_and_masks(tmp_path: Path) -> None:
    sound(tmp_path, 5)
    table(tmp_path / "dataset.yaml", "labels: [liver, tumour, cyst]", "subjects: who.csv", "licence: CC0-1.0")
    nifti(tmp_path / "labels" / "case0.nii.gz", labels(1, 2, 9))
    nifti(tmp_path / "labels" / "case1.nii.gz", labels(0))
    for case in ("case2", "case3"):
        nifti(tmp_path / "labels" / f"{case}.nii.gz", labels(1))
    nifti(tmp_path / "images" / "case4.nii.gz", np.ones(SHAPE, np.float32))
    assert serious(tmp_path) == [
        ("error", "flat-image", "case4"),
        ("error", "label-absent", None),
        ("error", "stray-value", "case0"),
        ("warning", "empty-mask", "case1"),
        ("warning", "label-rare", None),
    ]
    assert "'cyst'" in found(tmp_path, "label-absent")[0].what
    assert "holds 9, which no label has" in found(tmp_path, "stray-value")[0].what


def test_one_image_under_two_ids(tmp_path: Path) -> None:
    sound(tmp_path)
    images = tmp_path / "images"
    (images / "case3.nii.gz").write_bytes((images / "case0.nii.gz").read_bytes())
    (finding,) = found(tmp_path, "duplicate-image")
    assert (finding.severity, finding.case) == ("error", "case3")
    assert "case0" in finding.what
    table(tmp_path / "who.csv", "case,subject", "case0,A", "case1,B", "case2,C", "case3,A")
    assert found(tmp_path, "duplicate-image")[0].severity == "warning"


def test_a_mask_that_is_the_image(tmp_path: Path) -> None:
    sound(tmp_path)
    mask = tmp_path / "labels" / "case0.nii.gz"
    (tmp_path / "images" / "case0.nii.gz").write_bytes(mask.read_bytes())
    assert [each.case for each in found(tmp_path, "same-file")] == ["case0"]


def test_subjects_in_two_splits(tmp_path: Path) -> None:
    pairs(tmp_path, [labels(1)] * 2)
    rows = [
        "images/case0.nii.gz,labels/case0.nii.gz,A,train",
        "images/case1.nii.gz,labels/case1.nii.gz,A,test",
    ]
    file = table(tmp_path / "c.csv", "image,label,subject,split", *rows)
    (finding,) = found(file, "subject-in-two-splits")
    assert finding.severity == "error"
    assert "'case0' (train)" in finding.what


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["ankle_L", "ankle_R", "hip_L"], True),
        (["knee_01_left", "knee_01_right", "knee_02_left"], True),
        (["p01_s1", "p01_s2", "p02_s1"], True),
        (["hippocampus_001", "hippocampus_003", "hippocampus_004"], False),
        (["a", "b", "c"], False),
    ],
)
def test_ids_that_look_like_one_person(tmp_path: Path, names: Sequence[str], alike: bool) -> None:
    (finding,) = found(pairs(tmp_path, [labels(1)] * len(names), names=names), "subjects-unstated")
    assert finding.severity == ("warning" if alike else "info")


def test_cases_that_differ(tmp_path: Path) -> None:
    sound(tmp_path)
    nifti(tmp_path / "images" / "case0.nii.gz", image(0, 5000), np.diag([-1.5, 2, 4, 1.0]))
    nifti(tmp_path / "labels" / "case0.nii.gz", labels(1, 2), np.diag([-1.5, 2, 4, 1.0]))
    findings = check_dataset(open_dataset(tmp_path))
    assert [(each.severity, each.kind) for each in findings] == [
        ("info", "orientations"),
        ("info", "scale"),
        ("info", "spacings"),
    ]
    assert "RAS 3, LAS 1" in findings[0].what
    assert "1.5 x 2 x 3 to 1.5 x 2 x 4 mm" in findings[2].what


def test_pictures_of_other_channels(tmp_path: Path) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[1:3] = 1
    for number in range(4):
        shape = (6, 5, 3) if number == 3 else (6, 5)
        noise = np.random.default_rng(number).integers(0, 255, shape, np.uint8)
        picture(tmp_path / "images" / f"p{number}.png", noise)
        picture(tmp_path / "labels" / f"p{number}.png", mask)
    (finding,) = found(tmp_path, "channels")
    assert (finding.severity, finding.case) == ("error", "p3")
    assert finding.what == "channels: red, green, blue; 3 cases have image"


def test_sides_regions_and_tests_are_told(tmp_path: Path) -> None:
    names = {"background": 0, "kidney left": 1, "kidney right": 2, "both": [1, 2]}
    nnunet(tmp_path, [labels(1, 2)] * 3, channels=["CT"], names=names)
    nifti(tmp_path / "imagesTs" / "t_0000.nii.gz", image(7))
    kinds = {each.kind: str(each) for each in check_dataset(open_dataset(tmp_path))}
    assert "'kidney left' and 'kidney right' are left and right" in kinds["sides"]
    assert "sigmoid" in kinds["overlapping-labels"]
    assert "no licence" in kinds["licence-unstated"]
    assert kinds["no-mask"] == "1 test case without a mask"


def test_a_case_without_a_mask(tmp_path: Path) -> None:
    sound(tmp_path)
    (tmp_path / "labels" / "case3.nii.gz").unlink()
    assert serious(tmp_path) == [("warning", "no-mask", "case3")]


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    sound(tmp_path, 1)
    (tmp_path / "images" / "case0.nii.gz").write_bytes(b"")
    assert ("error", "no-cases", None) in serious(tmp_path)


def test_no_finding_holds_a_path(tmp_path: Path) -> None:
    folder = sound(tmp_path / "DOE^JANE")
    (folder / "images" / "case0.nii.gz").write_bytes(b"")
    nifti(folder / "labels" / "case1.nii.gz", labels(1)[1:])
    (folder / "labels" / "case2.nii.gz").write_bytes(b"junk")
    text = json.dumps([each.as_json() for each in check_dataset(open_dataset(folder))])
    assert "DOE" not in text
    assert "case0.nii" not in text
    assert str(tmp_path) not in text
