import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253
from safetensors.torch import load_model

from medseg.config import InputSpec, PipelineFile, StepCall
from medseg.errors import UsageError
from medseg.evaluation.summary import ALL_LABELS, Statistics
from medseg.model import Card, find_model
from medseg.model.card import read_card
from medseg.plugin.catalog import Catalog, discover
from medseg.segmentation import Label, LabelTable
from medseg.training.dataset import Case, Dataset, Statement
from medseg.training.model_folder import card_of, model_name, sha256_of, weights_saved, write_model
from medseg.training.recipe import Recipe, recipe


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is installed."""
    return discover()


def made(catalog: Catalog, labels: Sequence[str] = ("liver", "tumour")) -> Recipe:
    return recipe(
        PipelineFile.model_validate(
            {
                "labels": {n: {"name": name} for n, name in enumerate(labels, start=1)},
                "segment": {
                    "network": {
                        "architecture": {"dynunet": {"channels": [4, 8, 16]}},
                        "head": "softmax",
                        "window": {"patch": [8, 8, 8]},
                    }
                },
                "training": {},
            }
        ),
        catalog,
    )


def dataset(statement: Statement | None = None, name: str = "Boxes", *, stated: bool = True) -> Dataset:
    cases = tuple(Case(f"c{n}", {"image": Path("x")}, Path("y"), f"s{n // 2}") for n in range(6))
    return Dataset(
        name=name,
        inputs=(InputSpec(name="ct", modality="CT"), InputSpec(name="pet")),
        labels=LabelTable((Label(1, "liver"), Label(2, "tumour"))),
        cases=cases,
        values={"liver": (1,), "tumour": (2,)},
        statement=statement or Statement(),
        subjects_stated=stated,
    )


def statistics(metric: str, label: str, mean: float | None = 0.5, unit: str = "") -> Statistics:
    low, high = (None, None) if mean is None else (mean - 0.25, mean + 0.25)
    return Statistics(metric, label, unit, 4, 0 if mean is None else 4, mean, 0.1, mean, low, high)


def card(catalog: Catalog, *, measured: Sequence[Statistics] = (), **more: Any) -> Card:
    given: dict[str, Any] = {"dataset": dataset(), "recipe": made(catalog), "trained_on": ("c0", "c1", "c2")}
    return card_of("My Model", **{**given, "measured": measured, "how": "held-out cases", **more})


# ---- the card


def test_the_card_says_what_is_known(catalog: Catalog) -> None:
    said = Statement(
        description="Boxes in noise.", licence="CC-BY-4.0", attribution="A. Box", reference="https://x.org"
    )
    found = card(
        catalog,
        dataset=dataset(said),
        measured=[
            statistics("dice", "liver", 0.75),
            statistics("dice", "tumour", None),
            statistics("hd95", "liver", 3.0, "mm"),
        ],
    )
    assert found.name == "my-model"
    assert found.summary == "Segments liver, tumour in CT and pet; trained on Boxes."
    assert found.training_data == (
        "Boxes: 3 cases of 2 subjects.",
        "Boxes in noise.",
        "A. Box",
        "Licence of the data: CC-BY-4.0.",
    )
    assert (found.licence, found.references) == ("CC-BY-4.0", ("https://x.org",))
    assert found.evaluation == (
        "dice liver: mean 0.750, lowest 0.500, 4 cases (held-out cases).",
        "dice tumour: in no case (held-out cases).",
        "hd95 liver: mean 3.000 mm, highest 3.250, 4 cases (held-out cases).",
    )


def test_what_is_not_known_is_said_too(catalog: Catalog) -> None:
    found = card(catalog)
    assert found.licence == "not stated; ask whoever trained it"
    assert found.training_data == ("Boxes: 3 cases of 2 subjects.",)
    assert found.references == ()


def test_no_subjects_are_claimed_where_none_are_stated(catalog: Catalog) -> None:
    found = card(catalog, dataset=dataset(stated=False))
    assert found.training_data == ("Boxes: 3 cases (subjects are not stated).",)


def test_very_many_labels_fit_onto_a_card(catalog: Catalog) -> None:
    names = [f"{'very long name of a structure':.40} {n}" for n in range(300)]
    measured = [
        row
        for metric in ("dice", "hd95")
        for row in [*(statistics(metric, name) for name in names), statistics(metric, ALL_LABELS)]
    ]
    found = card(catalog, recipe=made(catalog, names), measured=measured)
    assert found.summary == "Segments 300 structures in CT and pet; trained on Boxes."
    assert len(found.evaluation) == 100
    assert [line[:23] for line in found.evaluation[:2]] == [
        "dice (mean of labels): ",
        "hd95 (mean of labels): ",
    ]
    assert found.evaluation[-1] == "503 more are in the report."


def test_whatever_a_dataset_says_of_itself_fits_onto_a_card(catalog: Catalog) -> None:
    odd = Statement(
        description="Two\nlines,\x00 a\u200bzero width,\t" + "and very long " * 1000,
        licence="\ufeffMIT",
        attribution=" \n ",
        reference="x" * 9000,
    )
    found = card(catalog, dataset=dataset(odd, name="B\u200box\n"))
    assert found.licence == "MIT"
    assert found.training_data[1].startswith("Two lines, a zero width, and very long and")
    assert len(found.training_data) == 3
    assert max(map(len, found.training_data)) <= 2000


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Task04 Hippocampus-run", "task04-hippocampus-run"),
        ("../../etc/passwd", "etc-passwd"),
        ("Größe", "gr-e"),
        ("---", "model"),
        ("a" * 100, "a" * 60),
        ("a" * 59 + "-b", "a" * 59),
    ],
)
def test_any_text_becomes_a_models_name(catalog: Catalog, text: str, name: str) -> None:
    assert model_name(text) == name
    assert Card.model_validate({**card(catalog).model_dump(), "name": name}).name == name


# ---- the folder


class Tied(torch.nn.Module):
    """Two names for one tensor, as MONAI's DynUNet has many."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 2)
        self.second = self.first
        with torch.no_grad():
            self.first.weight.fill_(seed)


def saved(folder: Path, seed: int = 0) -> Path:
    path = folder / f"{seed}.safetensors"
    weights_saved(Tied(seed), path)
    return path


def test_weights_come_back_whatever_names_they_share(tmp_path: Path) -> None:
    other = Tied(5)
    load_model(other, str(saved(tmp_path, 3)))
    assert (other.second.weight == 3).all()
    assert [each.name for each in tmp_path.iterdir()] == ["3.safetensors"]


def test_a_model_is_its_weights_its_pipeline_and_its_card(catalog: Catalog, tmp_path: Path) -> None:
    weights = {f"fold{n}.safetensors": saved(tmp_path, n) for n in range(2)}
    step = StepCall(name="medseg/keep-largest", parameters={"labels": ["liver"]})
    write_model(tmp_path / "model", made(catalog), weights, card(catalog), (step,))
    assert sorted(each.name for each in (tmp_path / "model").iterdir()) == [
        "card.yaml",
        "fold0.safetensors",
        "fold1.safetensors",
        "pipeline.yaml",
    ]
    model = find_model(str(tmp_path / "model"), catalog)
    assert model.card == card(catalog)
    assert model.file.segment.parameters["weights"] == [
        {"path": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name, path in weights.items()
    ]
    assert model.file.postprocess == (step,)
    assert read_card(tmp_path / "model" / "card.yaml").research_use_only is True


def test_a_model_is_replaced_and_nothing_else_is(catalog: Catalog, tmp_path: Path) -> None:
    first, second = saved(tmp_path, 0), saved(tmp_path, 1)
    for path in (first, second):
        write_model(tmp_path / "model", made(catalog), {"w.safetensors": path}, card(catalog), ())
        assert sha256_of(tmp_path / "model" / "w.safetensors") == sha256_of(path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.odt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else than a model"):
        write_model(other, made(catalog), {"w.safetensors": first}, card(catalog), ())
    assert [each.name for each in other.iterdir()] == ["thesis.odt"]


def test_the_same_model_keeps_a_card_that_was_edited(catalog: Catalog, tmp_path: Path) -> None:
    model, path, other = tmp_path / "model", saved(tmp_path, 0), saved(tmp_path, 1)

    def written(weights: Path, *steps: StepCall) -> str:
        write_model(model, made(catalog), {"w.safetensors": weights}, card(catalog), steps)
        return (model / "card.yaml").read_text()

    first = written(path)
    edited = first.replace("0.1.0", "0.2.0")
    (model / "card.yaml").write_text(edited)
    assert written(path) == edited
    (model / "w.safetensors").write_bytes(b"damaged")
    assert written(path) == first
    assert sha256_of(model / "w.safetensors") == sha256_of(path)
    (model / "card.yaml").write_text(edited)
    assert written(other) == first
    (model / "card.yaml").write_text(edited)
    step = StepCall(name="medseg/keep-largest", parameters={"labels": ["liver"]})
    assert written(other, step) == first


def test_a_file_that_is_missing_leaves_no_model(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_model(tmp_path / "model", made(catalog), {"w.safetensors": tmp_path / "no"}, card(catalog), ())
    assert list(tmp_path.iterdir()) == []
