"""The records are what medseg expects and point at what exists."""

import importlib
from pathlib import Path

import medseg_ct
import yaml
from medseg_ct import plugin


def test_records_are_sound() -> None:
    for kind, records in (("segmenter", plugin.medseg_segmenters()), ("model", plugin.medseg_models())):
        assert [record.fault(kind) for record in records] == [None]


def test_the_segmenters_target_is_a_class_with_that_name() -> None:
    (record,) = plugin.medseg_segmenters()
    module, name = record.target.split(":")
    assert getattr(importlib.import_module(module), name).__name__ == "TissueRules"


def test_the_model_names_its_own_segmenter_and_carries_a_card() -> None:
    (record,) = plugin.medseg_models()
    folder = Path(str(medseg_ct.__file__)).parent / record.target.split(":")[1]
    pipeline = yaml.safe_load((folder / "pipeline.yaml").read_text(encoding="utf-8"))
    card = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
    assert list(pipeline["segment"]) == ["tissue-rules"]
    assert card["name"] == record.name
    assert card["research_use_only"] is True
