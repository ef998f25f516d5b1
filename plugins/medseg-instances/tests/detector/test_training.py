"""`medseg train` of a detector on the command line, a few steps of it, and the model that it ends in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector.by_heart import LEARNT
from learning import dataset
from PIL import Image  # noqa: TID253

from medseg.cli import run

OPTIONS = ("--device", "cpu", "--threads", "1", "-q")


def command(*words: object) -> int:
    return run([str(each) for each in (*words, *OPTIONS)])


def overlay(folder: Path, detector: dict[str, Any], **training: object) -> Path:
    content = {
        "preprocess": ["z-score"],
        "segment": {"detector": detector},
        "training": {"augment": ["flip"], "batch": 2, "steps_per_epoch": 3, "warm_up": 0, **training},
        "write": ["nifti"],
        "measure": ["objects"],
    }
    (folder / "p.yaml").write_text(json.dumps(content))
    return folder / "p.yaml"


def test_a_model_is_trained_and_segments(tmp_path: Path) -> None:
    """One of three pictures is held out and scored with the metrics of objects; an empty one is segmented."""
    data = dataset(tmp_path / "data", (60, 60), cases=3)
    detector = {**LEARNT, "window": {"patch": [32, 32]}, "score": 0.1, "most": 30}
    pipeline, out = overlay(tmp_path, detector), tmp_path / "run"
    assert command("train", data, "-o", out, "--pipeline", pipeline, "--epochs", 2) == 0
    model = out / "model"
    assert {path.name for path in model.iterdir()} == {"card.yaml", "pipeline.yaml", "weights.safetensors"}
    report = (out / "report.html").read_text()
    assert "detector" in report
    assert "12, 24, 48" in report
    empty = tmp_path / "empty.png"
    Image.fromarray(np.full((50, 40), 20, np.uint8)).save(empty)
    for number, picture in enumerate((tmp_path / "data" / "image0.png", empty)):
        found = tmp_path / f"found{number}"
        assert command("segment", picture, "--model", model, "-o", found) == 0
        said = json.loads((found / "run.json").read_text())
        assert said["used"]["engine"] == "torch"
        assert said["used"]["windows"] == (9 if number == 0 else 6)


def test_a_loss_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(tmp_path / "data", (60, 60))
    pipeline = overlay(tmp_path, {"window": {"patch": [64, 64]}}, loss="dice-ce")
    assert command("train", data, "-o", tmp_path / "run", "--pipeline", pipeline, "--epochs", 1) == 4
    assert "training.loss: segmenter 'detector' has losses of its own" in capsys.readouterr().err
