from dataclasses import replace
from pathlib import Path

import pytest

from medseg.config import InputSpec, PipelineFile
from medseg.plugin.catalog import discover
from medseg.segmentation import Label, LabelTable
from medseg.training.dataset import Case, Dataset
from medseg.training.finish import caveats
from medseg.training.recipe import Recipe, recipe

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
