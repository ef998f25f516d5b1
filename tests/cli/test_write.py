"""`--write`: files beside those of the pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cohorts
import pytest

Medseg = Callable[..., Any]
Install = Callable[..., None]


@pytest.fixture
def model(tmp_path: Path, install: Install) -> Path:
    install("ordered")
    path = tmp_path / "ball.yaml"
    path.write_text("segment: {threshold: {above: 50}}\nwrite: [csv]\n")
    return path


def test_adds_files_in_the_order_that_they_need(
    medseg: Medseg, ball: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "-m", model, "--write", "answer,letter", "-q")
    assert done.code == 0, done.err
    record = json.loads((out / "run.json").read_text())
    assert set(record["outputs"]) == {"measurements.csv", "letter.txt", "answer.txt"}
    assert [next(iter(call)) for call in record["pipeline"]["write"]] == [
        "medseg/csv",
        "fake-ordered/letter",
        "fake-ordered/answer",
    ]


def test_what_the_user_named_and_the_image_cannot_have_is_refused_before_the_run(
    medseg: Medseg, ball: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "-m", model, "--write", "letter,picky", "-q")
    assert done.code == 2
    assert "writer 'picky' needs an MR image" in done.err
    assert not out.exists()


def test_what_the_pipeline_names_is_left_out_with_what_refers_to_it(
    medseg: Medseg, ball: Path, tmp_path: Path, install: Install
) -> None:
    install("ordered")
    model = tmp_path / "picky.yaml"
    model.write_text("segment: {threshold: {above: 50}}\nwrite: [picky, echo, letter]\n")
    done = medseg("segment", ball, "-o", tmp_path / "out", "-m", model)
    assert done.code == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["left_out"] == {
        "picky": "an MR image",
        "echo": "what 'fake-ordered/picky' would write, which is left out",
    }
    assert set(record["outputs"]) == {"letter.txt"}
    demanded = medseg("segment", ball, "-o", tmp_path / "other", "-m", model, "--write", "echo")
    assert demanded.code == 2
    assert "writer 'echo' needs what 'fake-ordered/picky' would write, which is left out" in demanded.err


def test_a_plan_knows_them(medseg: Medseg, ball: Path, model: Path) -> None:
    done = medseg("segment", ball, "-m", model, "--plan", "--write", "leter")
    assert done.code == 4
    assert "no writer is called 'leter'; did you mean 'letter'?" in done.err
    assert medseg("segment", ball, "-m", model, "--plan", "--write", "letter").code == 0


def test_a_cohort_writes_them_for_each_case(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    assert medseg("cohort", source, "-o", out, "-m", model, "--write", "letter").code == 0
    assert len(list(out.glob("*/letter.txt"))) == 2
    again = medseg("cohort", source, "-o", out, "-m", model, "--write", "letter", "--resume")
    assert "2 kept from an earlier run" in again.out
    refused = medseg("cohort", source, "-o", tmp_path / "other", "-m", model, "--write", "picky")
    assert refused.code == 3
    assert "writer 'picky' needs an MR image" in refused.out


def test_dicom_results_need_a_dicom_series(medseg: Medseg, ball: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = medseg("segment", ball, "-o", out, "-m", model, "--write", "dicom-sr,dicom-seg")
    assert done.code == 2
    assert "writer 'dicom-seg' needs a DICOM series as its image" in done.err
    alone = medseg("segment", ball, "-o", out, "-m", model, "--write", "dicom-sr")
    assert alone.code == 64
    assert "dicom-sr: refers to what 'medseg/dicom-seg' writes; add that before it" in alone.err
    assert not out.exists()
