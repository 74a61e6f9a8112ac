"""Paired differences to the reference: per dataset, pooled, and where there is nothing to pair."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from analysis.io.rows import Results
from analysis.plots.comparisons import METRICS, forest
from analysis.plots.looks import drawn_as
from analysis.stats.compare import difference, pooled
from analysis.stats.intervals import bootstrap_intervals, mean_over_tasks
from analysis.stats.transfer import summarise
from moore.base.errors import UserError
from tests.support.studies import flat, make_study
from tests.support.synthetic_studies import TWELVE, study


def small(**changes: Any) -> Results:
    given: dict[str, Any] = {"methods": ("moore", "awac", "sac"), "datasets": TWELVE[:3], "epochs": 0, "diagnosed": ()}
    return study(**(given | changes))


def intervals(axis: Axes) -> list[list[float]]:
    """[low, mean, high] in the order drawn: by metric, then by method."""
    drawn = [np.asarray(line.get_xdata(), dtype=float) for line in axis.get_lines()[1:]]
    drawn = [x for x in drawn if len(x)]
    return [[bar[0], point[0], bar[1]] for bar, point in zip(drawn[::2], drawn[1::2], strict=True)]


def test_every_panel_shows_the_paired_differences() -> None:
    made = small()
    drawn = forest(made)
    assert drawn is not None
    figure, caption = drawn
    assert [axis.get_title().replace("\n", "-") for axis in figure.axes] == [*made.datasets, "mean over 3 tasks"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["awac", "sac"]
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["final score", "AUC"]
    runs = summarise(made)
    cells = [(method, metric) for metric in METRICS for method in ("awac", "sac")]
    for axis, dataset in zip(figure.axes, made.datasets, strict=False):
        expected = [difference(runs, dataset, method, "moore", metric) for method, metric in cells]
        np.testing.assert_allclose(intervals(axis), [[i.low, i.mean, i.high] for i in expected if i])
    expected = [pooled(made, runs, method, metric) for method, metric in cells]
    np.testing.assert_allclose(intervals(figure.axes[-1]), [[i.low, i.mean, i.high] for i in expected if i])
    assert "`moore`" in caption


def test_the_pooled_difference_is_a_mean_of_task_means_over_common_seeds() -> None:
    rows = flat("moore", "self:a-low", [10.0, 20.0, 30.0]) + flat("awac", "self:a-low", [11.0, 22.0])
    rows += flat("moore", "self:b-low", [50.0, 60.0]) + flat("awac", "self:b-low", [40.0, 44.0])
    made = make_study(rows)
    found = pooled(made, summarise(made), "awac", "final")
    assert found is not None
    assert found.mean == pytest.approx(((1 + 2) / 2 + (-10 - 16) / 2) / 2)
    assert found.low <= found.mean <= found.high


def test_tasks_that_share_runs_from_scratch_are_resampled_together() -> None:
    """Both tasks subtract from the same runs of sac, so their differences are averaged before the bootstrap."""
    made = small(datasets=TWELVE[:2], seeds=4)
    runs = summarise(made).set_index(["method", "dataset", "seed"])["final"]
    pairs = [[runs["sac", "none:halfcheetah", s] - runs["moore", d, s] for s in range(4)] for d in made.datasets]
    (expected,) = bootstrap_intervals([np.mean(pairs, axis=0)], (mean_over_tasks,), [0, 0])
    assert pooled(made, summarise(made), "sac", "final") == expected
    (apart,) = bootstrap_intervals([np.array(pair) for pair in pairs], (mean_over_tasks,))
    assert apart.half_width != pytest.approx(expected.half_width)


def test_a_method_without_a_common_seed_is_marked_not_forgotten() -> None:
    rows = flat("moore", "self:a-low", [10.0, 20.0, 30.0]) + flat("awac", "self:a-low", [11.0, 22.0])
    rows += flat("moore", "self:b-low", [50.0, 60.0, 65.0]) + flat("uniform", "self:b-low", [55.0, 61.0, 66.0])
    drawn = forest(make_study(rows))
    assert drawn is not None
    texts = [[text.get_text() for text in axis.texts] for axis in drawn[0].axes]
    assert texts == [["no pair", "n=2"], ["no pair"], ["no pair", "no pair"]]


def test_one_seed_has_points_and_one_dataset_no_pooled_panel() -> None:
    drawn = forest(small(datasets=TWELVE[:1], seeds=1))
    assert drawn is not None
    assert len(drawn[0].axes) == 1
    assert all(np.isfinite(point) and np.isnan([low, high]).all() for low, point, high in intervals(drawn[0].axes[0]))


def test_methods_keep_their_colours() -> None:
    made = small()
    drawn = forest(made)
    assert drawn is not None
    bars = [line for line in drawn[0].axes[0].get_lines() if len(np.asarray(line.get_xdata())) == 2][1:]
    looks = drawn_as(made)
    assert [to_rgb(bar.get_color()) for bar in bars] == [looks[m].colour for m in ("awac", "sac")] * 2


def test_no_reference_or_nobody_else_is_no_figure() -> None:
    assert forest(make_study(flat("awac", "self:a-low", [1.0, 2.0]))) is None
    assert forest(make_study(flat("moore", "self:a-low", [1.0, 2.0]))) is None


def test_sources_are_never_pooled() -> None:
    rows = [*flat("moore", "self:a-low", [1.0, 2.0]), *flat("awac", "d4rl:a-low-v2", [1.0, 2.0])]
    with pytest.raises(UserError, match="datasets of d4rl and self"):
        forest(make_study(rows))
