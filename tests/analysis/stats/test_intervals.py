"""Intervals against scipy and rliable; the bootstrap is reproducible and does not count a reference twice."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from rliable import metrics

from analysis.stats.intervals import (
    bootstrap,
    bootstrap_curve,
    bootstrap_intervals,
    improvement,
    iqm,
    mean_over_tasks,
    median_over_tasks,
    optimality_gap,
    paired_interval,
    profile,
    t_interval,
)

Array = npt.NDArray[np.float64]
scores = st.lists(st.lists(st.integers(-20, 130), min_size=1, max_size=6), min_size=1, max_size=5)


def columns(tasks: list[list[int]]) -> list[Array]:
    return [np.array(task, dtype=float) / 100 for task in tasks]


def test_t_interval_equals_scipy() -> None:
    values = np.array([61.0, 70.5, 55.2, 80.1, 66.6])
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values, ddof=1))
    ours = t_interval(values)
    assert ours is not None
    assert (ours.mean, ours.low, ours.high, ours.n) == pytest.approx((values.mean(), low, high, 5), rel=1e-12)


def test_one_value_has_a_mean_and_no_interval_and_none_has_nothing() -> None:
    one = t_interval([3.0, math.nan])
    assert one is not None
    assert (one.mean, one.n, one.known) == (3.0, 1, False)
    assert t_interval([math.nan]) is None


def test_paired_difference_uses_common_seeds_only() -> None:
    ours = pd.Series([10.0, 20.0, 30.0, 99.0], index=[0, 1, 2, 7])
    theirs = pd.Series([28.0, 8.0, 19.0, 5.0], index=[2, 0, 1, 4])
    assert paired_interval(ours, theirs) == t_interval([2.0, 1.0, 2.0])


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


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (iqm, metrics.aggregate_iqm),
        (mean_over_tasks, metrics.aggregate_mean),
        (median_over_tasks, metrics.aggregate_median),
        (optimality_gap, metrics.aggregate_optimality_gap),
    ],
)
def test_aggregates_are_rliables(ours: Callable[[list[Array]], float], theirs: Callable[[Array], float]) -> None:
    matrix = np.random.default_rng(2).normal(0.7, 0.4, size=(5, 4))
    assert ours(list(matrix.T)) == pytest.approx(theirs(matrix))


@given(scores)
def test_aggregates_of_unequal_tasks_by_hand(tasks: list[list[int]]) -> None:
    means = [sum(task) / len(task) / 100 for task in tasks]
    assert mean_over_tasks(columns(tasks)) == pytest.approx(sum(means) / len(means))
    assert median_over_tasks(columns(tasks)) == pytest.approx(float(np.median(means)))
    short = [sum(max(0, 100 - y) for y in task) / len(task) / 100 for task in tasks]
    assert optimality_gap(columns(tasks)) == pytest.approx(sum(short) / len(short))
    assert iqm(columns(tasks)) == pytest.approx(scipy.stats.trim_mean(np.concatenate(columns(tasks)), 0.25))


@given(scores)
def test_a_profile_counts_runs_above_each_threshold(tasks: list[list[int]]) -> None:
    thresholds = np.array([-0.1, 0.0, 0.5, 1.0])
    shares = [[sum(y / 100 > t for y in task) / len(task) for task in tasks] for t in thresholds]
    np.testing.assert_allclose(profile(columns(tasks), thresholds), [sum(s) / len(s) for s in shares])


@given(st.lists(st.tuples(*[st.lists(st.integers(0, 5), min_size=1, max_size=4)] * 2), min_size=1, max_size=4))
def test_improvement_counts_pairs(tasks: list[tuple[list[int], list[int]]]) -> None:
    ours, theirs = ([np.array(pair[i], dtype=float) for pair in tasks] for i in (0, 1))
    won = [sum((x > y) + 0.5 * (x == y) for x in a for y in b) / (len(a) * len(b)) for a, b in tasks]
    assert improvement(ours, theirs) == pytest.approx(sum(won) / len(won))
    assert improvement(ours, theirs) + improvement(theirs, ours) == pytest.approx(1.0)


def test_the_bootstrap_is_a_loop_of_resamples_within_tasks() -> None:
    """Literally: NumPy's global generator, one matrix of run numbers per resample, percentiles at the end."""
    strata = [np.random.default_rng(k).normal(60, 20, 5) for k in range(3)]
    point, low, high = bootstrap(strata, lambda tasks: np.array([iqm(tasks)]), reps=100, seed=7)
    np.random.seed(7)  # noqa: NPY002
    matrix, found = np.stack(strata, 1), []
    for _ in range(100):
        chosen = np.random.choice(5, (5, 3), replace=True)  # noqa: NPY002
        found.append(iqm([matrix[chosen[:, task], task] for task in range(3)]))
    assert point[0] == iqm(strata)
    np.testing.assert_allclose([low[0], high[0]], np.percentile(found, [2.5, 97.5]))


def test_a_curve_of_one_evaluation_is_the_interval_of_the_final_score() -> None:
    strata = [np.random.default_rng(k).normal(60, 20, n) for k, n in enumerate((5, 5, 4))]
    (expected,) = bootstrap_intervals(strata, (iqm,), tasks=[0, 0, 1, 2], reps=200)
    point, low, high = bootstrap_curve([s[:, None] for s in strata], [0, 0, 1, 2], reps=200)
    np.testing.assert_allclose([point[0], low[0], high[0]], [expected.mean, expected.low, expected.high])
