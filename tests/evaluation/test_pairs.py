import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medseg.errors import InputError
from medseg.evaluation import match_files
from medseg.evaluation.pairs import match_images

Save = Callable[..., Path]


def results(folder: Path, save: Save, *more: str, case: str | None = None) -> Path:
    for name in ("segmentation.nii.gz", *more):
        save(folder / name, {1: 2})
    if case is not None:
        (folder / "run.json").write_text(json.dumps({"case": case}))
    return folder


def test_two_files_are_a_pair_named_after_the_reference(tmp_path: Path, save: Save) -> None:
    one, two = save(tmp_path / "mine.nii.gz", {1: 2}), save(tmp_path / "case-7.nii.gz", {1: 2})
    (pair,) = match_files(one, two)
    assert (pair.case, pair.prediction, pair.reference) == ("case-7", (one,), (two,))


def test_folders_are_matched_by_name_without_suffix(tmp_path: Path, save: Save) -> None:
    for name in ("b", "a"):
        save(tmp_path / "pred" / f"{name}.nii.gz", {1: 2})
        save(tmp_path / "ref" / f"{name}.nii", {1: 2})
    (tmp_path / "pred" / "dataset.json").write_text("{}")
    (tmp_path / "pred" / ".hidden.nii.gz").write_bytes(b"")
    assert [
        (pair.case, pair.prediction[0].name, pair.reference[0].name)
        for pair in match_files(tmp_path / "pred", tmp_path / "ref")
    ] == [("a", "a.nii.gz", "a.nii"), ("b", "b.nii.gz", "b.nii")]


def test_results_of_a_cohort_are_matched_by_their_folders(tmp_path: Path, save: Save) -> None:
    out = tmp_path / "out"
    results(out / "001", save, "segmentation-body.nii.gz", "segmentation-slices.nii.gz", case="001")
    results(out / "002", save, "segmentation-body-slices.nii.gz")
    (out / "empty").mkdir()
    (out / "cohort.csv").write_text("case\n")
    for case in ("001", "002"):
        save(tmp_path / "ref" / f"{case}.nii.gz", {1: 2})
    first, second = match_files(out, tmp_path / "ref")
    assert [path.name for path in first.prediction] == ["segmentation.nii.gz", "segmentation-body.nii.gz"]
    assert [path.name for path in second.prediction] == ["segmentation.nii.gz"]
    assert (first.case, second.case) == ("001", "002")


def test_a_folder_of_results_is_one_case_with_the_id_of_its_record(tmp_path: Path, save: Save) -> None:
    reference = save(tmp_path / "truth.nii.gz", {1: 2})
    assert [p.case for p in match_files(results(tmp_path / "a", save, case="dicom-12"), reference)] == [
        "dicom-12"
    ]
    assert [p.case for p in match_files(results(tmp_path / "b", save, case="../x y"), reference)] == ["truth"]
    assert [p.case for p in match_files(results(tmp_path / "c", save), reference)] == ["truth"]


def test_what_has_no_counterpart_is_named(tmp_path: Path, save: Save) -> None:
    for name in ("a", "only-predicted"):
        save(tmp_path / "pred" / f"{name}.nii.gz", {1: 2})
    for name in ("a", "only-drawn"):
        save(tmp_path / "ref" / f"{name}.nii.gz", {1: 2})
    with pytest.raises(InputError) as refused:
        match_files(tmp_path / "pred", tmp_path / "ref")
    assert "1 without a reference: only-predicted; 1 without a prediction: only-drawn." in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_is_found_in_a_folder_of_its_own(tmp_path: Path, save: Save) -> None:
    file = save(tmp_path / "a.nii.gz", {1: 2})
    save(tmp_path / "ref" / "a.nii.gz", {1: 2})
    assert [pair.case for pair in match_files(file, tmp_path / "ref")] == ["a"]


def test_names_that_may_be_a_patients_are_no_ids(tmp_path: Path, save: Save) -> None:
    spaced = save(tmp_path / "Jane Doe.nii.gz", {1: 2})
    (pair,) = match_files(save(tmp_path / "p.nii.gz", {1: 2}), spaced)
    assert pair.case.startswith("case-")
    assert len(pair.case) == len("case-") + 12
    dicom = tmp_path / "doe.dcm"
    dicom.write_bytes(bytes(128) + b"DICM")
    (pair,) = match_files(tmp_path / "p.nii.gz", dicom)
    assert pair.case.startswith("dicom-")


def test_two_masks_of_one_name_and_none_at_all_are_refused(tmp_path: Path, save: Save) -> None:
    file = save(tmp_path / "two" / "a.nii.gz", {1: 2})
    save(tmp_path / "two" / "a.nii", {1: 2})
    with pytest.raises(InputError, match="two masks are called 'a'"):
        match_files(tmp_path / "two", file)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no masks"):
        match_files(tmp_path / "none", file)
    with pytest.raises(InputError, match="does not exist"):
        match_files(tmp_path / "absent.nii.gz", file)


def test_images_have_the_names_of_their_cases(tmp_path: Path, save: Save) -> None:
    for name in ("a", "b"):
        save(tmp_path / "pred" / f"{name}.nii.gz", {1: 2})
        save(tmp_path / "ref" / f"{name}.nii.gz", {1: 2})
    image, _ = save(tmp_path / "images" / "a.nii", {9: 2}), save(tmp_path / "images" / "other.nii.gz", {9: 2})
    pairs = match_files(tmp_path / "pred", tmp_path / "ref")
    assert match_images(tmp_path / "images", pairs) == {"a": image}
    with pytest.raises(InputError, match=r"holds no image that is called as a case, such as c\.nii\.gz"):
        match_images(tmp_path / "pred", [replace(pair, case="c") for pair in pairs])
    with pytest.raises(InputError, match="one image for 2 cases"):
        match_images(image, pairs)


def test_the_image_of_one_case_is_a_file_or_a_folder_of_slices(tmp_path: Path, save: Save) -> None:
    pairs = match_files(save(tmp_path / "mine.nii.gz", {1: 2}), save(tmp_path / "case-7.nii.gz", {1: 2}))
    image = save(tmp_path / "scan" / "image.nii.gz", {9: 2})
    assert match_images(image, pairs) == {"case-7": image}
    assert match_images(image.parent, pairs) == {"case-7": image.parent}
