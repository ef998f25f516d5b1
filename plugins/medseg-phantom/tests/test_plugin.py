"""The plugin keeps the contract, and its model's files are what the pipeline and the card say."""

import hashlib
from pathlib import Path

import medseg_phantom
import yaml

from medseg.testing.abdomen import ORGANS
from medseg.testing.contracts import check_plugin

FOLDER = Path(str(medseg_phantom.__file__)).parent / "models" / "phantom-abdomen"


def test_contract() -> None:
    check_plugin("medseg-phantom")


def test_weights_are_small_and_are_those_that_the_pipeline_names() -> None:
    pipeline = yaml.safe_load((FOLDER / "pipeline.yaml").read_text(encoding="utf-8"))
    (named,) = pipeline["segment"]["network"]["weights"]
    content = (FOLDER / named["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == named["sha256"]
    assert len(content) < 6_000_000


def test_labels_are_those_of_the_phantoms_truth() -> None:
    pipeline = yaml.safe_load((FOLDER / "pipeline.yaml").read_text(encoding="utf-8"))
    expected = {label.value: (label.name, label.code, label.colour, label.pair) for label in ORGANS}
    found = {
        value: (label["name"], label["code"], label["colour"], label.get("pair"))
        for value, label in pipeline["labels"].items()
    }
    assert found == expected


def test_the_card_says_aloud_that_it_is_not_for_patients() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    assert card["research_use_only"] is True
    assert "never for patients" in card["summary"].lower()
    assert "synthetic" in card["intended_use"]
    assert "never on images of patients" in card["intended_use"].lower()
    assert "no real image" in card["limitations"][0].lower()
