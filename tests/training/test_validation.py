"""Validation during a training: whole cases, held against known answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
import trainings
from numpy.typing import NDArray
from prepared_cases import prepared

from medseg.evaluation import metrics_named
from medseg.pipeline import Stage
from medseg.plugin.catalog import discover
from medseg.steps import Metric
from medseg.training.fit import Course
from medseg.training.prepared import PreparedCase
from medseg.training.validation import Scored, Validation, mean, validated

Array = NDArray[Any]


class Reads(torch.nn.Module):
    """Reads the label off the image, whose values are labels."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values = torch.arange(3, dtype=image.dtype).reshape(1, 3, *[1] * (image.ndim - 2))
        return -10 * (image - values) ** 2


@pytest.fixture
def course(tmp_path: Path) -> Course:
    found: Course = trainings.made(tmp_path / "course", cases=2)
    return found


def scored(course: Course, *cases: PreparedCase, network: torch.nn.Module | None = None) -> Scored:
    return both(course, *cases, network=network).dice


def both(
    course: Course,
    *cases: PreparedCase,
    network: torch.nn.Module | None = None,
    objects: Stage[Metric] | None = None,
) -> Validation:
    return validated(
        network or Reads(),
        cases,
        recipe=course.recipe,
        metric=course.metric,
        objects=objects,
        device=torch.device("cpu"),
        autocast=torch.no_grad,
    )


def case(folder: Path, image: Array, labels: Array, **more: Any) -> PreparedCase:
    return prepared(folder, image[None].astype(np.float32), labels, values=(1, 2), **more)


def boxes(shape: tuple[int, int, int]) -> Array:
    """Label 1 in a box from 1 to 5 along i, label 2 from 6 to 9; 4 x 2 voxels of j and k."""
    labels = np.zeros(shape, np.uint8)
    labels[1:5, 2:6, 1:3] = 1
    labels[6:9, 2:6, 1:3] = 2
    return labels


@pytest.mark.parametrize("shape", [(40, 33, 29), (10, 9, 4), (24, 24, 24), (60, 8, 25)])
def test_a_network_that_knows_scores_1(course: Course, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    """Larger than the patch of 24 voxels, smaller, and both by axis."""
    labels = boxes(shape)
    assert scored(course, case(tmp_path / "a", labels, labels)) == {"a": {"large": 1.0, "small": 1.0}}


def test_slices_of_a_flat_network(tmp_path: Path) -> None:
    course = trainings.made(tmp_path / "course", "{segment: {network: {window: {patch: [16, 16]}}}}", cases=2)
    labels = boxes((30, 20, 5))
    assert scored(course, case(tmp_path / "a", labels, labels)) == {"a": {"large": 1.0, "small": 1.0}}


def test_moved_by_a_voxel(course: Course, tmp_path: Path) -> None:
    """Of 4 and of 3 layers one lies beside: Dice 2 * 3 / 8, and 2 * 2 / 6."""
    labels = boxes((12, 10, 8))
    found = scored(course, case(tmp_path / "a", np.roll(labels, 1, axis=0), labels))
    assert found["a"] == {"large": pytest.approx(0.75), "small": pytest.approx(2 / 3)}


def test_where_the_reference_is_not_known_nothing_counts(course: Course, tmp_path: Path) -> None:
    labels = boxes((12, 10, 8))
    image = labels.copy()
    image[:, :, 4:] = 2  # wrong, in slices of which nothing is known
    valid = np.ones(labels.shape, np.uint8)
    valid[:, :, 4:] = 0
    known, unknown = (
        case(tmp_path / "known", image, labels),
        case(tmp_path / "unknown", image, labels, valid=valid),
    )
    found = scored(course, known, unknown)
    assert found["unknown"] == {"large": 1.0, "small": 1.0}
    assert (found["known"]["small"] or 0) < 0.2


def test_a_label_that_is_nowhere_has_no_number(course: Course, tmp_path: Path) -> None:
    labels = np.where(boxes((12, 10, 8)) == 1, 1, 0).astype(np.uint8)
    assert scored(course, case(tmp_path / "a", labels, labels)) == {"a": {"large": 1.0, "small": None}}


def test_what_was_training_goes_on_training(course: Course, tmp_path: Path) -> None:
    labels = boxes((12, 10, 8))
    network = Reads().train()
    scored(course, case(tmp_path / "a", labels, labels), network=network)
    assert network.training
    scored(course, case(tmp_path / "b", labels, labels), network=network.eval())
    assert not network.training


def test_means_are_of_cases_then_of_labels() -> None:
    """A label in one case of two counts as much as one in both."""
    found: Scored = {"a": {"x": 0.2, "y": None}, "b": {"x": 0.4, "y": 0.9}}
    assert mean(found, "x") == pytest.approx(0.3)
    assert mean(found, "y") == pytest.approx(0.9)
    assert mean(found) == pytest.approx(0.6)
    assert mean(found, "z") is None
    assert mean({}) is None
    assert mean({"a": {"x": None}}) is None


class Trimap(torch.nn.Module):
    """Reads channels off the image: background, cores of two labels, their borders."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values = torch.arange(5, dtype=image.dtype).reshape(1, 5, *[1] * (image.ndim - 2))
        return -10 * (image - values) ** 2


def test_objects_are_counted_beside_the_dice_of_labels(tmp_path: Path) -> None:
    """Two boxes that touch, with a border between them and without: then they are one, and the Dice is 1."""
    head = "{segment: {network: {head: {border-core: {size: 8}}}}}"
    course = trainings.made(tmp_path / "course", head, cases=2)
    (ap,) = metrics_named("average-precision: {thresholds: [0.5]}", discover())
    labels, ids = np.zeros((14, 10, 8), np.uint8), np.zeros((14, 10, 8), np.uint32)
    labels[1:11, 2:8, 1:7] = 1
    ids[1:6, 2:8, 1:7], ids[6:11, 2:8, 1:7] = 1, 2
    apart = labels.copy()
    apart[5:7, 2:8, 1:7] = 3
    valid = np.ones(labels.shape, np.uint8)
    valid[6:] = 0  # one of the two is not known
    found = both(
        course,
        case(tmp_path / "apart", apart, labels, objects=ids),
        case(tmp_path / "joined", labels, labels, objects=ids),
        case(tmp_path / "known", labels, labels, objects=ids, valid=valid),
        case(tmp_path / "labels", labels, labels),
        network=Trimap(),
        objects=ap,
    )
    assert [values["large"] for values in found.dice.values()] == [1.0, 1.0, 1.0, 1.0]
    assert found.objects == {
        "apart": {"large": 1.0, "small": None},
        "joined": {"large": pytest.approx(1 / 2), "small": None},
        "known": {"large": 1.0, "small": None},
    }
