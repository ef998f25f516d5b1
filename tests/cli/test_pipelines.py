import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medseg.config import SeriesRule
from medseg.model import find_model
from medseg.plugin.catalog import discover

Medseg = Callable[..., Any]


def test_check_says_ok_and_whose_steps_they_are(medseg: Medseg, pipeline: Path) -> None:
    done = medseg("pipelines", "check", pipeline)
    assert (done.code, done.err) == (0, "")
    assert "keep-largest (medseg 0.1.0)" in done.out


def test_check_names_file_place_and_remedy(medseg: Medseg, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("segment: threshold\npostprocess: [{keep-largest: {lables: [x]}}]\n")
    done = medseg("pipelines", "check", file)
    assert done.code == 4
    for word in ("wrong.yaml", "postprocess[0].keep-largest", "did you mean 'labels'"):
        assert word in done.err
    assert medseg("pipelines", "check", tmp_path / "absent.yaml").code == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("gap_width", "gap_widht"),
            "training.loss.labels-and-field.gap_widht: there is no 'gap_widht' here",
        ),
        (("gap_weight: 6", "gap_weight: -6"), "training.loss.labels-and-field.gap_weight"),
    ],
)
def test_check_sees_what_is_said_of_training(
    medseg: Medseg, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """Which nothing reads before someone trains with it."""
    file = tmp_path / "m" / "pipeline.yaml"
    shutil.copytree(find_model("nuclei", discover()).path.parent, file.parent)
    file.write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    done = medseg("pipelines", "check", file)
    assert done.code == 4
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_schema_knows_every_installed_component(medseg: Medseg) -> None:
    schema = json.loads(medseg("pipelines", "schema").out)
    assert schema["title"] == "medseg pipeline"
    assert set(schema["properties"]) == {
        "inputs",
        "labels",
        "preprocess",
        "segment",
        "refine",
        "postprocess",
        "measure",
        "training",
        "write",
    }
    names = {
        name for choice in schema["$defs"]["preprocessor"]["anyOf"] for name in choice.get("properties", ())
    }
    assert {"resample", "medseg/resample"} <= names


def test_check_and_schema_know_which_series_is_wanted(medseg: Medseg, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("inputs: [{name: ct, select: {max_thicknes_mm: 3}}]\nsegment: {threshold: {above: 1}}\n")
    done = medseg("pipelines", "check", file)
    assert done.code == 4
    assert "inputs[0].select.max_thicknes_mm" in done.err
    assert "did you mean 'max_thickness_mm'" in done.err
    file.write_text("inputs: [{name: ct, select: {max_thickness_mm: 3}}]\nsegment: {threshold: {above: 1}}\n")
    assert medseg("pipelines", "check", file).code == 0
    schema = json.loads(medseg("pipelines", "schema").out)
    assert set(schema["$defs"]["SeriesRule"]["properties"]) == set(SeriesRule.model_fields)
