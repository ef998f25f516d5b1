"""All measurements as one nested document: by label, for programs."""

import json
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medseg.prediction import Measured, Result
from medseg.segmentation import Label
from medseg.steps import Writer

__all__ = ["Json"]


class Json(Writer):
    """`measurements.json`: every label of the segmentation with its numbers.

        {"case": "case-01",
         "research_use_only": true,
         "notes": ["gaps resampled: 1 slice missing at z=12.50 mm"],
         "labels": {"liver": {"value": 1, "code": "SCT:10200004", "volume_ml": 1125.7,
                              "flags": ["truncated: superior"],
                              "quantities": {"volume": {"value": 1125.7, "unit": "mL",
                                                        "flag": "truncated: superior"}},
                              "objects": {"1": {"volume": {"value": 0.4, "unit": "mL"}}}}}}

    Labels stand in the order of the label table, quantities in the order of measuring. `volume_ml` is null
    where millilitres cannot be said; `interval`, `flag` and `objects` are left out where there are none.
    `notes` say what a policy made of a doubtful image, `flags` holds each flag of the label once. A quantity
    that two measurements give for the same label appears under both "volume" and "volume-2".
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the document."""
        rows: dict[str, list[Measured]] = {label.name: [] for label in result.segmentation.labels}
        for measured in result.measurements:
            rows[measured.label].append(measured)
        document = {
            "case": result.case_id,
            "research_use_only": True,
            "notes": list(result.volume.source.decided) if result.volume.source else [],
            "labels": {label.name: _label(label, rows[label.name]) for label in result.segmentation.labels},
        }
        path = folder / "measurements.json"
        # item: a plugin's numpy number as Python's own
        text = json.dumps(
            document, ensure_ascii=False, indent=2, allow_nan=False, default=operator.methodcaller("item")
        )
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        return [path]


def _label(label: Label, rows: list[Measured]) -> dict[str, Any]:
    own, things = list[Measured](), dict[int, list[Measured]]()
    for row in rows:
        (own if row.object is None else things.setdefault(row.object, [])).append(row)
    volumes = [row.value for row in own if row.quantity == "volume" and row.unit == "mL"]
    entry: dict[str, Any] = {
        "value": label.value,
        "code": label.code,
        "volume_ml": volumes[0] if volumes else None,
        "flags": list(dict.fromkeys(row.flag for row in rows if row.flag)),
        "quantities": _quantities(own),
    }
    if things:
        entry["objects"] = {str(id_): _quantities(things[id_]) for id_ in sorted(things)}
    return entry


def _quantities(rows: list[Measured]) -> dict[str, dict[str, Any]]:
    quantities: dict[str, dict[str, Any]] = {}
    for row in rows:
        name, again = row.quantity, 1
        while name in quantities:
            again += 1
            name = f"{row.quantity}-{again}"
        said: dict[str, Any] = {"value": row.value, "unit": row.unit}
        if row.interval is not None:
            said["interval"] = list(row.interval)
        if row.flag:
            said["flag"] = row.flag
        quantities[name] = said
    return quantities
