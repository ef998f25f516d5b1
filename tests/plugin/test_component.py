from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from medseg.plugin import Component

GOOD = {"name": "ct-window", "target": "package.module:Class", "summary": "One line."}


@pytest.mark.parametrize("name", ["a", "z-score", "unet3d", "2d-fill", "ct-window-2"])
def test_a_name_is_lower_case_words_joined_by_dashes(name: str) -> None:
    assert Component(**{**GOOD, "name": name}).fault("writer") is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "Keep"},
        {"name": "keep_largest"},
        {"name": "-keep"},
        {"name": "keep-"},
        {"name": "keep--largest"},
        {"name": "dist/keep"},
        {"name": "keep\n"},
        {"name": "größe"},
        {"name": "²"},
        {"name": 3},
        {"name": None},
        {"name": ["keep"]},
        {"target": "package.module"},
        {"target": "package.module:"},
        {"target": ":Class"},
        {"target": "package.module:Class()"},
        {"target": "package.module:Class.method"},
        {"target": "package/module:Class"},
        {"target": "package.module:Class\n"},
        {"target": ".module:Class"},
        {"target": b"package.module:Class"},
        {"summary": ""},
        {"summary": "   "},
        {"summary": "Two\nlines."},
        {"summary": "Two\rlines."},
        {"summary": "Two\u2028lines."},
        {"summary": "One line.\n"},
        {"summary": "\x1b[31mRed."},
        {"summary": None},
    ],
)
def test_a_wrong_record_says_in_one_line_what_is_wrong(change: dict[str, Any]) -> None:
    (field,) = change
    fault = Component(**{**GOOD, **change}).fault("writer")
    assert fault is not None
    assert field in fault
    assert fault.isprintable()


@pytest.mark.parametrize("target", ["package:models/name", "package.sub:m", "package:models/ct-tissue"])
def test_a_model_points_at_a_folder(target: str) -> None:
    record = Component(**{**GOOD, "target": target})
    assert record.fault("model") is None


@pytest.mark.parametrize(
    "target", ["package:../../etc", "package:/etc", "package:models/", "package", "package:a//b", "package:."]
)
def test_a_models_folder_lies_inside_its_package(target: str) -> None:
    assert "target of 'ct-window'" in (Component(**{**GOOD, "target": target}).fault("model") or "")


def test_what_is_right_for_a_model_is_wrong_for_a_class() -> None:
    assert Component(**{**GOOD, "target": "package:models/name"}).fault("segmenter") is not None


def test_a_record_never_changes() -> None:
    record = Component(**GOOD)
    with pytest.raises(FrozenInstanceError):
        record.name = "other"  # type: ignore[misc]  # what is tested
    assert record == Component(**GOOD)
    assert len({record, Component(**GOOD)}) == 1
