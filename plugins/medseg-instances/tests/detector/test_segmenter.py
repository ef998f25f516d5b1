"""The parameters of a detector: what fits together, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from detector.samples import detector
from medseg_instances.detector.segmenter import Detector
from pydantic import ValidationError
from touching import TABLE

from medseg.config import PipelineFile
from medseg.errors import PipelineError, UsageError
from medseg.plugin.catalog import discover
from medseg.prediction import Resources
from medseg.training.recipe import recipe

PIPELINE: dict[str, Any] = {
    "labels": {1: {"name": "nucleus"}},
    "segment": {"detector": {"window": {"patch": [64, 64]}}},
    "training": {},
}


def test_levels_are_where_the_stages_stand() -> None:
    assert Detector(window={"patch": (64, 64)}).level_strides == ((4, 4), (8, 8), (16, 16))
    thick = detector(3, strides=((2, 2, 1), 2), finest=0)
    assert thick.level_strides == ((1, 1, 1), (2, 2, 1), (4, 4, 2))
    assert (thick.dims, thick.patch, thick.patch_voxels) == (3, (16, 16, 16), (16, 16, 16))
    assert detector(2).patch == (16, 16, 1)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"strides": (2,)}, "3 stages have 2 strides between them"),
        ({"finest": 3}, "there is no stage 3 of 3"),
        ({"window": {"patch": (16,)}}, "at least 2 items"),
        ({"elongations": (1.0,)}, "greater than 1"),
        ({"score": 0}, "greater than 0"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        detector(2, **parameters)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"window": {"patch": (16, 18)}}, r"window.patch: \[16, 18\] does not fit the network, .* \[4, 4\]"),
        ({"strides": (2, (2, 2, 1))}, r"strides: \[2, 2, 1\] is not for the 2 axes of window.patch"),
    ],
)
def test_what_does_not_fit_together(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        detector(2, **parameters).check(TABLE)


def test_without_weights_there_is_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="weights: there are none; train them with"):
        detector(2).bound(labels=TABLE, folder=tmp_path)
    with pytest.raises(UsageError, match="opened after bound"):
        detector(2).open(Resources())


def test_it_is_trained_without_a_loss_or_a_head() -> None:
    made = recipe(PipelineFile.model_validate(PIPELINE), discover())
    assert made.loss is None
    assert made.file.training is not None
    assert made.file.training.loss is None
    assert made.built_loss((1.0, 1.0)) is None
    assert made.written()["objects"] is True
    assert made.segment.step.of_objects
    with pytest.raises(PipelineError, match=r"training\.loss: segmenter 'detector' has losses of its own"):
        recipe(PipelineFile.model_validate({**PIPELINE, "training": {"loss": "dice-ce"}}), discover())


def test_steps_that_change_labels_are_refused_after_it() -> None:
    file = PipelineFile.model_validate({**PIPELINE, "postprocess": ["keep-largest"]})
    with pytest.raises(PipelineError, match=r"postprocess\[0\].keep-largest: changes labels, and segmenter"):
        recipe(file, discover())


def test_what_was_trained_is_named_in_the_pipeline() -> None:
    made = recipe(PipelineFile.model_validate(PIPELINE), discover())
    file = made.file_with({"w.safetensors": "0" * 64})
    assert file.segment.parameters["weights"] == [{"path": "w.safetensors", "sha256": "0" * 64}]
    assert recipe(file, discover()).segment.step.files() == {"w.safetensors": "0" * 64}
