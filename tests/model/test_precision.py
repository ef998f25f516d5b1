"""When a lower precision is taken by itself, and how a card records what allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medseg import PipelineError, Resources, UsageError
from medseg.inference.engines.installed import missing
from medseg.inference.processors import processors_compute
from medseg.model import Card, Model, PrecisionEvidence, allows, model_in, read_card
from medseg.model.precision import may_record, precision_for, record, written
from medseg.plugin.catalog import Entry
from medseg.plugin.component import Component

ONE, TWO = "a" * 64, "b" * 64
CARD = (
    "# made by hand\nname: mine\nversion: '1'\nsummary: One line.\nlicence: MIT\n"
    "intended_use: Tests.  # and no more\nlimitations:\n- None known.\n"
)


def evidence(**changes: Any) -> PrecisionEvidence:
    return PrecisionEvidence.model_validate(
        {
            "precision": "bf16",
            "engine": "torch",
            "weights_sha256": (ONE,),
            "cases": 3,
            "dice_mean": 0.9995,
            "dice_lowest": 0.98,
            "labels": {"liver": 0.9999, "tumour": 0.999},
            **changes,
        }
    )


def card(*found: PrecisionEvidence) -> Card:
    plain = {"name": "mine", "version": "1", "summary": "x", "licence": "MIT", "intended_use": "x"}
    return Card.model_validate({**plain, "precision": found})


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "card.yaml").write_text(CARD)
    (tmp_path / "pipeline.yaml").write_text("labels: {1: {name: ball}}\nsegment: {threshold: {above: 50}}\n")
    return model_in(tmp_path, "mine")


@pytest.mark.parametrize(
    ("found", "weights", "engine", "expected"),
    [
        ([evidence()], [ONE], "torch", True),
        ([evidence()], [ONE], None, True),
        ([], [ONE], "torch", False),
        ([evidence()], [TWO], "torch", False),  # other weights
        ([evidence()], [ONE, TWO], "torch", False),  # an ensemble of which one was measured
        ([evidence(weights_sha256=(TWO, ONE))], [ONE, TWO], "torch", True),
        ([evidence()], [], "torch", False),
        ([evidence()], [ONE], "openvino", False),  # another engine rounds otherwise
        ([evidence(precision="fp16")], [ONE], "torch", False),
        # the mean over all labels hides the small one
        ([evidence(dice_mean=0.9995, labels={"liver": 1.0, "tumour": 0.9989})], [ONE], "torch", False),
        ([evidence(), evidence(labels={"liver": 0.9})], [ONE], "torch", False),  # all must suffice
    ],
)
def test_evidence_allows_what_it_was_measured_for(
    found: list[PrecisionEvidence], weights: list[str], engine: str | None, expected: bool
) -> None:
    assert allows(card(*found), "bf16", weights, engine=engine) == expected
    assert allows(card(*found), "fp32", weights, engine=engine)


def test_auto_is_bf16_with_evidence_and_instructions_only() -> None:
    plain = Resources(device="cpu", engine="torch", precision="auto")
    expected = "bf16" if processors_compute("bf16") else "fp32"
    assert precision_for(card(evidence()), [ONE], plain) == expected
    assert precision_for(card(evidence()), [TWO], plain) == "fp32"
    assert precision_for(card(), [ONE], plain) == "fp32"
    assert precision_for(None, [ONE], plain) == "fp32"
    assert precision_for(card(evidence()), [], plain) == "fp32"


def test_what_was_asked_for_stands() -> None:
    for asked in ("fp32", "bf16", "fp16"):
        assert precision_for(card(), [ONE], Resources(precision=asked)) == asked


@pytest.mark.skipif(missing("openvino", "onnx", "onnxscript") is not None, reason="needs medseg[engines]")
def test_the_engine_that_will_run_must_have_been_measured() -> None:
    by_itself = Resources(device="cpu", engine="auto", precision="auto")
    assert precision_for(card(evidence(engine="torch")), [ONE], by_itself) == "fp32"
    expected = "bf16" if processors_compute("bf16") else "fp32"
    assert precision_for(card(evidence(engine="openvino")), [ONE], by_itself) == expected


def test_a_record_is_added_and_the_rest_of_the_card_stays(model: Model) -> None:
    path = record(model, evidence())
    assert path.read_text().startswith(CARD)
    assert read_card(path).precision == (evidence(),)


def test_a_newer_record_replaces_its_like_only(model: Model) -> None:
    path = record(model, evidence())
    path.write_text(path.read_text() + "references:\n- A paper.\n")  # a key after the block
    record(model, evidence(engine="openvino"))
    record(model, evidence(cases=9))
    found = read_card(path)
    assert found.precision == (evidence(engine="openvino"), evidence(cases=9))
    assert found.references == ("A paper.",)
    assert "# and no more" in path.read_text()
    assert path.read_text().count("precision:\n") == 1


def test_a_block_that_was_written_by_hand_on_one_line_is_replaced_too(model: Model) -> None:
    path = model.folder / "card.yaml"
    path.write_text(CARD + "precision: []  # none yet\n")
    record(model, evidence())
    assert read_card(path).precision == (evidence(),)


def test_a_plugins_card_is_not_touched(model: Model) -> None:
    entry = Entry("model", Component("mine", "fake:models/mine", "A model."), "fake", "1")
    theirs = Model(model.name, model.file, model.path, model.folder, model.sha256, model.card, entry)
    assert not may_record(theirs)
    with pytest.raises(UsageError, match="is a plugin's"):
        record(theirs, evidence())
    assert (model.folder / "card.yaml").read_text() == CARD


@pytest.mark.parametrize(
    "wrong",
    [
        "precision: bf16",
        "precision: [{precision: int4, engine: torch, weights_sha256: [], cases: 1}]",
        written([evidence()]).replace("cases: 3", "cases: 0"),
        written([evidence()]).replace("0.9995", "1.5"),
        written([evidence()]).replace(ONE, "abc"),
    ],
)
def test_evidence_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(CARD + wrong + "\n")
    with pytest.raises(PipelineError, match="precision"):
        read_card(path)
