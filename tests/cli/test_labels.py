"""`--labels`: results for some labels only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cohorts
import pytest

Medseg = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(
        "labels: {1: {name: ball}, 2: {name: absent thing}}\nsegment: {threshold: {above: 50}}\n"
        "write: [nifti, csv, json]\n"
    )
    return path


def test_only_the_named_labels_are_measured_and_written(
    medseg: Medseg, ball: Path, model: Path, tmp_path: Path
) -> None:
    done = medseg("segment", ball, "-o", tmp_path / "out", "-m", model, "--labels", "absent thing", "-q")
    assert done.code == 0
    found = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert list(found["labels"]) == ["absent thing"]
    both = medseg("segment", ball, "-o", tmp_path / "both", "-m", model, "--labels", "absent thing, ball")
    assert both.code == 0
    assert "ball" in both.out
    assert "absent thing" in both.out


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("bal", "there is no label 'bal'; did you mean 'ball'?"),
        ("ball,,", "--labels 'ball,,': give names with a comma between them"),
        ("", "--labels '': give names"),
    ],
)
def test_names_that_are_none_are_refused_before_the_image_is_read(
    medseg: Medseg, tmp_path: Path, model: Path, names: str, said: str
) -> None:
    (tmp_path / "image.nii").write_text("no image")
    done = medseg("segment", tmp_path / "image.nii", "-o", tmp_path / "out", "-m", model, "--labels", names)
    assert done.code == 64
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_a_cohort_is_done_again_for_other_labels(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 1), tmp_path / "out"
    assert medseg("cohort", source, "-o", out, "-m", model, "--labels", "ball").code == 0
    assert "absent thing" not in (out / "cohort.csv").read_text()
    again = medseg("cohort", source, "-o", out, "-m", model, "--labels", "ball", "--resume")
    assert "1 kept from an earlier run" in again.out
    other = medseg("cohort", source, "-o", out, "-m", model, "--resume")
    assert "kept" not in other.out
    assert "absent thing" in (out / "cohort.csv").read_text()
