"""The loop: killed and resumed at any moment, it ends where one that was left alone ends."""

import math
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - a test module
import trainings
from pydantic import PrivateAttr

import medseg.training
from medseg.errors import PipelineError, ResourceError
from medseg.evaluation import metrics_named
from medseg.plugin.catalog import discover
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.training.checkpoints import newest
from medseg.training.fit import Course, fit
from medseg.training.schedule import Budget, pace, rate
from medseg.training.validation import mean, validated

EPOCHS = 7  # at most two to each kill, and one more
KILLS = 3  # twenty in tests/soak


class StoppedError(Exception):
    """As if the process had died here."""


def end(course: Course) -> dict[str, Any]:
    """All that the last checkpoint holds but times."""
    last = newest(course.folder / "checkpoints")
    assert last is not None
    return trainings.content(last)


def stopping_after(epoch: int) -> Any:
    def listen(row: Any, course: Course) -> None:
        if row["epoch"] == epoch:
            raise StoppedError

    return listen


def test_killed_at_random_moments_it_ends_in_the_same_bits(tmp_path: Path, figures: list[str]) -> None:
    """kill -9 in steps, validations and checkpoints: weights, average, optimiser, generators, log, all."""
    data = trainings.dataset(tmp_path / "data", cases=4)
    overlay = trainings.overlay(tmp_path / "tiny.yaml", patience=100)
    arguments = (data, "--pipeline", overlay, "--epochs", EPOCHS)
    undisturbed = trainings.start(*arguments, "-o", tmp_path / "whole")
    fallen = trainings.killed_again_and_again(arguments, tmp_path / "run", kills=KILLS, seed=5)
    last = trainings.start(*arguments, "-o", tmp_path / "run", "--resume")
    for process in (last, undisturbed):
        assert (process.communicate(timeout=900)[1].count("Traceback"), process.returncode) == (0, 0)
    assert len(fallen) == KILLS
    figures.append(f"training killed after epochs {fallen}, resumed to {EPOCHS}: the same bits")
    trainings.require_same(tmp_path / "run", tmp_path / "whole", epochs=EPOCHS)


def test_resumed_in_the_middle_of_a_step_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole = trainings.made(tmp_path / "whole", epochs=4)
    fitted = fit(whole)
    course = trainings.made(tmp_path / "run", epochs=4)
    with pytest.raises(StoppedError):
        fit(course, listener=stopping_after(2))
    torch.rand(7)  # whatever the process did with its generators in between
    again = fit(course, resume=True)
    assert end(course) == end(whole)
    weights = fitted.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.network.state_dict().items())


def test_a_damaged_checkpoint_is_passed_over_and_the_end_is_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    course = trainings.made(tmp_path, epochs=4)
    fit(course)
    before, log = end(course), trainings.steady(trainings.rows(tmp_path))
    last = newest(course.folder / "checkpoints")
    assert last is not None
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    fit(course, resume=True)
    assert end(course) == before
    assert trainings.steady(trainings.rows(tmp_path)) == log
    assert f"{last.name}: is damaged; the one before it is taken" in caplog.messages


def test_a_full_disk_ends_it_and_it_can_be_gone_on_with(tmp_path: Path) -> None:
    """No file may be longer than 20 kB from the second epoch on, which is what a full disk says too."""
    whole, course = (trainings.made(tmp_path / name, epochs=4) for name in ("whole", "run"))
    fit(whole)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(row: Any, _: Course) -> None:
        if row["epoch"] == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        with pytest.raises(ResourceError, match=r"a checkpoint cannot be written: .*; free space, --resume"):
            fit(course, listener=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(trainings.rows(tmp_path / "run")) == 2
    fit(course, resume=True)
    assert end(course) == end(whole)


def test_of_lightning_only_what_it_offers_is_used() -> None:
    for path in Path(medseg.training.__file__).parent.glob("*.py"):
        private = re.findall(r"(?:trainer|strategy|lightning)\._\w+", path.read_text(encoding="utf-8"))
        assert private == [], path


def test_resumed_when_it_is_over_nothing_is_trained(tmp_path: Path) -> None:
    course = trainings.made(tmp_path)
    fitted = fit(course)
    before = {path: path.read_bytes() for path in course.folder.rglob("*") if path.is_file()}
    heard: list[Any] = []
    again = fit(course, resume=True, listener=lambda row, _: heard.append(row))
    assert heard == []
    assert (again.rows, again.scores) == (fitted.rows, fitted.scores)
    assert before == {path: path.read_bytes() for path in course.folder.rglob("*") if path.is_file()}


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    first, same, other = (
        fit(trainings.made(tmp_path / str(n), epochs=1, seed=seed)).rows[0]["loss"]
        for n, seed in enumerate((0, 0, 1))
    )
    assert first == same
    assert first != other


def test_a_row_an_epoch_with_the_rate_of_its_last_step(tmp_path: Path) -> None:
    course = trainings.made(tmp_path, epochs=3)
    rows = fit(course).rows
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 4), (2, 8), (3, 12)]
    for row in rows:
        step = int(row["step"] or 0) - 1
        expected = rate(course.recipe.spec, step=step, progress=step / 12)
        assert row["rate"] == pytest.approx(expected, rel=1e-12)
        assert row["dice_mean"] == pytest.approx(
            mean({"": {k: v for k, v in row.items() if k[:5] == "dice "}})
        )
    assert [row["epoch"] for row in trainings.rows(tmp_path)] == ["1", "2", "3"]


def test_a_time_budget_is_kept_and_the_rate_falls_to_nothing(tmp_path: Path) -> None:
    course = replace(trainings.made(tmp_path), budget=Budget(None, 3.0))
    rows = fit(course).rows
    spent = sum(float(row["seconds"] or 0) for row in rows)
    assert spent < 3.0 + float(rows[-1]["seconds"] or 0)
    assert len(rows) > 1
    assert float(rows[-1]["rate"] or 0) < 0.5 * pace(course.recipe.spec).rate


def test_time_that_is_over_ends_the_epoch_too(tmp_path: Path) -> None:
    course = trainings.made(tmp_path, "training: {steps_per_epoch: 100000}")
    course = replace(course, budget=Budget(None, 2.0))
    (row,) = fit(course).rows
    steps, seconds = int(row["step"] or 0), float(row["seconds"] or 0)
    assert 0 < steps < 10_000
    assert seconds < 2.0 + 5 * seconds / steps + 0.2
    assert row["samples_per_s"] == pytest.approx(2 * steps / seconds, rel=0.01)
    assert 0.1 < float(row["loss"] or 0) < 5
    assert fit(course, resume=True).rows == [row]


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    text = "training: {patience: 2, averaging: 0, rate: 0.03, validate_every: 1}"
    course = trainings.made(tmp_path, text, epochs=40)
    fitted = fit(course)
    scores = [float(row["dice_mean"] or 0) for row in fitted.rows]
    best = scores.index(max(scores))
    assert len(scores) < 40
    assert len(scores) == best + 1 + 2
    kept = validated(
        fitted.network,
        course.validation,
        recipe=course.recipe,
        metric=course.metric,
        device=torch.device("cpu"),
        autocast=torch.no_grad,
    )
    assert mean(kept.dice) == scores[best]
    assert scores[best] != scores[-1]


def test_objects_are_scored_where_they_are_told_apart(tmp_path: Path) -> None:
    course = trainings.made(tmp_path, "{segment: {network: {head: border-core}}}", epochs=1)
    (ap,) = metrics_named("average-precision: {thresholds: [0.5]}", discover())
    (row,) = fit(replace(course, objects=ap)).rows
    assert row["ap_mean"] == pytest.approx(mean({"": {k: v for k, v in row.items() if k[:3] == "ap "}}))
    assert list(row)[-5:] == ["dice large", "dice small", "ap_mean", "ap large", "ap small"]


class Rising(Metric):
    """A metric that is higher each time."""

    _times: int = PrivateAttr(default=0)

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterator[Measured]:
        self._times += 1
        for label in reference.labels:
            yield Measured(label=label.name, quantity="rising", value=self._times / 10)


def test_the_best_network_for_objects_is_best_in_the_mean_of_dice_and_ap(tmp_path: Path) -> None:
    """Dice falls and rises again at this rate (`test_early_stopping…`); what rises by more always wins."""
    text = "training: {patience: 1, averaging: 0, rate: 0.03, validate_every: 1}"
    course = trainings.made(tmp_path, text, epochs=8)
    assert len(fit(course).rows) < 8
    (stage,) = metrics_named("average-precision", discover())
    text = f"{{{text}, segment: {{network: {{head: border-core}}}}}}"
    course = trainings.made(tmp_path / "objects", text, epochs=8)
    rows = fit(replace(course, objects=replace(stage, step=Rising()))).rows
    assert len(rows) == 8
    dice = [float(row["dice_mean"] or 0) for row in rows]
    assert dice != sorted(dice)


def test_validation_takes_turns_where_it_is_asked_to(tmp_path: Path) -> None:
    rows = fit(trainings.made(tmp_path, "training: {validate_every: 2}", epochs=6)).rows
    assert [row["epoch"] for row in rows if "dice_mean" in row] == [1, 3, 5, 6]


def test_without_cases_to_validate_with(tmp_path: Path) -> None:
    fitted = fit(trainings.made(tmp_path, held=0))
    assert fitted.scores == {}
    assert not any(name.startswith("dice") for row in fitted.rows for name in row)


def test_a_loss_that_is_no_number_ends_it_in_a_line(tmp_path: Path) -> None:
    """Decay of 10 at a rate of 10 multiplies weights by -99 each step."""
    text = "training: {rate: 10, weight_decay: 10, steps_per_epoch: 24, batch: 1}"
    with pytest.raises(PipelineError, match=r"no number any more in epoch 1; lower training\.rate \(10\)"):
        fit(trainings.made(tmp_path, text))
    assert trainings.checkpoints(tmp_path) == []


def test_what_was_set_for_it_is_put_back(tmp_path: Path) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    course = trainings.made(tmp_path, epochs=1)
    fit(replace(course, hardware=replace(course.hardware, threads=1, deterministic=True)))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_threads_that_make_samples_change_nothing(tmp_path: Path) -> None:
    courses = [trainings.made(tmp_path / str(workers)) for workers in (0, 3)]
    for workers, course in zip((0, 3), courses, strict=True):
        fit(replace(course, hardware=replace(course.hardware, workers=workers)))
    assert end(courses[0]) == end(courses[1])


def test_half_precision_on_a_cpu_learns_too(tmp_path: Path) -> None:
    course = trainings.made(tmp_path, epochs=2)
    rows = fit(replace(course, hardware=replace(course.hardware, precision="bf16"))).rows
    assert all(math.isfinite(float(row["loss"] or 0)) for row in rows)
    assert float(rows[1]["loss"] or 0) < float(rows[0]["loss"] or 0)
