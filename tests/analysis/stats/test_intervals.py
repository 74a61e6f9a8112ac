"""Intervals against scipy and rliable; the bootstrap is reproducible and does not count a reference twice."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats.intervals import (
    DRAWN_REPS,
    bootstrap,
    estimate,
    holm,
    improvement,
    iqm,
    mean_curve,
    optimality_gap,
    profile,
    t_interval,
)
from tests.support.drawn import sure
from tests.support.studies import LOW, flat, make_study

Array = npt.NDArray[np.float64]
scores = st.lists(st.lists(st.integers(-20, 130), min_size=1, max_size=6), min_size=1, max_size=5)


def columns(tasks: list[list[int]]) -> list[Array]:
    return [np.array(task, dtype=float) for task in tasks]


def test_t_interval_equals_scipy() -> None:
    values = np.array([61.0, 70.5, 55.2, 80.1, 66.6])
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values, ddof=1))
    ours = sure(t_interval(values))
    assert (ours.mean, ours.low, ours.high, ours.n) == pytest.approx((values.mean(), low, high, 5), rel=1e-12)


def test_one_value_has_a_mean_and_no_interval_and_none_has_nothing() -> None:
    one = sure(t_interval([3.0, math.nan]))
    assert (one.mean, one.n, one.known) == (3.0, 1, False)
    assert t_interval([math.nan]) is None


def test_a_stratified_estimate_is_welchs_for_two_strata() -> None:
    """The mean of a and -b is half of Welch's difference; one stratum of two tasks weighs twice."""
    a, b = np.array([61.0, 70.5, 55.2, 80.1, 66.6]), np.array([20.0, 24.0, 21.0])
    found, welch = sure(estimate([a, -b])), scipy.stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    assert (found.freedom, found.n) == (pytest.approx(welch.df), 8)
    assert found.p_above(0) == pytest.approx(welch.pvalue)
    interval, theirs = found.interval(), scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert [2 * interval.low, 2 * interval.high] == pytest.approx([theirs.low, theirs.high])
    weighted = sure(estimate([a, b], [2, 1]))
    assert weighted.mean == pytest.approx((2 * a.mean() + b.mean()) / 3)
    assert weighted.error == pytest.approx(np.sqrt(4 * a.var(ddof=1) / 5 + b.var(ddof=1) / 3) / 3)


def test_an_estimate_without_spread_and_without_runs() -> None:
    same = sure(estimate([[3.0, 3.0], [5.0, 5.0]]))
    assert [same.p_above(threshold) for threshold in (3.9, 4.0, 4.1)] == [0, 1, 1]
    assert estimate([[1.0, 2.0], []]) is None
    single = sure(estimate([[1.0, 2.0], [3.0]]))
    assert math.isnan(single.p_above(0))


def iqm_curve(strata: list[Array], tasks: list[int]) -> tuple[Array, Array, Array]:
    return bootstrap(strata, lambda sample: iqm([sample[index] for index in tasks]).T, DRAWN_REPS)


def test_a_reference_beside_two_tasks_is_resampled_once() -> None:
    curves = np.random.default_rng(2).normal(50, 10, (5, 1))
    (once, _), (beside_two, point), (as_two, _) = (
        (high[0] - low[0], mean[0])
        for mean, low, high in (
            iqm_curve([curves], [0]),
            iqm_curve([curves], [0, 0]),
            iqm_curve([curves, curves], [0, 1]),
        )
    )
    assert point == pytest.approx(iqm([curves[:, 0], curves[:, 0]]))
    assert beside_two > 0.85 * once > as_two


def test_single_runs_have_a_point_and_no_interval() -> None:
    strata = [np.array([10.0]), np.array([20.0, 40.0])]
    point, *ends = bootstrap(strata, lambda tasks: np.stack([optimality_gap(tasks)]))
    assert point == pytest.approx(80)
    assert np.isnan(ends).all()


@given(scores)
def test_aggregates_of_unequal_tasks_by_hand(tasks: list[list[int]]) -> None:
    short = [sum(max(0, 100 - y) for y in task) / len(task) for task in tasks]
    assert optimality_gap(columns(tasks)) == pytest.approx(sum(short) / len(short))
    assert iqm(columns(tasks)) == pytest.approx(scipy.stats.trim_mean(np.concatenate(columns(tasks)), 0.25))


@given(scores)
def test_a_profile_counts_runs_above_each_threshold(tasks: list[list[int]]) -> None:
    thresholds = np.array([-10.0, 0.0, 50.0, 100.0])
    shares = [[sum(y > t for y in task) / len(task) for task in tasks] for t in thresholds]
    np.testing.assert_allclose(profile(columns(tasks), thresholds), [sum(s) / len(s) for s in shares])


@given(st.lists(st.tuples(*[st.lists(st.integers(0, 5), min_size=1, max_size=4)] * 2), min_size=1, max_size=4))
def test_improvement_counts_pairs(tasks: list[tuple[list[int], list[int]]]) -> None:
    ours, theirs = ([np.array(pair[i], dtype=float) for pair in tasks] for i in (0, 1))
    won = [sum((x > y) + 0.5 * (x == y) for x in a for y in b) / (len(a) * len(b)) for a, b in tasks]
    assert improvement(ours, theirs) == pytest.approx(sum(won) / len(won))
    assert improvement(ours, theirs) + improvement(theirs, ours) == pytest.approx(1.0)


def test_the_bootstrap_is_a_loop_of_resamples_within_tasks_widened_about_the_point() -> None:
    strata = [np.random.default_rng(k).normal(60, 20, n) for k, n in enumerate((5, 5, 4))]
    (point,), (low,), (high,) = bootstrap(strata, lambda tasks: np.stack([iqm(tasks)]), reps=100, seed=7)
    rng = np.random.default_rng(7)
    chosen, found = [rng.integers(len(task), size=(len(task), 100)) for task in strata], []
    for rep in range(100):
        found.append(iqm([task[numbers[:, rep]] for task, numbers in zip(strata, chosen, strict=True)]))
    wider = math.sqrt(4 / 3) * scipy.stats.t.ppf(0.975, 4 + 4 + 3) / scipy.stats.norm.ppf(0.975)
    assert point == iqm(strata)
    assert [low, high] == pytest.approx([point + wider * (np.percentile(found, q) - point) for q in (2.5, 97.5)])
    _, cut, _ = bootstrap(strata, lambda tasks: np.stack([iqm(tasks)]), 100, (float(low) + 1, 100.0), 7)
    assert cut == low + 1


def test_a_band_ends_where_the_scale_or_the_runs_do() -> None:
    rows = make_study(flat("moore", LOW, [100.0, 80.0, 104.0])).rows
    curve = mean_curve(rows, "env_steps")
    raw = sure(t_interval([100.0, 80.0, 104.0]))
    assert raw.high > 104
    assert (curve.low[-1], curve.high[-1]) == (pytest.approx(raw.low), 104)
    assert mean_curve(rows.assign(metric="return"), "env_steps").high[-1] == pytest.approx(raw.high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_steps_reject(values: list[float]) -> None:
    """Literally: the k-th smallest of m at level / (m - k + 1), until one is not."""
    corrected, rejected = holm([*values, math.nan]), set()
    for step, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[index] * (len(values) - step) > 0.05:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(corrected) if p <= 0.05} == rejected
    assert np.isnan(corrected[-1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_clearly_beaten_rivals_change_nothing_for_the_others(values: list[float]) -> None:
    assert holm([*values, *[0.0] * 5])[: len(values)] == pytest.approx(holm(values))
