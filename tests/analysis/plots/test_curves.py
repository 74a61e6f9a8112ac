"""Learning curves: means over seeds, the axis with the switch, stopped runs, offline stages."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from analysis.io.stages import offline_problems, one_stage
from analysis.output.notes import notes
from analysis.plots.diagnostics import online_share, uncertainty
from analysis.plots.figures import draw
from analysis.plots.looks import looks
from analysis.plots.style import OFFLINE_COLOUR, OFFLINE_WIDTH, offline_x
from analysis.plots.view import view
from tests.support.drawn import labels, line, sure
from tests.support.method_studies import (
    ENDS,
    SHARED,
    from_ends,
    method_manifest,
    method_rows,
    method_study,
    runs_of,
)
from tests.support.studies import LOW, MEDIUM, flat, full_study, make_study, run_rows


def left_of_the_switch(axis: Axes) -> list[Line2D]:
    """The offline lines of a panel; the rule of the switch itself has x = 0 only."""
    return [line for line in axis.get_lines() if np.min(np.asarray(line.get_xdata(), dtype=float)) < 0]


def test_lines_are_means_over_seeds_and_offline_ends_at_the_switch() -> None:
    study = make_study(full_study(3))
    figure, _ = draw(study)
    assert line(figure.axes[0], "offline stage")[0][0] == -OFFLINE_WIDTH * 1000
    assert line(figure.axes[0], "offline stage")[0][-1] == 0
    rows = study.rows.query("method == 'uniform' and dataset == @LOW and metric == 'eval/score'")
    expected = rows.groupby("env_steps")["value"].mean()
    x, y = line(figure.axes[0], "uniform")
    assert x == expected.index.tolist()
    np.testing.assert_allclose(y, expected)
    np.testing.assert_allclose(offline_x(np.array([0.0, 50.0, 100.0]), 100, 800), [-200, -100, 0])


def test_a_diverged_run_is_its_own_line_and_not_in_the_mean() -> None:
    rows = flat("uniform", LOW, [60.0, 62.0]) + run_rows("uniform", LOW, 2, [0.0] * 14, diverged_at=500)
    figure, _ = draw(make_study(rows))
    curves = [line for line in figure.axes[0].get_lines() if len(np.atleast_1d(line.get_xdata())) != 2]
    mean, own, cross = (line for line in curves if line.get_linewidth() != 0.5)  # without the seeds of the mean
    assert np.asarray(mean.get_ydata(), dtype=float)[-1] == 61.0
    assert len(np.asarray(mean.get_xdata())) == 14
    assert np.asarray(own.get_xdata(), dtype=float)[-1] == 400
    assert cross.get_marker() == "x"


def test_no_figure_is_cut_to_the_shortest_run() -> None:
    """One run stops at 500 of 1000 steps, one offline stage at 1500 of 3000 updates: the means still reach the end."""
    last = {"online": 1000, "offline": 1500}  # in updates; an online run makes two a step
    rows = [r for r in full_study(3) if r["seed"] != 2 or r["updates"] <= last[r["phase"]]]
    study = make_study(rows)
    for figure, _ in (draw(study), sure(online_share(view(study))), sure(uncertainty(view(study)))):
        assert line(figure.axes[0], "uniform")[0][-1] == 1000
    assert line(draw(study)[0].axes[0], "offline stage")[0][-1] == 0


def test_a_wild_band_does_not_flatten_the_lines() -> None:
    rows = flat("uniform", LOW, [0.0, 4000.0], j0=2000.0) + flat("prioritized", LOW, [1990.0, 2010.0], j0=2000.0)
    low, high = draw(make_study(rows))[0].axes[0].get_ylim()
    assert high < 5000  # the t band of two runs reaches 25 000
    assert low < 0 < 2000 < high


def test_a_method_without_runs_on_a_dataset_is_named_not_forgotten() -> None:
    rows = flat("uniform", LOW, [60.0, 62.0]) + flat("awac", MEDIUM, [60.0])
    made = make_study(rows)
    figure, _ = draw(made)
    missing = f"uniform on self:pendulum-medium (0 of 2), awac on {LOW} (0 of 2), awac on self:pendulum-medium (1 of 2)"
    assert f"Fewer runs than seeds: {missing}." in notes(made)
    assert labels(figure) == ["uniform", "AWAC"]


def test_model_based_methods_share_one_stage(tmp_path: Path) -> None:
    study = method_study(tmp_path, [*SHARED, "mbpo", "rlpd"], 2, from_ends)
    assert one_stage(study, "eval/score")
    figure, _ = draw(study)
    (stage,) = left_of_the_switch(figure.axes[0])
    assert (stage.get_label(), stage.get_color()) == ("offline stage", OFFLINE_COLOUR)
    assert labels(figure)[0] == "offline stage"
    assert "offline run" not in " ".join(notes(study))


def test_each_own_stage_is_a_thin_line_like_its_method_up_to_the_switch(tmp_path: Path) -> None:
    study = method_study(tmp_path, ["moore", "mopo", "awac", "cal_ql", "rlpd", "mbpo"], 2, from_ends)
    figure, _ = draw(study)
    drawn_as = looks(study.methods)
    for axis in figure.axes:
        for name, own in zip(("moore", "awac", "cal_ql"), left_of_the_switch(axis), strict=True):
            assert to_rgb(own.get_color()) == to_rgb(drawn_as[name].colour)
            assert own.get_linestyle() == Line2D([], [], linestyle=drawn_as[name].line).get_linestyle()
            x, y = (np.asarray(values, dtype=float) for values in own.get_data())
            assert (x[0], x[-1]) == (-OFFLINE_WIDTH * 1000, 0)
            assert y[-1] == line(axis, name)[1][0] == ENDS.get(name, 70.0) + 0.5  # no jump in these rows
    assert labels(figure) == ["MOORe", "AWAC", "Cal-QL", "RLPD", "MOPO", "MBPO"]
    assert "moore and mopo share one offline run, drawn as moore." in " ".join(notes(study))


def test_a_stage_that_diverged_is_named_with_its_methods_and_ends_where_it_did(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["moore", "mopo", "awac"], 2, [LOW])
    rows = method_rows(runs, from_ends)
    rows = [r for r in rows if r["method"] != "awac" or r["phase"] == "online" or r["updates"] <= 1000]
    lost = next(r for r in rows if (r["method"], r["phase"], r["seed"]) == ("awac", "offline", 1))
    study = make_study([*rows, {**lost, "updates": 1500, "metric": "diverged", "value": 1.0}], **method_manifest(runs))
    assert offline_problems(study) == [f"{LOW} seed 1 (awac)"]
    assert f"Offline stage diverged: {LOW} seed 1 (awac)." in notes(study)
    _, awac = left_of_the_switch(draw(study)[0].axes[0])
    assert np.asarray(awac.get_xdata(), dtype=float)[-1] == pytest.approx(-OFFLINE_WIDTH * 1000 * 2 / 3)
