import shutil
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


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
def test_names_in_an_archive_are_hidden_too(tmp_path: Path, form: str) -> None:
    (tmp_path / "Doe" / "Jane").mkdir(parents=True)
    (tmp_path / "Doe" / "Jane" / "doe1.dcm").touch()
    study = Path(shutil.make_archive(str(tmp_path / "case"), form, tmp_path / "Doe"))
    told = f"{study.name}: Jane/doe1.dcm and doe1.dcm are 5.0 mm apart"
    assert without_names(told, {"ct": study}) == "<ct>: <ct> and <ct> are 5.0 mm apart"


def test_names_of_members_are_hidden_where_the_archive_cannot_be_listed() -> None:
    told = "case.zip: member '../Doe \\x27Jane\\x27.dcm' leads out of the archive's folder"
    written = without_names(told, {"ct": Path("case.zip")})
    assert written == "<ct>: a member leads out of the archive's folder"


def test_words_that_only_contain_a_name_stay(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert without_names("in: is inside", {"ct": tmp_path / "in"}) == "<ct>: is inside"


@pytest.mark.parametrize("name", ["3", "15", "1.5", "2-1", "12345"])
def test_a_short_number_stays_though_a_file_has_it_for_its_name(name: str) -> None:
    told = f"ct: {name} slices, {name} mm apart"
    assert without_names(told, {"ct": Path("/data") / name}) == told
    assert (
        without_names(f"/data/{name}: {name} slices", {"ct": Path("/data") / name}) == f"<ct>: {name} slices"
    )


def test_slices_named_by_numbers_leave_the_numbers_of_a_reason(tmp_path: Path) -> None:
    (tmp_path / "Doe").mkdir()
    for number in range(1, 30):
        (tmp_path / "Doe" / str(number)).touch()
    told = "Doe: slices 14 and 15 are 15 mm apart: 2 slices are probably missing"
    assert without_names(told, {"ct": tmp_path / "Doe"}) == told.replace("Doe", "<ct>")


def test_a_long_number_may_be_a_patients() -> None:
    assert without_names("00471123: no DICOM", {"ct": Path("00471123")}) == "<ct>: no DICOM"


def test_a_name_within_a_word_or_a_replacement_stays(tmp_path: Path) -> None:
    for name in ("a", "ct"):
        (tmp_path / name).touch()
    told = "a: ct is at a place; a2, data"
    assert without_names(told, {"ct": tmp_path}) == "<ct>: <ct> is at <ct> place; a2, data"


@pytest.mark.parametrize(
    "path", [Path("x" * 300), Path("/in") / ("Doe" * 100), Path("a\0b"), Path("Doe\ud800")], ids=range(4)
)
def test_a_path_that_cannot_be_looked_up_is_hidden(path: Path) -> None:
    told = f"{path}: the name is too long"
    assert without_names(told, {"ct": path}) == "<ct>: the name is too long"


def test_a_loop_of_links_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "doe").symlink_to("jane")
    (tmp_path / "jane").symlink_to("doe")
    assert without_names(f"{tmp_path / 'doe'}: loop", {"ct": tmp_path / "doe"}) == "<ct>: loop"


@pytest.mark.parametrize("form", ["typed", "absolute", "resolved"])
def test_the_output_folder_and_the_folders_above_inputs_are_hidden(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real" / "DOE_JANE").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    image, out = Path("link/DOE_JANE/ct.nii"), Path("link/DOE_out")
    ways = {"typed": lambda p: p, "absolute": Path.absolute, "resolved": Path.resolve}
    way = ways[form]
    told = f"{way(out)}/case_00 was not written; {way(image)}, {way(image.parent)} and {way(image.parent)}/b"
    said = without_names(told, {"ct": image}, out)
    assert said == "<out>/case_00 was not written; <ct>, <folder of ct> and <folder of ct>/b"


def test_a_folder_typed_as_a_plain_word_is_replaced_in_paths_only() -> None:
    told = "in/b.nii and in: does not fit in memory, left out; out/a exists"
    said = without_names(told, {"ct": Path("in/a.nii")}, Path("out"))
    assert said == "<folder of ct>/b.nii and <folder of ct>: does not fit in memory, left out; <out>/a exists"


def test_names_as_errors_of_python_write_them() -> None:
    problem = FileNotFoundError(2, "No such file", "/in/Doe  'Jane'\n.nii")
    assert "Jane" not in without_names(reason(problem), {"ct": Path("/in/Doe  'Jane'\n.nii")})
