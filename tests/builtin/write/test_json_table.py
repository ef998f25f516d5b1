import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import result_of

from medseg.builtin.write.json_table import Json
from medseg.prediction import Measured
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Source


def document(folder: Path, *measurements: Measured, decided: tuple[str, ...] = ()) -> dict[str, Any]:
    grid = Grid((2, 2, 2), np.eye(4))
    labels = LabelTable((Label(5, "liver", code="SCT:10200004"), Label(1, "Milz ß")))
    segmentation = Segmentation(np.zeros((1, 2, 2, 2), np.uint8), grid, labels)
    result = result_of(segmentation, measurements, source=Source(grid, "array", decided=decided))
    (path,) = Json.check(Json()(result, folder), folder=folder)
    assert path.name == "measurements.json"
    read: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return read


def test_what_a_policy_decided_is_a_list_of_notes(tmp_path: Path) -> None:
    assert document(tmp_path)["notes"] == []
    assert document(tmp_path, decided=("gaps resampled: 1 slice",))["notes"] == ["gaps resampled: 1 slice"]


def test_measurements_are_nested_by_label(tmp_path: Path) -> None:
    flag = "truncated: superior"
    read = document(
        tmp_path,
        Measured(
            label="liver", quantity="volume", value=1125.7, unit="mL", flag=flag, interval=(1000.0, 1200.0)
        ),
        Measured(label="liver", quantity="voxels", value=41692, flag=flag),
        Measured(label="liver", quantity="volume", value=0.4, unit="mL", object=2),
    )
    assert read["case"] == "case-01"
    assert read["research_use_only"] is True
    assert read["labels"]["liver"] == {
        "value": 5,
        "code": "SCT:10200004",
        "volume_ml": 1125.7,
        "flags": [flag],
        "quantities": {
            "volume": {"value": 1125.7, "unit": "mL", "interval": [1000.0, 1200.0], "flag": flag},
            "voxels": {"value": 41692, "unit": "", "flag": flag},
        },
        "objects": {"2": {"volume": {"value": 0.4, "unit": "mL"}}},
    }


def test_every_label_appears_in_the_order_of_the_table(tmp_path: Path) -> None:
    read = document(tmp_path, Measured(label="Milz ß", quantity="area", value=6.0, unit="px²"))
    assert list(read["labels"]) == ["Milz ß", "liver"]
    assert read["labels"]["liver"]["quantities"] == {}
    assert read["labels"]["Milz ß"]["volume_ml"] is None


def test_two_measurements_of_one_name_are_both_kept(tmp_path: Path) -> None:
    read = document(
        tmp_path,
        Measured(label="liver", quantity="volume", value=1.0, unit="mL"),
        Measured(label="liver", quantity="volume", value=2.0, unit="mL"),
    )
    quantities = read["labels"]["liver"]["quantities"]
    assert {name: row["value"] for name, row in quantities.items()} == {"volume": 1.0, "volume-2": 2.0}
    assert read["labels"]["liver"]["volume_ml"] == 1.0


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    row = Measured(label="liver", quantity="voxels", value=np.int64(3))  # type: ignore[arg-type]  # as a plugin may
    document(tmp_path, row)
    first = (tmp_path / "measurements.json").read_bytes()
    document(tmp_path, row)
    assert (tmp_path / "measurements.json").read_bytes() == first
    assert first.endswith(b"}\n")


def test_many_objects_take_no_longer_each_than_few(tmp_path: Path) -> None:
    """Comparing each object with every row takes half a minute here."""
    rows = [
        Measured(label="liver", object=id_, quantity=f"quantity {n}", value=n)
        for id_ in range(1, 10_001)
        for n in range(7)
    ]
    began = time.process_time()
    read = document(tmp_path, *rows)
    assert time.process_time() - began < 10
    objects = read["labels"]["liver"]["objects"]
    assert list(objects) == [str(id_) for id_ in range(1, 10_001)]
    assert objects["10000"]["quantity 6"] == {"value": 6, "unit": ""}
