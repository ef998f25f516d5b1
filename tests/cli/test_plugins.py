import json
from collections.abc import Callable
from typing import Any

import pytest

Medseg = Callable[..., Any]


def test_list_names_kind_distribution_and_summary(medseg: Medseg) -> None:
    done = medseg("plugins", "list")
    line = next(line for line in done.out.splitlines() if " keep-largest " in line)
    assert line.split()[:4] == ["postprocessor", "keep-largest", "medseg", "0.1.0"]
    listed = json.loads(medseg("plugins", "list", "--json").out)
    assert {c["kind"] for c in listed["components"]} >= {
        "preprocessor",
        "segmenter",
        "postprocessor",
        "measurement",
        "writer",
        "model",
    }
    assert listed["faults"] == []


def test_show_prints_every_parameter_with_its_default_and_meaning(medseg: Medseg) -> None:
    done = medseg("plugins", "show", "ct-window")
    assert done.code == 0
    assert "low " in done.out
    assert "-1000" in done.out
    assert "Hounsfield" in done.out
    assert "- ct-window: {low: -1000" in done.out
    schema = json.loads(medseg("plugins", "show", "medseg/ct-window", "--json").out)[0]["schema"]
    assert set(schema["properties"]) == {"low", "high"}


def test_show_suggests_the_closest_name(medseg: Medseg) -> None:
    done = medseg("plugins", "show", "keep-largst")
    assert done.code == 4
    assert "did you mean 'keep-largest'" in done.err


def test_check_runs_every_installed_component(medseg: Medseg) -> None:
    done = medseg("plugins", "check")
    assert done.code == 0, done.out
    assert "medseg/keep-largest (postprocessor): ok" in done.out
    assert "medseg-ct/tissue-rules (segmenter): ok" in done.out


@pytest.mark.parametrize("arguments", [("plugins", "check", "medseg-absent"), ("plugins", "show", "absent")])
def test_an_unknown_name_is_one_line(medseg: Medseg, arguments: tuple[str, ...]) -> None:
    done = medseg(*arguments)
    assert done.code == 4
    assert done.err.count("\n") == 1
