from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trainings
import yaml

from medseg.assemble import assemble
from medseg.config import InputSpec, PipelineFile, read_pipeline
from medseg.pipeline import walk
from medseg.plugin.catalog import discover
from medseg.prediction import Resources, Wanted
from medseg.segmentation import Label, LabelTable
from medseg.training.calibration import Calibration
from medseg.training.dataset import Case, Dataset, open_dataset, read_case
from medseg.training.finish import caveats, sentence
from medseg.training.recipe import Recipe, recipe
from medseg.training.train import train
from medseg.training.wishes import Wishes

SUBJECTS = "Subjects are not stated: cases of one person may lie on both sides of a split."


def dataset(*, stated: bool) -> Dataset:
    return Dataset(
        name="boxes",
        inputs=(InputSpec(),),
        labels=LabelTable((Label(1, "box"),)),
        cases=(Case("c", {"image": Path("x")}, Path("y"), "c"),),
        values={"box": (1,)},
        subjects_stated=stated,
    )


@pytest.fixture(scope="module")
def made() -> Recipe:
    network = {"architecture": {"dynunet": {"channels": [4, 8, 16]}}, "window": {"patch": [8, 8, 8]}}
    file = {
        "labels": {1: {"name": "box"}},
        "segment": {"network": {**network, "head": "softmax"}},
        "training": {},
    }
    return recipe(PipelineFile.model_validate(file), discover())


def test_what_flatters_the_numbers_is_said(made: Recipe) -> None:
    patient = replace(made, spec=made.spec.model_copy(update={"patience": 3}))
    stated, unstated = dataset(stated=True), dataset(stated=False)
    assert caveats(stated, made, measured=True, chosen=False) == ()
    assert caveats(unstated, made, measured=True, chosen=False) == (SUBJECTS,)
    (line,) = caveats(stated, made, measured=True, chosen=True)
    assert line.startswith("Post-processing was chosen by the same held-out cases")
    (line,) = caveats(stated, patient, measured=True, chosen=False)
    assert line.startswith("Weights were chosen by the same held-out cases")
    assert len(caveats(unstated, patient, measured=True, chosen=True)) == 3
    assert caveats(unstated, patient, measured=False, chosen=False) == ()


def test_a_calibration_is_told_with_what_it_was_measured_on() -> None:
    assert sentence(None) == ""
    crossed = Calibration(1.8346, (0.031, 0.2), (0.0123, 0.15), 5000, crossed=True)
    assert sentence(crossed) == (
        "logits are divided by the temperature 1.83: on 5000 held-out voxels about the labels, each seen by "
        "the network of its own fold alone and not by the ensemble, the expected calibration "
        "error is 0.0123 instead of 0.0310, the Brier score 0.1500 instead of 0.2000"
    )
    assert "about the labels, to which it was fitted, the" in sentence(replace(crossed, crossed=False))


def miscalibration(model: Path, data: Path, *, temperature: bool) -> float:
    """How far the mean of the winning probability is from how often it wins rightly, on the held-out case."""
    file = read_pipeline(model / "pipeline.yaml")
    if not temperature:
        del file.segment.parameters["temperature"]
    pipeline = replace(
        assemble(file, discover(), folder=model), measure=(), write=(), asked=Wanted(whole_scores=True)
    )
    dataset = open_dataset(data)
    (held,) = {case.id for case in dataset.cases} - trained_on(model)
    example = read_case(dataset.case(held), dataset)
    with pipeline.segment.step.open(Resources(device="cpu", threads=1)) as predictor:
        prediction, _, _ = walk(pipeline, example.volume, predictor)
    assert prediction.scores is not None
    assert example.segmentation is not None
    shares = prediction.scores.read(prediction.scores.grid).array
    whole = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
    right = whole.argmax(0) == example.segmentation.array[0]
    return abs(float(whole.max(0).mean()) - float(right.mean()))


def trained_on(model: Path) -> set[str]:
    run = model.parent
    (held,) = yaml.safe_load((run / "training.json").read_text(encoding="utf-8"))["folds"]
    return {f"case{number}" for number in range(4)} - set(held)


def test_the_models_probabilities_come_true_more_often_with_its_temperature(tmp_path: Path) -> None:
    data = trainings.dataset(tmp_path / "data", cases=4)
    tiny = trainings.overlay(tmp_path / "tiny.yaml", steps_per_epoch=12, rate=0.01, averaging=0)
    resources = Resources(device="cpu", threads=1)
    done = train(data, tmp_path / "run", wishes=Wishes(epochs=3, pipeline=tiny), resources=resources)
    assert done.model is not None
    assert done.report is not None
    network = yaml.safe_load((done.model / "pipeline.yaml").read_text(encoding="utf-8"))["segment"]["network"]
    assert network["temperature"] != 1
    before, after = (miscalibration(done.model, data, temperature=there) for there in (False, True))
    assert after < 0.7 * before
    (line,) = [
        said
        for said in yaml.safe_load((done.model / "card.yaml").read_text(encoding="utf-8"))["evaluation"]
        if "temperature" in said
    ]
    assert line.startswith(f"Logits are divided by the temperature {network['temperature']:.3g}: on ")
    assert line.rstrip(".")[1:] in done.report.read_text(encoding="utf-8")
