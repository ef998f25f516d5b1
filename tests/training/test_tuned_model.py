"""A tuned model is a whole one, beside the one it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import tuning_cases
import yaml
from datasets import table
from saved_weights import saved

from medseg.builtin.network.unet import Unet
from medseg.errors import UsageError
from medseg.model import find_model
from medseg.plugin.catalog import discover
from medseg.training.tuned_model import require_place, staged_model, write_tuned
from medseg.training.variations import Variations, parse, variations

LINES = ("Tuned on 2 cases.", "Chosen: this.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with weights and a card."""
    path = tmp_path / "model"
    path.mkdir()
    weights = saved(Unet(channels=(4, 8)), path, outputs=2)
    table(
        path / "pipeline.yaml",
        "labels: {1: {name: lesion}}",
        "segment:",
        "  network:",
        "    architecture: {unet: {channels: [4, 8]}}",
        "    head: softmax",
        f"    weights: [{{path: {weights['path']}, sha256: {weights['sha256']}}}]",
        "    window: {patch: [8, 8, 8]}",
        "postprocess: [fill-holes, {remove-small: {below_ml: 1, connectivity: 6}}]",
    )
    card = "name: mine\nversion: '1'\nsummary: One line.\nlicence: MIT\nintended_use: Tests.\n"
    (path / "card.yaml").write_text(f"{card}evaluation: [Dice 0.9.]\n")
    (path / "README.md").write_text("more")
    return path


def varied(model: Path) -> Variations:
    catalog = discover()
    texts = ["postprocess[1].below_ml=2", "postprocess[0].max_ml=5"]
    return variations(find_model(model, catalog), [parse(text) for text in texts], catalog)


def test_a_folder_becomes_a_folder_that_runs(folder: Path, tmp_path: Path) -> None:
    found, out = varied(folder), tmp_path / "tuned"
    require_place(found, out)
    with staged_model(found.model, out, overwrite=False) as path:
        write_tuned(found, (1, 1), LINES, path)
    assert sorted(each.name for each in out.iterdir()) == sorted(each.name for each in folder.iterdir())
    model = find_model(out, discover())
    assert varied(out).own.postprocess[1].written["medseg/remove-small"]["below_ml"] == 2
    assert [call.parameters for call in model.file.postprocess] == [
        {"max_ml": 5},
        {"below_ml": 2, "connectivity": 6},
    ]
    assert model.card is not None
    assert model.card.evaluation == ("Dice 0.9.", "Tuned on 2 cases. Chosen: this.")
    assert (out / "pipeline.yaml").read_text().startswith("# Tuned on 2 cases.\n# Chosen: this.\n")
    with (
        pytest.raises(UsageError, match="exists; choose another folder"),
        staged_model(found.model, out, overwrite=False),
    ):
        pass
    with staged_model(found.model, out, overwrite=True) as path:
        write_tuned(found, (0, 0), LINES, path)
    again = yaml.safe_load((out / "pipeline.yaml").read_text())
    assert again == yaml.safe_load((folder / "pipeline.yaml").read_text())


def test_another_folder_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.md").write_text("mine")
    with (
        pytest.raises(UsageError, match="holds something else than a model"),
        staged_model(varied(folder).model, tmp_path / "else", overwrite=True),
    ):
        pass


def test_weights_must_be_found_from_where_it_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, and so is what comes of it; name a folder"):
        require_place(varied(folder), tmp_path / "tuned.yaml")
    lone = varied(folder / "pipeline.yaml")
    with pytest.raises(UsageError, match=r"the weights lie in .*; name a file in that folder"):
        require_place(lone, tmp_path / "tuned.yaml")
    require_place(lone, folder / "tuned.yaml")
    require_place(varied(tuning_cases.pipeline(tmp_path / "p.yaml")), tmp_path / "sub" / "tuned.yaml")
