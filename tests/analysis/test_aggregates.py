"""Aggregates over tasks against rliable and slow transcriptions, what is left out of them, and what is drawn."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rliable import metrics

from analysis.io.rows import SCORE, Results, source_of
from analysis.plots.aggregates import improvement_plot, interval_plot, iqm_curves, profile_plot
from analysis.stats.aggregates import samples
from analysis.stats.intervals import (
    bootstrap,
    bootstrap_curve,
    bootstrap_intervals,
    improvement,
    iqm,
    mean_over_tasks,
    median_over_tasks,
    optimality_gap,
    profile,
)
from analysis.stats.transfer import summarise
from moore.base.errors import UserError
from tests.support.studies import flat, make_study
from tests.support.synthetic_studies import TWELVE, study

Array = npt.NDArray[np.float64]
PLOTS = (iqm_curves, interval_plot, profile_plot, improvement_plot)
scores = st.lists(st.lists(st.integers(-20, 130), min_size=1, max_size=6), min_size=1, max_size=5)


def columns(tasks: list[list[int]]) -> list[Array]:
    return [np.array(task, dtype=float) / 100 for task in tasks]


def small(**changes: Any) -> Results:
    """Three methods on four tasks, two of them of one environment, three seeds."""
    given: dict[str, Any] = {"methods": ("moore", "awac", "sac"), "datasets": TWELVE[:2] + TWELVE[4:6], "epochs": 0}
    return study(**(given | {"diagnosed": ()} | changes))


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
    short = [sum(max(0, 100 - y) - max(0, 0) for y in task) / len(task) / 100 for task in tasks]
    assert optimality_gap(columns(tasks)) == pytest.approx(sum(short) / len(short))
    pooled = sorted(y / 100 for task in tasks for y in task)
    kept = pooled[len(pooled) // 4 : len(pooled) - len(pooled) // 4]
    assert iqm(columns(tasks)) == pytest.approx(sum(kept) / len(kept))


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


def test_improvement_is_rliables() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    assert improvement(list(x.T), list(y.T)) == pytest.approx(metrics.probability_of_improvement(x, y))


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


def test_one_run_has_aggregates_without_intervals() -> None:
    point, low, high = bootstrap([np.array([0.5]), np.array([0.7])], lambda tasks: np.array([mean_over_tasks(tasks)]))
    assert point[0] == pytest.approx(0.6)
    assert math.isnan(low[0])
    assert math.isnan(high[0])
    for plot in PLOTS:
        drawn = plot(small(seeds=1))
        assert drawn is not None


def test_a_reference_is_one_stratum_of_its_environment() -> None:
    found = samples(small())
    assert [len(found[name].runs) for name in ("moore", "sac")] == [4, 2]
    assert (found["moore"].tasks, found["sac"].tasks) == ([0, 1, 2, 3], [0, 0, 1, 1])


def lines(figure: Figure) -> dict[str, tuple[Array, Array]]:
    found = {}
    for line in figure.axes[0].get_lines():
        if not str(line.get_label()).startswith("_"):
            found[str(line.get_label())] = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    return found


def test_the_curves_are_iqms_of_all_runs_at_every_evaluation() -> None:
    made = small()
    drawn = iqm_curves(made)
    assert drawn is not None
    rows = made.rows[(made.rows["metric"] == SCORE) & (made.rows["phase"] == "online")]
    for method in ("moore", "sac"):
        x, y = lines(drawn[0])[method]
        mine = rows[rows["method"] == method]
        tasks = [mine[mine["dataset"] == source_of(d, method, rows)] for d in made.datasets]
        for step, value in zip(x, y, strict=True):
            at_step = [task.loc[task["env_steps"] == step, "value"].to_numpy(float) for task in tasks]
            assert value == pytest.approx(metrics.aggregate_iqm(np.stack(at_step, 1)))


def test_the_interval_plot_has_four_aggregates_on_the_scale_0_to_1() -> None:
    made = small()
    drawn = interval_plot(made)
    assert drawn is not None
    assert [axis.get_title() for axis in drawn[0].axes] == ["IQM", "mean", "median", "optimality gap"]
    runs = summarise(made)
    finals = runs[runs["method"] == "moore"].pivot(index="seed", columns="dataset", values="final").to_numpy() / 100
    functions = ("aggregate_iqm", "aggregate_mean", "aggregate_median", "aggregate_optimality_gap")
    for axis, name in zip(drawn[0].axes, functions, strict=True):
        middle = next(line for line in axis.get_lines())
        assert float(np.asarray(middle.get_xdata())[0]) == pytest.approx(getattr(metrics, name)(finals))
        assert len(axis.patches) == 3
        assert "score / 100" in {text.get_text() for text in drawn[0].texts}


def test_profiles_and_improvement_are_what_the_scores_say() -> None:
    made = small()
    runs, drawn, versus = summarise(made), profile_plot(made), improvement_plot(made)
    assert drawn is not None
    assert versus is not None
    x, y = lines(drawn[0])["moore"]
    finals = runs.loc[runs["method"] == "moore", "final"].to_numpy()
    np.testing.assert_allclose(y, [(finals > t).mean() for t in x], atol=1e-12)
    assert x[-1] >= 100
    assert x[-1] >= finals.max()
    assert [text.get_text() for text in versus[0].axes[0].get_yticklabels()] == ["awac", "sac"]
    tasks = [
        [runs.loc[(runs["method"] == m) & (runs["dataset"] == d), "final"].to_numpy() for d in made.datasets]
        for m in ("moore", "awac")
    ]
    middle = np.asarray(versus[0].axes[0].get_lines()[0].get_xdata())[0]
    assert middle == pytest.approx(improvement(tasks[0], tasks[1]))


def test_one_task_has_no_aggregates() -> None:
    assert all(plot(small(datasets=TWELVE[:1])) is None for plot in PLOTS)


def test_a_method_without_all_tasks_is_left_out_by_name() -> None:
    made = small()
    rows = made.rows
    gone = (rows["method"] == "awac") & (rows["dataset"] == TWELVE[1])
    drawn = iqm_curves(Results("toy", rows[~gone].reset_index(drop=True), made.manifest))
    assert drawn is not None
    assert set(lines(drawn[0])) == {"moore", "sac"}
    assert "Without awac" in drawn[1]


def test_a_diverged_run_takes_its_method_out_and_an_unfinished_one_only_itself() -> None:
    made = small()
    rows = made.rows.copy()
    last = rows["env_steps"] == 1000
    rows.loc[last & (rows["run"] == f"awac/{TWELVE[0]}/1"), "value"] = math.nan
    rows = rows[~(last & (rows["run"] == f"moore/{TWELVE[0]}/1"))]
    broken = Results("toy", rows.reset_index(drop=True), made.manifest)
    found = samples(broken)
    assert set(found) == {"moore", "sac"}
    assert [len(runs) for runs in found["moore"].runs] == [3, 2, 3, 3]  # in the order of their names
    drawn = interval_plot(broken)
    assert drawn is not None
    assert "Without awac" in drawn[1]


def test_tasks_evaluated_at_different_steps_have_no_common_curve() -> None:
    made = small()
    rows = made.rows
    gone = (rows["method"] == "awac") & (rows["dataset"] == TWELVE[1]) & (rows["env_steps"] == 500)
    with pytest.raises(UserError, match="column env_steps: runs of awac were evaluated at different steps"):
        iqm_curves(Results("toy", rows[~gone].reset_index(drop=True), made.manifest))


def test_a_reference_that_diverged_leaves_no_improvement_plot() -> None:
    rows = [*flat("awac", "self:a-low", [1.0, 2.0]), *flat("awac", "self:b-low", [1.0, 2.0])]
    made = make_study([*rows, *flat("moore", "self:a-low", [3.0, 4.0])])
    assert improvement_plot(made) is None
    assert iqm_curves(made) is not None
