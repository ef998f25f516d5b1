import csv
from pathlib import Path

import numpy as np
import pytest
from results import result_of

from medseg.builtin.write.wide_table import WideTable, column_name
from medseg.prediction import Measured
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Source


def tables(
    folder: Path, *measurements: Measured, decided: tuple[str, ...] = ()
) -> dict[str, list[dict[str, str]]]:
    """The rows of each file that is written, by its name."""
    grid = Grid((2, 2, 2), np.eye(4))
    labels = LabelTable((Label(1, "spleen"), Label(2, "liver")))
    segmentation = Segmentation(np.zeros((1, 2, 2, 2), np.uint8), grid, labels)
    result = result_of(segmentation, measurements, source=Source(grid, "array", decided=decided))
    read = {}
    for path in WideTable.check(WideTable()(result, folder), folder=folder):
        with path.open(encoding="utf-8", newline="") as file:
            read[path.name] = list(csv.DictReader(file))
    return read


def test_a_label_is_a_row_and_a_quantity_a_column_with_its_unit(tmp_path: Path) -> None:
    read = tables(
        tmp_path,
        Measured(label="liver", quantity="volume", value=0.1 + 0.2, unit="mL"),
        Measured(label="liver", quantity="voxels", value=12),
        Measured(label="liver", quantity="qc", value="ok"),
        Measured(label="spleen", quantity="volume", value=7.5, unit="mL"),
        decided=("gaps resampled: 1 slice, at z=12.50 mm",),
    )
    assert list(read) == ["structures.csv"]
    spleen, liver = read["structures.csv"]
    assert list(liver) == ["case", "label", "volume_mL", "voxels", "qc", "flags", "note"]
    assert (liver["label"], float(liver["volume_mL"]), liver["voxels"], liver["qc"]) == (
        "liver",
        0.1 + 0.2,
        "12",
        "ok",
    )
    assert (spleen["label"], spleen["volume_mL"], spleen["voxels"]) == ("spleen", "7.5", "")
    assert {row["case"] for row in (liver, spleen)} == {"case-01"}
    assert {row["note"] for row in (liver, spleen)} == {"gaps resampled: 1 slice, at z=12.50 mm"}


@pytest.mark.parametrize(
    ("quantity", "unit", "column"),
    [
        ("volume", "mL", "volume_mL"),
        ("surface_area", "mm²", "surface_area_mm2"),
        ("volume", "px³", "volume_px3"),
        ("largest_piece", "%", "largest_piece_percent"),
        ("intensity_mean", "g/mL", "intensity_mean_g_per_mL"),
        ("host", "", "host"),
    ],
)
def test_units_are_spelt_in_letters_and_digits(quantity: str, unit: str, column: str) -> None:
    assert column_name(quantity, unit) == column


def test_bounds_stand_beside_their_value_whichever_label_has_them(tmp_path: Path) -> None:
    read = tables(
        tmp_path,
        Measured(label="spleen", quantity="volume", value=None, unit="mL", flag="not given"),
        Measured(label="spleen", quantity="voxels", value=3),
        Measured(label="liver", quantity="volume", value=2.0, unit="mL", interval=(1.5, 2.5)),
    )
    spleen, liver = read["structures.csv"]
    assert list(liver)[2:6] == ["volume_mL", "volume_mL_low", "volume_mL_high", "voxels"]
    assert (liver["volume_mL_low"], liver["volume_mL_high"]) == ("1.5", "2.5")
    assert (spleen["volume_mL"], spleen["volume_mL_low"], spleen["volume_mL_high"]) == ("", "", "")


def test_lesions_are_a_table_of_their_own(tmp_path: Path) -> None:
    read = tables(
        tmp_path,
        Measured(label="liver", quantity="lesions", value=2),
        Measured(label="liver", quantity="volume", value=3.0, unit="mL", object=1),
        Measured(label="liver", quantity="host", value="spleen", object=1),
        Measured(label="liver", quantity="volume", value=0.5, unit="mL", object=4),
        Measured(label="spleen", quantity="volume", value=0.25, unit="mL", object=1),
    )
    assert list(read) == ["structures.csv", "objects.csv"]
    assert list(read["structures.csv"][0]) == ["case", "label", "lesions", "flags", "note"]
    found = [(row["label"], row["object"], row["volume_mL"], row["host"]) for row in read["objects.csv"]]
    assert found == [("liver", "1", "3.0", "spleen"), ("liver", "4", "0.5", ""), ("spleen", "1", "0.25", "")]


def test_a_flag_is_said_once_with_what_it_is_about(tmp_path: Path) -> None:
    cut = "truncated: superior"
    read = tables(
        tmp_path,
        Measured(label="liver", quantity="volume", value=1.0, unit="mL", flag=f"{cut}; one slice"),
        Measured(label="liver", quantity="voxels", value=1),
        Measured(label="liver", quantity="truncated", value="true", flag=cut),
        *(
            Measured(label="liver", quantity=f"p{n}", value=None, flag="3 voxels not finite")
            for n in range(5)
        ),
        Measured(label="spleen", quantity="volume", value=0.0, unit="mL", flag="empty"),
        Measured(label="spleen", quantity="voxels", value=0, flag="empty"),
    )
    spleen, liver = (row["flags"] for row in read["structures.csv"])
    assert liver == (
        "truncated: superior (volume, truncated); one slice (volume); 3 voxels not finite (p0 and 4 more)"
    )
    assert spleen == "empty"


def test_two_measurements_of_one_name_are_both_kept(tmp_path: Path) -> None:
    read = tables(
        tmp_path,
        Measured(label="liver", quantity="volume", value=1.0, unit="mL"),
        Measured(label="liver", quantity="volume", value=2.0, unit="mL", interval=(1.0, 3.0)),
    )
    _, liver = read["structures.csv"]
    assert (liver["volume_mL"], liver["volume_mL-2"], liver["volume_mL-2_high"]) == ("1.0", "2.0", "3.0")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("liver",), ("spleen", "liver")),
        (("spleen",), ("spleen", "liver")),
        (("spleen", "liver"), ("liver",)),
        (("spleen", "liver"), ("spleen",)),
        (("spleen", "liver"), ("spleen", "liver")),
    ],
)
def test_values_of_one_measurement_stand_under_one_column(
    tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """Also where one of two that give a quantity leaves labels out."""
    rows = [Measured(label=name, quantity="volume", value=1.0, unit="mL") for name in first]
    rows += [Measured(label=name, quantity="volume", value=2.0, unit="mL") for name in second]
    for row in tables(tmp_path, *rows)["structures.csv"]:
        assert row["volume_mL"] == ("1.0" if row["label"] in first else "")
        assert row["volume_mL-2"] == ("2.0" if row["label"] in second else "")


def test_labels_in_any_order_are_one_measurement_where_none_comes_again(tmp_path: Path) -> None:
    rows = [Measured(label=name, quantity="voxels", value=3) for name in ("liver", "spleen")]
    assert [row["voxels"] for row in tables(tmp_path, *rows)["structures.csv"]] == ["3", "3"]


@pytest.mark.parametrize("quantity", ["case", "label", "object", "flags", "note"])
def test_a_quantity_called_as_a_column_doubles_none(tmp_path: Path, quantity: str) -> None:
    tables(tmp_path, Measured(label="liver", quantity=quantity, value=5, flag="odd"))
    with (tmp_path / "structures.csv").open(encoding="utf-8", newline="") as file:
        header, _, liver = csv.reader(file)
    assert header == ["case", "label", f"{quantity}-2", "flags", "note"]
    assert liver == ["case-01", "liver", "5", "odd", ""]


def test_text_that_a_spreadsheet_would_run_is_defused(tmp_path: Path) -> None:
    read = tables(tmp_path, Measured(label="liver", quantity="=1+1", value="@SUM(A1)", flag="-x"))
    _, liver = read["structures.csv"]
    assert liver["'=1+1"] == "'@SUM(A1)"
    assert liver["flags"] == "'-x"


def test_without_measurements_every_label_still_has_its_row(tmp_path: Path) -> None:
    tables(tmp_path)
    content = (tmp_path / "structures.csv").read_bytes()
    assert content == b"case,label,flags,note\ncase-01,spleen,,\ncase-01,liver,,\n"
