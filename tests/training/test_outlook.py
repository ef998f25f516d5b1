"""What the end of a training will take: with the number of cases, of labels, and with their size."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trainings

from medseg.pipeline import Stage
from medseg.plugin.catalog import discover
from medseg.prediction import Measured, Resources
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.training.appraisal import CANDIDATES, Appraiser
from medseg.training.dataset import open_dataset
from medseg.training.fit import Course
from medseg.training.outlook import network_s, scoring_s, watched
from medseg.training.recipe import Recipe

SLOW_S = 0.1


class Slow(Metric):
    """A metric that takes a tenth of a second for each label."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        for label in reference.labels:
            time.sleep(SLOW_S)
            yield Measured(label=label.name, quantity="slow", value=1.0)


@pytest.fixture
def course(tmp_path: Path) -> Course:
    made: Course = trainings.made(tmp_path, cases=3, held=2)
    return made


@pytest.fixture
def appraiser(tmp_path: Path) -> Appraiser:
    data = open_dataset(trainings.dataset(tmp_path / "data", cases=3))
    slow = Stage("metrics[0]", "slow", "fake", "1.0", Slow(), {})
    return Appraiser(data, (slow,), discover(), Resources(device="cpu"))


def test_each_label_of_each_case_is_scored_as_predicted_and_by_each_candidate(
    course: Course, appraiser: Appraiser
) -> None:
    """Two cases of two labels; with as good as no other work, the metric's sleep is nearly all there is."""
    told = scoring_s(course.validation, course.recipe, appraiser)
    assert told > 2 * 2 * (1 + len(CANDIDATES)) * SLOW_S
    began = time.monotonic()
    scoring_s(course.validation[:1], course.recipe, appraiser)
    assert time.monotonic() - began < told  # to foresee it takes less time than to do it


def test_a_larger_case_takes_longer(course: Course, appraiser: Appraiser) -> None:
    first, second = course.validation
    large = replace(second, grid=replace(second.grid, shape=(48, 48, 48)))  # eight times the voxels
    told = scoring_s((first, large), course.recipe, appraiser)
    assert told > 9 * 2 * (1 + len(CANDIDATES)) * SLOW_S


def test_what_is_not_there_takes_no_time(course: Course, appraiser: Appraiser) -> None:
    assert scoring_s((), course.recipe, appraiser) == 0
    empty = [replace(case, counts=(0, 0)) for case in course.validation]
    assert scoring_s(empty, course.recipe, appraiser) == 0
    assert network_s((), course.recipe, "cpu") == 0


def test_the_network_takes_longer_with_more_cases(course: Course) -> None:
    one, many = (network_s([course.validation[0]] * count, course.recipe, "cpu") for count in (1, 1000))
    assert 0 < one < many


def test_the_network_takes_longer_with_more_copies_and_larger_windows(course: Course) -> None:
    """Nine times the voxels at least, so that a busy machine does not hide it."""
    cases = [course.validation[0]] * 200
    plain = network_s(cases, course.recipe, "cpu")
    assert network_s(cases, changed(course, zoom=(2.0, 0.5)), "cpu") > 3 * plain
    patch = tuple(4 * side for side in course.recipe.patch)
    window = {"patch": patch, "training_patch": course.recipe.patch}
    assert network_s(cases, changed(course, window=window), "cpu") > 3 * plain


def changed(course: Course, **parameters: Any) -> Recipe:
    """The recipe with other parameters of its network."""
    recipe = course.recipe
    step = type(recipe.segment.step).model_validate({**dict(recipe.segment.step), **parameters})
    return replace(recipe, segment=replace(recipe.segment, step=step))


def test_as_many_cases_are_watched_as_an_epoch_takes(course: Course) -> None:
    """Eight samples an epoch are worth 16 windows; each case is one window of the patch's size."""
    (case, *_) = course.validation
    assert len(watched([case] * 40, course.recipe)) == 16
    assert watched([case], course.recipe) == (case,)
    window = {"patch": tuple(2 * side for side in course.recipe.patch), "training_patch": course.recipe.patch}
    # a case still takes one window, of eight times the voxels
    assert len(watched([case] * 40, changed(course, window=window))) == 2
