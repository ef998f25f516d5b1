"""A training told again: the plan, and a command that does the same."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from medseg.config import read_pipeline
from medseg.errors import ModelError
from medseg.plugin.catalog import discover
from medseg.training.again import model_and_training
from medseg.training.recipe import recipe

PLAN = """\
labels: {1: {name: ball}}
segment:
  network:
    architecture: {unet: {channels: [4, 8]}}
    head: softmax
    window: {patch: [16, 16, 16]}
    WEIGHTS
training: {batch: 3}
"""
START = "medseg train DATASET -o RUN --pipeline recipe/plan.yaml"


def a_run(
    folder: Path,
    *,
    folds: Sequence[Sequence[str]] = ((),),
    epochs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> Path:
    """What a training leaves behind, as far as it is told again."""
    (folder / "model").mkdir(parents=True)
    (folder / "plan.yaml").write_text(PLAN.replace("WEIGHTS", ""), encoding="utf-8")
    begun = {
        "dataset": "d",
        "key": "k",
        "folds": folds,
        "epochs": epochs,
        "seconds": seconds,
        "seed": seed,
    }
    (folder / "training.json").write_text(json.dumps(begun), encoding="utf-8")
    facts = {"cases": [{"id": str(number)} for number in range(10)]}
    (folder / "fingerprint.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def command(run: Path) -> str:
    model, training = model_and_training(run)
    assert model == run / "model"
    assert training is not None
    assert training.plan == (run / "plan.yaml").read_text(encoding="utf-8")
    assert training.command.startswith(START)
    return training.command.removeprefix(START).strip()


def test_epochs_folds_and_seed(tmp_path: Path) -> None:
    assert command(a_run(tmp_path / "a", epochs=20)) == "--validation 0 --epochs 20"
    assert command(a_run(tmp_path / "b", folds=[["1", "2"]], epochs=3)) == "--validation 0.2 --epochs 3"
    assert command(a_run(tmp_path / "c", folds=[["1"], ["2"]], epochs=3, seed=5)) == (
        "--folds 2 --epochs 3 --seed 5"
    )


@pytest.mark.parametrize(
    ("seconds", "folds", "budget"),
    [
        (236.1, [[]], "5m"),  # 300 s, of which 45 s are kept back and 19 s went into preparing
        (3600 * 0.94 - 20, [[]], "60m"),
        (3600 * 0.94 / 5 - 4, [[str(n)] for n in range(5)], "60m"),
    ],
)
def test_a_time_is_that_of_the_whole_command(
    tmp_path: Path, seconds: float, folds: list[list[str]], budget: str
) -> None:
    run = a_run(tmp_path / "run", seconds=seconds, folds=folds)
    assert command(run).endswith(f"--time-budget {budget}")
    (run / "fold0").mkdir()
    (run / "fold0" / "log.csv").write_text("epoch,step\n1,100\n2,200\n17,1700\n", encoding="utf-8")
    _, training = model_and_training(run)
    assert training is not None
    assert "17 epochs; `--epochs 17`" in training.note


def test_a_training_without_a_model_yet(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", epochs=2)
    (run / "model").rmdir()
    with pytest.raises(ModelError, match="has no model yet"):
        model_and_training(run)


def test_a_trained_model_tells_its_plan_without_its_weights(tmp_path: Path) -> None:
    weights = f"weights: [{{path: w.safetensors, sha256: {'a' * 64}}}]"
    (tmp_path / "pipeline.yaml").write_text(PLAN.replace("WEIGHTS", weights), encoding="utf-8")
    model, training = model_and_training(tmp_path)
    assert model == tmp_path
    assert training is not None
    assert training.command == START
    plan = yaml.safe_load(training.plan)
    expected = yaml.safe_load(PLAN.replace("WEIGHTS", ""))
    assert plan["segment"] == expected["segment"]
    assert plan["training"]["batch"] == expected["training"]["batch"]
    (tmp_path / "plan.yaml").write_text(training.plan, encoding="utf-8")
    recipe(read_pipeline(tmp_path / "plan.yaml"), discover())  # it can be trained


def test_of_other_models_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("segment: {threshold: {above: 5}}\n", encoding="utf-8")
    assert model_and_training(tmp_path) == (tmp_path, None)
    packed = tmp_path / "model.zip"
    packed.write_bytes(b"PK")
    assert model_and_training(packed) == (packed, None)
