"""Paired differences to the reference and swept numbers, as drawn."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from analysis.io.rows import task_label
from analysis.plots.comparisons import ALL, METRICS, forest, sweep_plot
from analysis.plots.view import view
from analysis.stats.compare import cells, difference, pooled
from analysis.stats.intervals import t_interval
from analysis.stats.transfer import summarise
from tests.support.drawn import sure
from tests.support.studies import flat, make_study
from tests.support.synthetic_studies import NAMES, RATES, TWELVE, scores_only, study, sweep, with_rows


def intervals(axis: Axes) -> list[list[float]]:
    """[low, mean, high] in the order drawn: by metric, then by method."""
    drawn = [np.asarray(line.get_xdata(), dtype=float) for line in axis.get_lines()[1:]]
    return [x.tolist() for x in drawn if len(x)]


def points(axis: Axes, label: str) -> tuple[list[float], list[float], list[float]]:
    """x, mean and half-widths of the error bars with this label."""
    (bars,) = (c for c in axis.containers if isinstance(c, ErrorbarContainer) and c.get_label() == label)
    segments = bars.lines[2][0].get_segments()
    halves = [float(segment[1][1] - segment[0][1]) / 2 for segment in segments]
    x, y = (np.asarray(values, dtype=float).tolist() for values in bars.lines[0].get_data())
    return x, y, halves


def test_every_panel_shows_the_paired_differences() -> None:
    made = scores_only(0, 1, 2)
    figure, _ = sure(forest(view(made)))
    assert [axis.get_title() for axis in figure.axes] == [ALL, *map(task_label, made.datasets)]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["AWAC", "SAC"]
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["final score", "AUC"]
    wanted = [(method, metric) for metric in METRICS for method in ("awac", "sac")]
    for axis, dataset in zip(figure.axes[1:], made.datasets, strict=True):
        expected = [difference(cells(made), dataset, method, "moore", metric) for method, metric in wanted]
        np.testing.assert_allclose(intervals(axis), [[i.low, i.mean, i.high] for i in expected if i])
    expected = [pooled(made, method, metric) for method, metric in wanted]
    np.testing.assert_allclose(intervals(figure.axes[0]), [[i.low, i.mean, i.high] for i in expected if i])


def test_a_method_without_a_common_seed_is_marked_not_forgotten() -> None:
    rows = flat("moore", "self:a-low", [10.0, 20.0, 30.0]) + flat("awac", "self:a-low", [11.0, 22.0])
    rows += flat("moore", "self:b-low", [50.0, 60.0, 65.0]) + flat("uniform", "self:b-low", [55.0, 61.0, 66.0])
    drawn = sure(forest(view(make_study(rows))))
    texts = [[text.get_text() for text in axis.texts] for axis in drawn[0].axes]
    assert texts == [["no pair", "no pair"], ["no pair", "n=2"], ["no pair"]]


def test_no_reference_or_nobody_else_is_no_figure() -> None:
    assert forest(view(make_study(flat("awac", "self:a-low", [1.0, 2.0])))) is None
    assert forest(view(make_study(flat("moore", "self:a-low", [1.0, 2.0])))) is None


def test_a_sweep_shows_means_and_t_intervals_at_the_values() -> None:
    made = sweep(epochs=0, diagnosed=(), seeds=4)
    figure, _ = sure(sweep_plot(view(made)))
    runs = summarise(made)
    assert len(figure.axes) == 2
    for axis, dataset in zip(figure.axes, made.datasets, strict=True):
        assert axis.get_xscale() == "log"
        assert [text.get_text() for text in axis.get_xticklabels()] == ["0.1", "0.25", "0.5", "1", "2", "4", "10"]
        for label, metric in (("final score", "final"), ("early drop", "early_drop")):
            x, y, halves = points(axis, label)
            mine = [runs[(runs["dataset"] == dataset) & (runs["method"] == name)][metric] for name in NAMES]
            intervals = [t_interval(values) for values in mine]
            assert x == list(RATES)
            np.testing.assert_allclose(y, [i.mean for i in intervals if i], rtol=1e-9)
            np.testing.assert_allclose(halves, [i.half_width for i in intervals if i], rtol=1e-6)


def test_a_sweep_shows_the_early_drop_of_a_frozen_policy_as_noise() -> None:
    names = [*NAMES, "mopo"]
    rates = {name: {"sampling.decay_rate": rate} for name, rate in zip(NAMES, RATES, strict=True)}
    made = study(names, TWELVE[:1], 4, {**rates, "mopo": {"online.utd_ratio": 0}}, (), epochs=0, reference=NAMES[3])
    figure, _ = sure(sweep_plot(view(made)))
    runs = summarise(made)
    noise = sure(t_interval(runs.loc[runs["method"] == "mopo", "early_drop"]))
    (band,) = [patch for patch in figure.axes[0].patches if "frozen" in str(patch.get_label())]
    assert [band.get_window_extent().y0, band.get_window_extent().y1] == pytest.approx(
        [figure.axes[0].transData.transform((0, y))[1] for y in (noise.low, noise.high)]
    )
    without, _ = sure(sweep_plot(view(sweep())))
    assert not any("frozen" in str(patch.get_label()) for patch in without.axes[0].patches)


def test_a_sweep_with_zero_keeps_it_on_the_axis_and_a_stopped_run_is_named() -> None:
    made = sweep("penalty.coef", (0.0, 0.5, 1.0, 2.0), epochs=0, diagnosed=(), seeds=2)
    rows = made.rows
    lost = (rows["method"] == "coef-2") & (rows["seed"] == 1) & (rows["env_steps"] > 300)
    figure, _ = sure(sweep_plot(view(with_rows(made, rows[~lost]))))
    axis = figure.axes[0]
    low, high = axis.get_xlim()
    assert axis.get_xscale() == "symlog"
    assert low < 0 < 2 < high
    assert [text.get_text() for text in axis.texts] == ["1 of 2\nstopped"]
