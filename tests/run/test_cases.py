import hashlib
from pathlib import Path

import pytest

from medseg.errors import InputError, UsageError
from medseg.pipeline import Input
from medseg.run.cases import TABLES, find_cases

ONE = (Input("image"),)
TWO = (Input("t1"), Input("flair"))
STUDY = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"


def table(folder: Path, text: str | bytes, name: str = "cases.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def ids(source: Path, inputs: tuple[Input, ...] = ONE) -> list[str]:
    return [task.case for task in find_cases(source, inputs, out=source.parent / "out").cases]


def refused(source: Path, reason: str, inputs: tuple[Input, ...] = ONE) -> None:
    with pytest.raises((InputError, UsageError), match=reason) as caught:
        ids(source, inputs)
    assert str(caught.value).isprintable()


# ---- CSV


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    path = table(tmp_path, "case,t1,flair\na,x/t1.nii,/data/f.nii\nb,t1.nii,f.nii\n")
    tasks = find_cases(path, TWO, out=tmp_path / "out").cases
    assert [(task.case, task.images) for task in tasks] == [
        ("a", {"t1": tmp_path / "x" / "t1.nii", "flair": Path("/data/f.nii")}),
        ("b", {"t1": tmp_path / "t1.nii", "flair": tmp_path / "f.nii"}),
    ]
    assert tasks[1].said_by == f"{path}, line 3"


@pytest.mark.parametrize(
    "text", ["image;case\na.nii;x\n", "\ufeffcase,image\r\nx,a.nii\r\n", "image\tcase\na\tx"]
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str) -> None:
    assert ids(table(tmp_path, text)) == ["x"]


@pytest.mark.parametrize("name", ["case", "Case", "CASE", " cAsE "])
def test_the_column_of_ids_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    found = find_cases(table(tmp_path, f"{name},image\nx,a.nii\n"), ONE, out=tmp_path / "out")
    assert ([task.case for task in found.cases], found.notes) == (["x"], ())


def test_an_input_called_case_in_capitals_keeps_its_column(tmp_path: Path) -> None:
    assert ids(table(tmp_path, "Case\nscan.nii\n"), (Input("Case"),)) == ["scan"]
    refused(table(tmp_path, "Case\nscan.nii\n"), "has no column 'case'", (Input("case"),))


def test_quoted_cells_and_blank_lines(tmp_path: Path) -> None:
    source = table(tmp_path, 'image,case\n\n"a, b.nii",x\n,\n')
    (task,) = find_cases(source, ONE, out=tmp_path / "out").cases
    assert task.images == {"image": tmp_path / "a, b.nii"}


def test_other_columns_are_told_and_not_used(tmp_path: Path) -> None:
    found = find_cases(table(tmp_path, "image,age,site\na.nii,60,x\n"), ONE, out=tmp_path / "out")
    assert found.notes == ("columns not used: age, site",)
    assert [task.case for task in found.cases] == ["a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("image\n", "holds no cases"),
        ("imagee,case\na.nii,x\n", "has no column 'image'; did you mean 'imagee'"),
        ("image,image\na,b\n", "column 'image' is there twice"),
        ("image,case,Case\na,b,c\n", "column 'case' is there twice"),
        ("image,case\na.nii\n", "line 2: has 1 cells, the header has 2"),
        ("image,case\n,x\n", "line 2: 'image' is empty"),
        ('image\n"a.nii\n', r"line \d: "),
        (b"image\nM\xfcller.nii\n", "is not a text file in UTF-8"),
        ("image,case\na.nii,x\nb.nii,X\n", "line 2 and .*line 3 are both case 'X'"),
        ("image\np1/ct.nii\np2/ct.nii\n", "both case 'ct'; give each an id"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_one_line(tmp_path: Path, text: str | bytes, reason: str) -> None:
    refused(table(tmp_path, text), reason)


@pytest.mark.parametrize(
    "case", [".hidden", "..", "a/b", "a b", "Müller", "x" * 81, "=1+1", *TABLES, "SUMMARY.csv"]
)
def test_an_id_that_cannot_name_a_folder_is_refused(tmp_path: Path, case: str) -> None:
    refused(table(tmp_path, f"image,case\na.nii,{case}\n"), "line 2: .* cannot be a case id")


@pytest.mark.parametrize("case", ["a", "A-1_b.c", "-x", "x" * 80, "7"])
def test_a_plain_id_is_taken_as_it_is(tmp_path: Path, case: str) -> None:
    assert ids(table(tmp_path, f"image,case\na.nii,{case}\n")) == [case]


def test_an_input_may_be_called_case(tmp_path: Path) -> None:
    source = table(tmp_path, "case\nscan one.nii.gz\nscan_2.nii.gz\n")
    assert ids(source, (Input("case"),)) == [ids(source, (Input("case"),))[0], "scan_2"]


# ---- ids


def test_stems_and_hashes(tmp_path: Path) -> None:
    source = table(tmp_path, f"image\na.b.nii.gz\nc.NII\nd.mha\nMüller Anna.nii.gz\nabsent\n{STUDY}\n")
    found = ids(source)
    assert found[:3] == ["a.b", "c", "d"]
    first = hashlib.sha256((STUDY / "ct001.dcm").read_bytes()).hexdigest()[:12]
    assert found[5] == f"dicom-{first}"
    named = [hashlib.sha256(name.encode()).hexdigest()[:12] for name in ("Müller Anna.nii.gz", "absent")]
    assert found[3:5] == [f"case-{digest}" for digest in named]


# ---- folders


def test_a_folder_has_images_and_folders_of_dicom_in_the_order_of_their_names(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "b" / "deeper").mkdir(parents=True)
    (source / "b" / "deeper" / "IM1").write_bytes((STUDY / "ct001.dcm").read_bytes())
    (source / "papers").mkdir()
    (source / "papers" / "x.txt").touch()
    for name in ("c.nii.gz", "a.png", "notes.txt", ".hidden.nii"):
        (source / name).touch()
    found = find_cases(source, ONE, out=tmp_path / "out")
    first = hashlib.sha256((STUDY / "ct001.dcm").read_bytes()).hexdigest()[:12]
    assert [task.case for task in found.cases] == ["a", f"dicom-{first}", "c"]
    assert found.notes == ("2 things in the folder are no image and left aside",)


def test_results_inside_the_folder_are_no_cases(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "seg.dcm").touch()
    assert [task.case for task in find_cases(tmp_path, ONE, out=tmp_path / "out").cases] == ["a"]
    assert len(find_cases(tmp_path, ONE, out=tmp_path / "elsewhere").cases) == 2


def test_what_is_no_cohort_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.nii").touch()
    refused(tmp_path / "empty", "holds no cases")
    refused(tmp_path / "a.nii", "neither a folder nor a .csv file; for one image use `medseg segment`")
    refused(STUDY, "holds DICOM files itself")
    refused(tmp_path, "takes 2 inputs.*write a CSV file with the columns t1, flair", TWO)


def test_one_study_twice_is_refused_naming_both(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "1.dcm").write_bytes((STUDY / "ct001.dcm").read_bytes())
    refused(tmp_path / "in", "first and .*second are both case 'dicom-")


def test_an_archive_is_called_after_its_content_and_a_pair_after_its_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("DOE JANE.zip", "DOE.tar.gz"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    for name in ("brain.hdr", "brain.img"):
        (tmp_path / "in" / name).write_bytes(b"")
    digests = [hashlib.sha256(name.encode()).hexdigest()[:12] for name in ("DOE JANE.zip", "DOE.tar.gz")]
    assert ids(tmp_path / "in") == [f"dicom-{digest}" for digest in digests] + ["brain"]
