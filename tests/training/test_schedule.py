import math
from typing import Any

import pytest

from medseg.config import TrainingSpec
from medseg.training.schedule import Budget, Pace, pace, rate


def at(progress: float, *, step: int = 10**6, **spec: Any) -> float:
    return rate(TrainingSpec(rate=0.5, **spec), step=step, progress=progress)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_the_rate_falls_by_its_closed_form(progress: float) -> None:
    assert at(progress, schedule="poly") == pytest.approx(0.5 * (1 - progress) ** 0.9)
    assert at(progress, schedule="cosine") == pytest.approx(0.25 * (1 + math.cos(math.pi * progress)))


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_rate_ends_at_nothing_and_stays_there(schedule: str) -> None:
    assert at(1.0, schedule=schedule) == 0
    assert at(1.3, schedule=schedule) == 0  # an epoch that took longer than foreseen


def test_the_rate_rises_step_by_step() -> None:
    found = [at(0, step=step, warm_up=4) for step in range(6)]
    assert found == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    assert at(0, step=0, warm_up=0) == 0.5
    assert at(0.02, step=0, warm_up=4, schedule="poly") == pytest.approx(0.125 * 0.98**0.9)


def test_the_rate_has_risen_after_a_tenth_of_a_short_training() -> None:
    """Where a thousand steps were to warm up, and there are not as many."""
    fallen = 0.5 * (1 - math.cos(math.pi * 0.95))
    assert at(0.05, step=3, warm_up=1000) == pytest.approx(0.5 * fallen * 0.5)
    assert at(0.1, step=9, warm_up=1000) == at(0.1, step=9, warm_up=0)


def test_what_is_left_out_is_what_is_usual_with_the_optimiser() -> None:
    """SGD's are those of nnU-Net, with which it was made; AdamW's would not move it."""
    assert pace(TrainingSpec()) == Pace(2e-3, 1e-2, "cosine")
    assert pace(TrainingSpec(optimiser="sgd")) == Pace(1e-2, 3e-5, "poly")
    said = TrainingSpec(optimiser="sgd", rate=0.1, weight_decay=0, schedule="cosine")
    assert pace(said) == Pace(0.1, 0, "cosine")
    assert rate(TrainingSpec(optimiser="sgd", warm_up=0), step=0, progress=0.5) == pytest.approx(
        1e-2 * 0.5**0.9
    )


def test_epochs_share_the_progress_evenly_whatever_they_take() -> None:
    budget = Budget(epochs=4)
    spans = [budget.span(epoch=n, elapsed=elapsed) for n, elapsed in enumerate([0, 1, 100, 1e6])]
    assert spans == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert budget.span(epoch=4, elapsed=0) is None


def course(budget: Budget, seconds: list[float]) -> list[tuple[float, float]]:
    """The spans of a training whose epochs take so long each (the last of them from then on)."""
    spans: list[tuple[float, float]] = []
    elapsed = 0.0
    for epoch in range(1000):
        span = budget.span(epoch=epoch, elapsed=elapsed)
        if span is None:
            return spans
        spans.append(span)
        elapsed += seconds[min(epoch, len(seconds) - 1)]
    raise AssertionError("it never ends")


def test_a_time_budget_at_an_even_pace_is_used_up() -> None:
    spans = course(Budget(seconds=100), [10])
    assert len(spans) == 10
    assert spans[0] == (0.0, 0.0)  # how long an epoch takes is not known yet
    assert [start for start, _ in spans[1:]] == pytest.approx([n / 10 for n in range(1, 10)])
    assert [stop for _, stop in spans[1:]] == pytest.approx([n / 10 for n in range(2, 11)])


@pytest.mark.parametrize("seconds", [0.7, 3.3, 10, 100 / 3, 40, 50, 60, 66])
def test_at_an_even_pace_the_last_epoch_ends_at_one(seconds: float) -> None:
    spans = course(Budget(seconds=100), [seconds])
    assert spans[-1][1] == pytest.approx(1)
    assert abs(len(spans) * seconds - 100) <= seconds / 2


def test_epochs_that_become_slower_are_fewer() -> None:
    spans = course(Budget(seconds=100), [10, 30])
    # after 10 s 9 more are expected; after 40 s, of 20 s each, 3; after 70 s, of 23 s each, 1
    assert [start for start, _ in spans] == pytest.approx([0, 0.1, 0.4, 0.7])
    assert [stop for _, stop in spans] == pytest.approx([0, 0.1 + 0.9 / 9, 0.4 + 0.6 / 3, 1])


@pytest.mark.parametrize("seconds", [[30, 10], [60, 1], [1, 7, 3, 9, 2], [5, 5, 5, 80], [99], [1e-9]])
def test_progress_never_goes_back_whatever_the_pace(seconds: list[float]) -> None:
    spans = course(Budget(epochs=500, seconds=100), seconds)
    starts = [start for start, _ in spans]
    assert starts == sorted(starts)
    assert all(0 <= start <= stop <= 1 + 1e-12 for start, stop in spans)


def test_a_budget_that_is_used_up_is_over() -> None:
    budget = Budget(seconds=100)
    assert budget.span(epoch=3, elapsed=100) is None
    assert budget.span(epoch=3, elapsed=170) is None
    assert budget.span(epoch=10, elapsed=96) is None  # an epoch takes 9.6 s: none fits by half
    assert budget.span(epoch=10, elapsed=94) == pytest.approx((0.94, 1))  # one fits by more than half
    assert budget.span(epoch=1, elapsed=0) is not None  # a clock too coarse for the first epoch


def test_a_training_that_goes_on_follows_from_where_it_stood() -> None:
    budget = Budget(seconds=100)
    spans = course(budget, [10])
    assert budget.span(epoch=6, elapsed=60) == spans[6]
    slower = budget.span(epoch=6, elapsed=75)  # the second process lost time: 2 more epochs of 12.5 s fit
    assert slower == pytest.approx((0.75, 0.875))


def test_of_both_budgets_the_first_ends_it() -> None:
    few = course(Budget(epochs=3, seconds=1000), [10])
    assert [end for span in few for end in span] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])
    short = course(Budget(epochs=100, seconds=50), [10])
    assert len(short) == 5
    assert short[-1] == pytest.approx((0.8, 1))


def test_no_budget_never_ends() -> None:
    assert Budget().span(epoch=10**6, elapsed=1e9) == (0, 0)
