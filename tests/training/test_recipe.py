import copy
from pathlib import Path
from typing import Any

import pytest

from medseg.builtin.augment.flip import Flip
from medseg.builtin.network.dynunet import DynUnet
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.config import PipelineFile, StepCall
from medseg.errors import PipelineError
from medseg.plugin.catalog import Catalog, discover
from medseg.training.recipe import Recipe, recipe

CONTENT: dict[str, Any] = {
    "inputs": [{"name": "ct", "modality": "CT"}],
    "labels": {1: {"name": "left kidney"}, 2: {"name": "right kidney"}},
    "preprocess": [{"reorient": {"to": "RAS"}}, "z-score"],
    "segment": {
        "network": {
            "architecture": {"dynunet": {"channels": [4, 8, 16]}},
            "head": "softmax",
            "window": {"patch": [16, 16, 8]},
        }
    },
    "training": {"augment": ["flip", "rotate", "noise"], "loss": "dice-ce"},
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is installed."""
    return discover()


def changed(**parts: Any) -> PipelineFile:
    """CONTENT with other parts; `network` and `training` key by key."""
    content = copy.deepcopy(CONTENT)
    content["segment"]["network"] |= parts.pop("network", {})
    content["training"] |= parts.pop("training", {})
    return PipelineFile.model_validate(content | parts)


def test_names_become_steps_with_their_places(catalog: Catalog) -> None:
    made = recipe(changed(), catalog)
    assert made.patch == (16, 16, 8)
    assert [label.name for label in made.labels] == ["left kidney", "right kidney"]
    assert [(each.name, each.modality) for each in made.inputs] == [("ct", "CT")]
    assert isinstance(made.segment.step, NetworkSegmenter)
    assert isinstance(made.segment.step.architecture, DynUnet)
    assert [stage.place for stage in made.augment] == [f"training.augment[{n}]" for n in range(3)]
    assert made.loss is not None
    assert (made.segment.place, made.loss.place) == ("segment", "training.loss")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"labels": {}}, "labels: is missing; say what the values in the masks mean"),
        ({"training": {"loss": "dicece"}}, "training.loss: no loss is called 'dicece'; did you mean"),
        (
            {"training": {"loss": {"dice-ce": {"smoth": 1}}}},
            "training.loss.dice-ce.smoth: there is no 'smoth' here",
        ),
        (
            {"training": {"augment": ["flip", "rotat"]}},
            "training.augment[1]: no augmentation is called 'rotat'; did you mean 'rotate'?",
        ),
        (
            {"training": {"augment": [{"rotate": {"degrees": 400}}]}},
            "training.augment[0].rotate.degrees: input should be less than or equal to 180, not 400",
        ),
        (
            {"training": {"augment": ["noise", "gamma", "flip"]}},
            "training.augment[2]: 'flip' moves places; put it before those that change values",
        ),
        (
            {"training": {"loss": {"cross-entropy": {"weights": [1, 2]}}}},
            "training.loss: cross-entropy.weights: 2 numbers for 3 channels",
        ),
        (
            {"training": {"loss": {"sum": {"losses": ["dice", {"focal": {"alpha": [0.5]}}]}}}},
            "training.loss: focal.alpha: 1 numbers for 3 channels",
        ),
        ({"training": {"augment": ["z-score"]}}, "training.augment[0]: no augmentation is called 'z-score'"),
        ({"segment": {"threshold": {"above": 1}}}, "segment: 'threshold' has nothing to train; take `netw"),
        (
            {"network": {"window": {"patch": [16, 16, 9]}}},
            "segment.network: window.patch: [16, 16, 9] does not fit the network, whose patches are mult",
        ),
        (
            {"network": {"window": {"patch": [16, 16, 8], "overlp": 0.5}}},
            "segment.network.window.overlp: there is no 'overlp' here; did you mean 'overlap'?",
        ),
        (
            {"network": {"architecture": {"dynunet": {"channels": [4, 8]}}}},
            "segment.network.architecture.dynunet.channels: ",
        ),
        (
            {"network": {"mirror": ["left-right"]}},
            "segment.network: mirror: left-right cannot be used with the pair 'left kidney' and 'right kidn",
        ),
        (
            {"labels": {1: {"name": "whole"}, 2: {"name": "core", "layer": 1}}},
            "segment.network: head: softmax gives one label a voxel, and 'core' is in layer 1",
        ),
        (
            {"network": {"head": {"distance-watershed": {"stuff": ["left kidny"]}}}},
            "segment.network.head.stuff: there is no label 'left kidny'; did you mean 'left kidney'?",
        ),
        (
            {"network": {"head": "border-core", "temperature": 2.0}},
            "segment.network: temperature: divides logits, and the head's channels are other things too",
        ),
        (
            {"network": {"head": "border-core"}, "postprocess": ["keep-largest"]},
            "postprocess[0].keep-largest: changes labels, and segmenter 'network' gives objects",
        ),
        ({"preprocess": ["z-scor"]}, "preprocess[0]: no preprocessor is called 'z-scor'"),
        # of no use before the end of a training, when it would be late to learn of it
        ({"refine": ["dense-crff"]}, "refine[0]: no refiner is called 'dense-crff'"),
        ({"postprocess": ["keep-largst"]}, "postprocess[0]: no postprocessor is called 'keep-largst'"),
        (
            {"postprocess": [{"keep-largest": {"labels": ["left kidny"]}}]},
            "postprocess[0].keep-largest.labels: there is no label 'left kidny'; did you mean 'left kidney'?",
        ),
        ({"measure": ["volume"]}, "measure[0]: no measurement is called 'volume'"),
        ({"write": ["niftii"]}, "write[0]: no writer is called 'niftii'"),
    ],
)
def test_a_fault_is_told_with_its_place(catalog: Catalog, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        recipe(changed(**parts), catalog)
    assert str(caught.value).startswith(said)
    assert str(caught.value).isprintable()


def test_a_file_that_says_nothing_of_training_is_refused(catalog: Catalog) -> None:
    file = changed().model_copy(update={"training": None})
    with pytest.raises(PipelineError, match=r"^training: is missing$"):
        recipe(file, catalog)


def test_augmentations_learn_labels_and_axes(catalog: Catalog) -> None:
    flip, rotate, noise = recipe(changed(), catalog).bound_to("ASR")
    assert isinstance(flip.step, Flip)
    assert flip.step._axes == (0, 1)  # not left-right: the labels are a pair
    assert (flip.place, rotate.name, noise.distribution) == ("training.augment[0]", "rotate", "medseg")


def test_a_2d_network_has_the_first_two_axes(catalog: Catalog) -> None:
    flat = changed(
        network={"window": {"patch": [16, 16]}, "architecture": {"dynunet": {"channels": [4, 8, 16]}}}
    )
    bound = recipe(flat, catalog).bound_to("SAR")
    assert isinstance(bound[0].step, Flip)
    assert bound[0].step._axes == (0, 1)


def test_an_augmentation_that_does_not_suit_the_labels_is_blamed(catalog: Catalog) -> None:
    made = recipe(changed(training={"augment": [{"flip": {"axes": ["left-right"]}}]}), catalog)
    with pytest.raises(PipelineError, match="the pair 'left kidney' and 'right kidney'") as caught:
        made.bound_to("RAS")
    assert any("training.augment[0]: flip" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    "parts",
    [
        {"preprocess": ["z-score"]},
        {"preprocess": [{"reorient": {"to": "LPS"}}, "z-score"]},
        {"training": {"loss": {"dice-ce": {"smooth": 0.5}}}},
        {"training": {"loss": "dice"}},
        {"network": {"head": "sigmoid"}},
        {"labels": {1: {"name": "left kidney"}, 3: {"name": "right kidney"}}},
    ],
)
def test_what_prepared_cases_rest_on_is_written(catalog: Catalog, parts: dict[str, Any]) -> None:
    assert recipe(changed(**parts), catalog).written() != recipe(changed(), catalog).written()


@pytest.mark.parametrize(
    "parts",
    [
        {"training": {"batch": 7, "augment": []}},
        {"network": {"window": {"patch": [32, 32, 32]}}},
        {"preprocess": [{"medseg/reorient": {"to": "RAS"}}, {"medseg/z-score": {}}]},
    ],
)
def test_what_they_do_not_rest_on_is_not(catalog: Catalog, parts: dict[str, Any]) -> None:
    assert recipe(changed(**parts), catalog).written() == recipe(changed(), catalog).written()


def test_the_file_of_the_model_names_its_weights(catalog: Catalog, tmp_path: Path) -> None:
    made: Recipe = recipe(changed(postprocess=["fill-holes"]), catalog)
    step = StepCall(name="medseg/keep-largest", parameters={"labels": ["left kidney"]})
    file = made.file_with({"a.safetensors": "0" * 64, "b.safetensors": "1" * 64}, (step,))
    assert file.segment.parameters["weights"] == [
        {"path": "a.safetensors", "sha256": "0" * 64},
        {"path": "b.safetensors", "sha256": "1" * 64},
    ]
    assert [call.name for call in file.postprocess] == ["fill-holes", "medseg/keep-largest"]
    without = {**file.segment.parameters, "weights": []}
    del without["weights"]
    assert without == changed().segment.parameters
    assert file.training == made.file.training
    assert recipe(file, catalog).segment.step.files() == {
        "a.safetensors": "0" * 64,
        "b.safetensors": "1" * 64,
    }
