"""Intervals against scipy and by hand; the bootstrap is reproducible and does not count a reference twice."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from rliable import metrics

from analysis.stats.intervals import bootstrap_intervals, iqm, mean_over_tasks, paired_interval, t_interval


def test_t_interval_equals_scipy() -> None:
    values = np.array([61.0, 70.5, 55.2, 80.1, 66.6])
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values, ddof=1))
    ours = t_interval(values)
    assert ours is not None
    np.testing.assert_allclose([ours.mean, ours.low, ours.high], [values.mean(), low, high], rtol=1e-12)
    assert ours.n == 5


def test_t_interval_of_two_values_by_hand() -> None:
    # mean 12, std sqrt(8), half-width 12.7062 * sqrt(8) / sqrt(2) = 12.7062 * 2
    ours = t_interval([10.0, 14.0])
    assert ours is not None
    assert ours.half_width == pytest.approx(25.4124, abs=1e-3)


def test_one_value_has_a_mean_and_no_interval_and_none_has_nothing() -> None:
    one = t_interval([3.0, math.nan])
    assert one is not None
    assert (one.mean, one.n, one.known) == (3.0, 1, False)
    assert t_interval([math.nan]) is None


def test_paired_difference_uses_common_seeds_only() -> None:
    ours = pd.Series([10.0, 20.0, 30.0, 99.0], index=[0, 1, 2, 7])
    theirs = pd.Series([28.0, 8.0, 19.0, 5.0], index=[2, 0, 1, 4])
    difference = paired_interval(ours, theirs)
    assert difference is not None
    assert (difference.mean, difference.n) == (pytest.approx(5 / 3), 3)
    expected = t_interval([2.0, 1.0, 2.0])
    assert expected is not None
    assert difference.low == pytest.approx(expected.low)


def test_iqm_is_the_hand_computed_trimmed_mean_and_rliables() -> None:
    tasks = [np.array([0.0, 10.0, 20.0, 90.0]), np.array([30.0, 40.0, 50.0, 1000.0])]
    assert iqm(tasks) == pytest.approx((20 + 30 + 40 + 50) / 4)  # two lowest and two highest of eight dropped
    scores = np.random.default_rng(0).normal(size=(5, 3))
    assert iqm(list(scores.T)) == pytest.approx(metrics.aggregate_iqm(scores))


def test_mean_over_tasks_weighs_tasks_not_runs() -> None:
    assert mean_over_tasks([np.array([0.0, 0.0, 0.0]), np.array([30.0])]) == 15.0


@pytest.mark.parametrize("sizes", [(5, 5, 5), (5, 4, 3)])
def test_bootstrap_repeats_itself_and_leaves_numpys_global_state_alone(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    strata = [rng.normal(50, 10, n) for n in sizes]
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(2)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    first = bootstrap_intervals(strata, (mean_over_tasks, iqm), reps=200)
    assert np.array_equal(np.random.random(2), expected)  # noqa: NPY002
    second = bootstrap_intervals(strata, (mean_over_tasks, iqm), reps=200)
    assert first == second
    assert bootstrap_intervals(strata, (iqm,), reps=200, seed=1) != [first[1]]
    assert all(interval.low < interval.mean < interval.high for interval in first)
    assert first[0].mean == pytest.approx(np.mean([s.mean() for s in strata]))


def test_bootstrap_resamples_within_strata() -> None:
    """Constant tasks have nothing to resample: pooling them before the draw would give a wide interval."""
    (interval,) = bootstrap_intervals([np.full(4, 10.0), np.full(4, 90.0)], (mean_over_tasks,), reps=100)
    assert (interval.low, interval.high) == (pytest.approx(50), pytest.approx(50))


def test_a_reference_beside_two_tasks_is_resampled_once() -> None:
    runs = np.random.default_rng(2).normal(50, 10, 5)
    (once,) = bootstrap_intervals([runs], (mean_over_tasks,))
    (beside_two,) = bootstrap_intervals([runs], (mean_over_tasks,), tasks=[0, 0])
    (as_two,) = bootstrap_intervals([runs, runs], (mean_over_tasks,))
    assert beside_two.half_width == pytest.approx(once.half_width)
    assert as_two.half_width < 0.85 * once.half_width
    (weighted,) = bootstrap_intervals([[10.0, 10.0], [40.0, 40.0]], (mean_over_tasks,), tasks=[0, 0, 1])
    assert weighted.mean == pytest.approx(20)


def test_single_runs_have_a_point_and_no_interval() -> None:
    (interval,) = bootstrap_intervals([np.array([10.0]), np.array([20.0, 40.0])], (mean_over_tasks,))
    assert interval.mean == pytest.approx(20)
    assert not interval.known
