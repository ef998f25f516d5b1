import csv
from pathlib import Path

import numpy as np
import pytest
from results import result_of

from medseg.builtin.write.csv_table import Csv
from medseg.prediction import Measured, Result
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Source

NUMBERS = [0.1 + 0.2, 1e-300, -29.5, 33.510321638291124, 7, 12345678901234567, -0.0]


def result(*measurements: Measured, case: str = "case-01", decided: tuple[str, ...] = ()) -> Result:
    grid = Grid((2, 2, 2), np.eye(4))
    labels = LabelTable((Label(1, "liver"),))
    segmentation = Segmentation(np.zeros((1, 2, 2, 2), np.uint8), grid, labels)
    return result_of(segmentation, measurements, source=Source(grid, "array", decided=decided), case=case)


def rows(
    folder: Path, *measurements: Measured, case: str = "case-01", decided: tuple[str, ...] = ()
) -> list[dict[str, str]]:
    (path,) = Csv.check(Csv()(result(*measurements, case=case, decided=decided), folder), folder=folder)
    assert path.name == "measurements.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_read_back_as_they_were(tmp_path: Path) -> None:
    given = [Measured(label="liver", quantity=f"q{n}", value=v, unit="mL") for n, v in enumerate(NUMBERS)]
    read = rows(tmp_path, *given)
    assert [type(v)(row["value"]) for row, v in zip(read, NUMBERS, strict=True)] == NUMBERS
    assert read[4]["value"] == "7"
    assert read[5]["value"] == "12345678901234567"


def test_every_column_has_its_place(tmp_path: Path) -> None:
    row = Measured(
        label="liver",
        quantity="volume",
        value=1.5,
        unit="mL",
        object=3,
        interval=(1.0, 2.0),
        flag="truncated: left",
    )
    assert rows(tmp_path, row) == [
        {
            "case": "case-01",
            "label": "liver",
            "object": "3",
            "quantity": "volume",
            "value": "1.5",
            "unit": "mL",
            "low": "1.0",
            "high": "2.0",
            "flag": "truncated: left",
            "note": "",
        }
    ]


def test_what_cannot_be_said_is_an_empty_cell(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, Measured(label="liver", quantity="volume", value=None, flag="empty"))
    assert (row["value"], row["object"], row["low"], row["high"]) == ("", "", "", "")


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx", "\n=1", "-1+1", "+1_0"]
)
def test_text_that_a_spreadsheet_would_run_is_defused(tmp_path: Path, text: str) -> None:
    (row,) = rows(tmp_path, Measured(label=text, quantity="volume", value=text, flag=text), case=text)
    assert {row["label"], row["value"], row["flag"], row["case"]} == {f"'{text}"}


@pytest.mark.parametrize("text", ["-5", "+1.5e-3", "liver, left", 'the "liver"', "肝臓", "a=b"])
def test_harmless_text_stays_as_it_is(tmp_path: Path, text: str) -> None:
    (row,) = rows(tmp_path, Measured(label=text, quantity="q", value=text))
    assert (row["label"], row["value"]) == (text, text)


def test_what_a_policy_decided_stands_in_every_row(tmp_path: Path) -> None:
    given = [Measured(label="liver", quantity=quantity, value=1) for quantity in ("volume", "voxels")]
    read = rows(tmp_path, *given, decided=("gaps resampled: 1 slice, at z=12.50 mm", "tilt resampled"))
    assert [row["note"] for row in read] == ["gaps resampled: 1 slice, at z=12.50 mm; tilt resampled"] * 2
    (row,) = rows(tmp_path, given[0], decided=("=1+1",))
    assert row["note"] == "'=1+1"


def test_lines_end_in_line_feeds_and_no_measurements_leave_the_header(tmp_path: Path) -> None:
    assert rows(tmp_path) == []
    content = (tmp_path / "measurements.csv").read_bytes()
    assert content == b"case,label,object,quantity,value,unit,low,high,flag,note\n"


def test_numbers_of_numpy_are_written_as_numbers(tmp_path: Path) -> None:
    read = rows(
        tmp_path,
        Measured(label="liver", quantity="a", value=np.int64(5)),  # type: ignore[arg-type]  # as a plugin may
        Measured(label="liver", quantity="b", value=np.float64(0.5)),
    )
    assert [row["value"] for row in read] == ["5", "0.5"]
