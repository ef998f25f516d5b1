from pathlib import Path

import pytest

from medseg.errors import InputError
from medseg.run.reasons import reason, without_names


def test_a_reason_is_one_line_and_names_the_step() -> None:
    problem = InputError("ct.nii: is MR")
    problem.add_note("segment: threshold (medseg 1)")
    assert reason(problem) == "ct.nii: is MR [segment: threshold (medseg 1)]"
    assert reason(KeyError("a\nb")).startswith("a bug in medseg, please report it: KeyError:")
    assert "\n" not in reason(ValueError("a\nb"))


@pytest.mark.parametrize(
    "told",
    [
        "{path}: does not exist",
        "{name}: does not exist",
        "cannot read {path} or {name}",
    ],
)
def test_paths_become_the_inputs_name(told: str, tmp_path: Path) -> None:
    path = tmp_path / "smith_john" / "Smith John.nii.gz"
    written = without_names(told.format(path=path, name=path.name), {"ct": path})
    assert "mith" not in written
    assert "<ct>" in written


def test_files_of_a_dicom_folder_are_hidden_too(tmp_path: Path) -> None:
    (tmp_path / "Doe" / "Jane").mkdir(parents=True)
    (tmp_path / "Doe" / "Jane" / "doe1.dcm").touch()
    told = "Doe: Jane/doe1.dcm and doe1.dcm are 5.0 mm apart, the others 2.5 mm"
    assert (
        without_names(told, {"ct": tmp_path / "Doe"})
        == "<ct>: <ct> and <ct> are 5.0 mm apart, the others 2.5 mm"
    )


def test_words_that_only_contain_a_name_stay(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert without_names("in: is inside", {"ct": tmp_path / "in"}) == "<ct>: is inside"
