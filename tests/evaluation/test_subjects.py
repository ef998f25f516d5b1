from pathlib import Path

import pytest

from medseg.errors import InputError
from medseg.evaluation.subjects import read_subjects


def table(folder: Path, text: str) -> Path:
    path = folder / "subjects.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_subject_of_each_case(tmp_path: Path) -> None:
    path = table(tmp_path, "case,side,subject\na,left,1\nb,right,1\nc,left,2\nelsewhere,left,3\n")
    assert read_subjects(path, ["a", "b", "c"]) == {"a": "1", "b": "1", "c": "2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case,person\na,1\n", "has no column 'subject'"),
        ("case,subject\na,1\n", "has no subject for 1 of 2 cases, the first is 'b'"),
        ("case,subject\na,1\nb,\n", "line 3: the subject is empty"),
        ("case,subject\na,1\na,2\nb,1\n", "line 3: case 'a' has another subject above"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_subjects(table(tmp_path, text), ["a", "b"])
