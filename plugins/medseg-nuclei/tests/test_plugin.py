"""The plugin keeps the contract, its files are those that it names, and it says whose data they rest on."""

from pathlib import Path

import medseg_nuclei
import pytest
import yaml

from medseg.cli import run
from medseg.testing.contracts import check_plugin

FOLDER = Path(str(medseg_nuclei.__file__)).parent / "models" / "nuclei"
RECIPE = Path(__file__).parents[1] / "recipe"
MOST_BYTES = 10_000_000


def test_contract() -> None:
    check_plugin("medseg-nuclei")


def test_the_model_passes_its_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "check", "nuclei"]) == 0
    assert capsys.readouterr().out.startswith("nuclei 0.1.0: ok (5 files, 3 of weights, ")
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < MOST_BYTES


def test_card_and_recipe_name_the_data_and_their_licence() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    data = yaml.safe_load((RECIPE / "dataset.yaml").read_text(encoding="utf-8"))
    assert data["licence"] == "CC0-1.0"
    for word in ("74 pictures", "BBBC038v1", "CC0-1.0"):
        assert word in card["training_data"][0]


def test_what_was_trained_is_what_runs() -> None:
    """But for what `medseg train` does not need: the code of the label, what is measured and written."""
    plan = yaml.safe_load((RECIPE / "plan.yaml").read_text(encoding="utf-8"))
    pipeline = yaml.safe_load((FOLDER / "pipeline.yaml").read_text(encoding="utf-8"))
    assert [file["path"] for file in pipeline["segment"]["network"].pop("weights")] == [
        f"fold{number}.safetensors" for number in range(3)
    ]
    for key in ("preprocess", "segment", "training"):
        assert pipeline[key] == plan[key], key
    assert pipeline["labels"][1]["name"] == plan["labels"][1]["name"]
