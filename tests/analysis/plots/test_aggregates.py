"""Aggregates over tasks as drawn, against rliable."""

import numpy as np
import pytest
from rliable import metrics

from analysis.io.rows import SCORE, Cells
from analysis.plots.aggregates import aggregates, improvement_plot, profile_plot
from analysis.plots.view import view
from analysis.stats.intervals import improvement
from analysis.stats.transfer import summarise
from tests.support.drawn import line, sure
from tests.support.studies import flat, make_study
from tests.support.synthetic_studies import scores_only

PLOTS = (aggregates, profile_plot, improvement_plot)


def test_the_curves_are_iqms_of_all_runs_at_every_evaluation() -> None:
    made = scores_only(0, 1, 4, 5)
    drawn = sure(aggregates(view(made)))
    rows = made.rows[(made.rows["metric"] == SCORE) & (made.rows["phase"] == "online")]
    for method in ("moore", "sac"):
        x, y = line(drawn[0].axes[0], method)
        tasks = [Cells(rows)[dataset, method] for dataset in made.datasets]
        for step, value in zip(x, y, strict=True):
            at_step = [task.loc[task["env_steps"] == step, "value"].to_numpy(float) for task in tasks]
            assert value == pytest.approx(metrics.aggregate_iqm(np.stack(at_step, 1)))


def test_the_intervals_are_on_the_scale_of_the_curves() -> None:
    made = scores_only(0, 1, 4, 5)
    drawn = sure(aggregates(view(made)))
    panels = drawn[0].axes[1:]
    assert [axis.get_title() for axis in panels] == ["IQM", "mean", "optimality gap"]
    runs = summarise(made)
    finals = runs[runs["method"] == "moore"].pivot(index="seed", columns="dataset", values="final").to_numpy() / 100
    functions = ("aggregate_iqm", "aggregate_mean", "aggregate_optimality_gap")
    for axis, name in zip(panels, functions, strict=True):
        middle = next(line for line in axis.get_lines())
        assert float(np.asarray(middle.get_xdata())[0]) == pytest.approx(100 * getattr(metrics, name)(finals))
        assert len(axis.patches) == 3


def test_profiles_and_improvement_are_what_the_scores_say() -> None:
    made = scores_only(0, 1, 4, 5)
    runs, drawn, versus = summarise(made), sure(profile_plot(view(made))), sure(improvement_plot(view(made)))
    x, y = line(drawn[0].axes[0], "moore")
    finals = runs.loc[runs["method"] == "moore", "final"].to_numpy()
    np.testing.assert_allclose(y, [(finals > t).mean() for t in x], atol=1e-12)
    assert x[-1] >= max(100, finals.max())
    assert [text.get_text() for text in versus[0].axes[0].get_yticklabels()] == ["AWAC", "SAC"]
    tasks = [
        [runs.loc[(runs["method"] == m) & (runs["dataset"] == d), "final"].to_numpy() for d in made.datasets]
        for m in ("moore", "awac")
    ]
    middle = np.asarray(versus[0].axes[0].get_lines()[0].get_xdata())[0]
    assert middle == pytest.approx(100 * improvement(tasks[0], tasks[1]))


def test_one_task_has_no_aggregates() -> None:
    assert all(plot(view(scores_only(0))) is None for plot in PLOTS)


def test_a_reference_that_diverged_leaves_no_improvement_plot() -> None:
    rows = [*flat("awac", "self:a-low", [1.0, 2.0]), *flat("awac", "self:b-low", [1.0, 2.0])]
    made = make_study([*rows, *flat("moore", "self:a-low", [3.0, 4.0])])
    assert improvement_plot(view(made)) is None
    assert aggregates(view(made)) is not None
