import numpy as np
import pytest

from medseg.evaluation.bootstrap import draws, interval, weighted_means, weighted_medians


def test_as_many_groups_are_drawn_as_there_are() -> None:
    weights = draws([f"case {n}" for n in range(7)], resamples=500)
    assert weights.shape == (500, 7)
    assert set(weights.sum(axis=1)) == {7}
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)


def test_cases_of_one_subject_are_drawn_together() -> None:
    weights = draws(["a", "b", "a", "c"], resamples=200)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert set((weights[:, 0] + weights[:, 1] + weights[:, 3]).tolist()) == {3}


def test_the_order_of_cases_makes_no_difference() -> None:
    names = ["a", "b", "c", "d"]
    straight, turned = draws(names, resamples=50), draws(names[::-1], resamples=50)
    assert (straight == turned[:, ::-1]).all()


def test_means_and_medians_are_those_of_the_cases_drawn() -> None:
    """Against the cases written out one by one, of which some have no value."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=11)
    values[[3, 8]] = np.nan
    weights = draws([str(n) for n in range(11)], resamples=300)
    written = [np.repeat(values, times) for times in weights]
    written = [each[~np.isnan(each)] for each in written]
    assert weighted_means(values, weights) == pytest.approx([each.mean() for each in written])
    assert weighted_medians(values, weights) == pytest.approx([np.median(each) for each in written])


def test_of_none_there_is_no_value() -> None:
    weights = np.array([[2, 0], [0, 2]])
    values = np.array([np.nan, 3.0])
    assert np.isnan(weighted_means(values, weights)[0])
    assert np.isnan(weighted_medians(values, weights)[0])
    assert weighted_medians(values, weights)[1] == 3
    assert np.isnan(weighted_medians(np.array([np.nan, np.nan]), weights)).all()


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    """Of 400 normal numbers with a standard deviation of 2: 1.96 x 2 / 20 to either side."""
    values = np.random.default_rng(5).normal(10, 2, 400)
    low, high = interval(weighted_means(values, draws([str(n) for n in range(400)]))) or (0.0, 0.0)
    spread = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.03)


def test_cases_that_repeat_a_subject_make_the_mean_no_surer() -> None:
    values = np.random.default_rng(5).normal(10, 2, 50)
    once = interval(weighted_means(values, draws([str(n) for n in range(50)])))
    twice = interval(weighted_means(np.repeat(values, 2), draws([str(n // 2) for n in range(100)])))
    assert once is not None
    assert twice == pytest.approx(once, abs=0.1)


def test_where_half_have_no_value_there_is_no_interval() -> None:
    assert interval(np.array([np.nan, np.nan, 1.0])) is None
    assert interval(np.array([np.nan])) is None
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
