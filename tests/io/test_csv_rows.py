from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import InputError
from medseg.io.csv_rows import read_rows


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_rows_as_spreadsheets_write_them(tmp_path: Path, between: str) -> None:
    text = "\ufeffcase,image \r\n\r\n a,x.nii\r\n,\r\n".replace(",", between)
    (tmp_path / "a.csv").write_bytes(text.encode())
    columns, rows = read_rows(tmp_path / "a.csv")
    assert columns == ["case", "image"]
    assert rows == [(3, {"case": "a", "image": "x.nii"})]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a,a\n", "'a' is there twice"),
        (b"a,b\n1\n", "line 2: has 1 cells, the header has 2"),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b'a\n"b', "line 2: "),
    ],
)
def test_faults_are_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_rows(tmp_path / "a.csv")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=60) | st.text('ab,;"\n\r\t\0', max_size=40).map(str.encode))
def test_whatever_a_file_holds_is_read_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a.csv"
        file.write_bytes(content)
        try:
            columns, rows = read_rows(file)
        except InputError:
            return
        assert all(list(row) == columns for _, row in rows)


def test_columns_may_be_called_otherwise_than_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Case,image\na,x.nii\n")
    assert read_rows(tmp_path / "a.csv", called=str.lower)[1] == [(2, {"case": "a", "image": "x.nii"})]
    (tmp_path / "a.csv").write_text("Case,case\na,b\n")
    assert read_rows(tmp_path / "a.csv")[0] == ["Case", "case"]
    with pytest.raises(InputError, match="column 'case' is there twice"):
        read_rows(tmp_path / "a.csv", called=str.lower)
