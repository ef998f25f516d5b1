import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Medseg = Callable[..., Any]


def test_list_has_licence_size_and_origin(medseg: Medseg) -> None:
    done = medseg("models", "list")
    line = next(line for line in done.out.splitlines() if line.startswith("ct-tissue"))
    for word in ("Apache-2.0", "kB", "medseg-ct"):
        assert word in line
    (listed,) = [m for m in json.loads(medseg("models", "list", "--json").out) if m["name"] == "ct-tissue"]
    assert listed["card"]["licence"] == "Apache-2.0"
    assert listed["size_bytes"] > 500


def test_show_has_intended_use_labels_and_the_pipeline_in_full(medseg: Medseg) -> None:
    done = medseg("models", "show", "ct-tissue")
    assert done.code == 0
    for word in (
        "intended use",
        "limitations",
        "left lung",
        "muscle",
        "medseg-ct/tissue-rules",
        "research use only",
    ):
        assert word in done.out


def test_show_takes_a_pipeline_file_too(medseg: Medseg, pipeline: Path) -> None:
    shown = json.loads(medseg("models", "show", pipeline, "--json").out)
    assert shown["card"] is None
    assert shown["pipeline"]["segment"] == {"medseg/threshold": {"above": 50.0, "below": None, "channel": 0}}
    assert shown["pipeline"]["labels"]["1"]["name"] == "ball"
