from pathlib import Path
from typing import Any

import pytest

from medseg.config import PipelineFile
from medseg.errors import PipelineError
from medseg.training.overlay import laid_over, overridden

PLANNED = PipelineFile.model_validate(
    {
        "labels": {1: {"name": "liver", "code": "SCT:10200004"}},
        "preprocess": [{"reorient": {"to": "RAS"}}, "z-score"],
        "segment": {
            "network": {
                "architecture": {"dynunet": {"channels": [16, 32, 64], "deep_supervision": 1}},
                "head": "softmax",
                "window": {"patch": [40, 56, 40], "overlap": 0.5},
                "mirror": ["left-right"],
            }
        },
        "training": {"augment": ["flip", "noise"], "batch": 2, "steps_per_epoch": 50, "seed": 4},
    }
)


def over(tmp_path: Path, text: str) -> tuple[PipelineFile, tuple[str, ...]]:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return overridden(PLANNED, path)


def network(file: PipelineFile) -> dict[str, Any]:
    return dict(file.segment.parameters)


def test_keys_of_training_take_the_planned_ones_place_one_by_one(tmp_path: Path) -> None:
    file, paths = over(tmp_path, "training: {batch: 4, rate: 0.1}")
    assert file.training is not None
    assert (file.training.batch, file.training.rate) == (4, 0.1)
    assert (file.training.steps_per_epoch, file.training.seed) == (50, 4)
    assert [call.name for call in file.training.augment] == ["flip", "noise"]
    assert paths == ("training.batch", "training.rate")
    assert file.segment == PLANNED.segment


def test_parameters_of_the_same_component_too(tmp_path: Path) -> None:
    file, paths = over(
        tmp_path,
        "segment: {network: {window: {patch: [24, 24, 24]}, "
        "architecture: {dynunet: {channels: [4, 8, 16]}}}}",
    )
    assert network(file)["window"] == {"patch": [24, 24, 24], "overlap": 0.5}
    assert network(file)["architecture"] == {"dynunet": {"channels": [4, 8, 16], "deep_supervision": 1}}
    assert network(file)["mirror"] == ["left-right"]
    assert paths == ("segment.network.window.patch", "segment.network.architecture.dynunet.channels")


def test_another_component_takes_it_as_a_whole(tmp_path: Path) -> None:
    file, paths = over(tmp_path, "segment: {network: {architecture: {unet: {channels: [8, 16]}}}}")
    assert network(file)["architecture"] == {"unet": {"channels": [8, 16]}}
    assert paths == ("segment.network.architecture",)
    file, paths = over(tmp_path, "segment: {network: {head: sigmoid}}")
    assert network(file)["head"] == "sigmoid"
    file, paths = over(tmp_path, "segment: {threshold: {above: 3}}")
    assert (file.segment.name, network(file)) == ("threshold", {"above": 3})
    assert paths == ("segment",)


def test_parameters_of_one_that_was_planned_without(tmp_path: Path) -> None:
    file, paths = over(tmp_path, "segment: {network: {head: {softmax: {}}}}\ntraining: {loss: {dice-ce: {}}}")
    assert network(file)["head"] == {"softmax": {}}
    assert file.training is not None
    assert file.training.loss is not None
    assert file.training.loss.name == "dice-ce"
    assert paths == ("training.loss",)


def test_lists_take_it_as_a_whole(tmp_path: Path) -> None:
    file, paths = over(
        tmp_path, "preprocess: [{z-score: {foreground: nonzero}}]\ntraining: {augment: [gamma]}"
    )
    assert [(call.name, call.parameters) for call in file.preprocess] == [
        ("z-score", {"foreground": "nonzero"})
    ]
    assert file.training is not None
    assert [call.name for call in file.training.augment] == ["gamma"]
    assert paths == ("preprocess", "training.augment")


def test_labels_by_their_value(tmp_path: Path) -> None:
    file, paths = over(tmp_path, "labels: {1: {colour: '#ff0000'}}")
    assert file.labels[1].model_dump(exclude_defaults=True) == {
        "name": "liver",
        "code": "SCT:10200004",
        "colour": "#ff0000",
    }
    assert paths == ("labels.1.colour",)
    file, _ = over(tmp_path, "labels: {2: {name: tumour}}")
    assert [spec.name for spec in file.labels.values()] == ["liver", "tumour"]


@pytest.mark.parametrize("text", ["training:", "training: {}", "segment:", "segment: {network: }", "{}"])
def test_nothing_said_changes_nothing(tmp_path: Path, text: str) -> None:
    assert over(tmp_path, text) == (PLANNED, ())


def test_null_is_said_where_it_means_something(tmp_path: Path) -> None:
    file, paths = over(tmp_path, "training: {patience: null}")
    assert file.training is not None
    assert file.training.patience is None
    assert paths == ("training.patience",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "is not a pipeline file; write for example `training: {batch: 4}`"),
        ("", "is not a pipeline file"),
        ("training: {batch: 0}", "training.batch: input should be greater than or equal to 1, not 0"),
        ("training: {bach: 3}", "training.bach: there is no 'bach' here; did you mean 'batch'?"),
        ("trainig: {batch: 3}", "trainig: there is no 'trainig' here; did you mean 'training'?"),
        ("training: {augment: flip}", "training.augment: is not a list"),
        ("training: 3", "training: "),
        ("labels: {liver: {name: x}}", "labels.liver: input should be a valid integer"),
        ("labels: [liver]", "labels: is not `key: value` pairs"),
        ("labels: {1: {nme: x}}", "there is no 'nme' here; did you mean 'name'?"),
        ("labels: {2: {name: liver}}", "labels: two labels share the name 'liver'"),
        ("segment: {network: {}, threshold: {}}", "segment: a step is a name, or one name with its param"),
        ("training: {batch: [", "line 1: not valid YAML"),
    ],
)
def test_a_fault_is_told_with_file_and_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        over(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}: ")
    assert said in message
    assert message.isprintable()


def test_what_was_planned_stays_as_it_was() -> None:
    planned = {"a": {"b": {"c": 1, "d": 2}}, "e": [1]}
    paths: list[str] = []
    assert laid_over(planned, {"a": {"b": {"c": 3}}, "e": []}, paths) == {
        "a": {"b": {"c": 3, "d": 2}},
        "e": [],
    }
    assert planned == {"a": {"b": {"c": 1, "d": 2}}, "e": [1]}
    assert paths == ["a.b.c", "e"]
