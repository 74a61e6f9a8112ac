"""What the ensemble knew: uncertainty over both stages, its change, open-loop error, coverage, ranking of errors."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from analysis.io.rows import Results
from analysis.output.tables import main_table
from analysis.plots.diagnostics import THIRDS, calibration, model_error, online_share, uncertainty
from analysis.plots.style import OFFLINE_WIDTH
from analysis.plots.view import view
from analysis.stats.diagnostics import density
from analysis.stats.intervals import t_interval
from tests.support.drawn import labels, line, sure
from tests.support.synthetic_studies import OFFLINE_UPDATES, TWELVE, small, sweep, with_rows


def third_of(made: Results, metric: str, number: int) -> pd.Series:
    """Mean of each run over the epochs of a third, by hand."""
    rows = made.rows[(made.rows["metric"] == metric) & (made.rows["dataset"] == made.datasets[0])]
    inside = (rows["env_steps"] > number * 1000 / 3) & (rows["env_steps"] <= (number + 1) * 1000 / 3)
    return rows[inside].groupby("run")["value"].mean()


def polygons(axis: Axes) -> list[np.ndarray]:
    return [np.asarray(c.get_paths()[0].vertices) for c in axis.collections if isinstance(c, PolyCollection)]


def test_thirds_are_means_over_their_epochs_of_every_run() -> None:
    made = small()
    (figure, _), (calibrated, _) = sure(model_error(view(made))), sure(calibration(view(made)))
    axis = figure.axes[0]
    errors = {f"model/open_loop_error_{h}": float(h) for h in range(1, 11)}
    coverages = {f"model/coverage_{percent}": percent / 100 for percent in (50, 80, 90, 95)}
    for shown, at in ((axis, errors), (calibrated.axes[0], coverages)):
        for number, name in enumerate(THIRDS):
            x, y = line(shown, name)
            assert x == list(at.values())
            np.testing.assert_allclose(y, [third_of(made, metric, number).mean() for metric in at])
    interval = sure(t_interval(third_of(made, "model/open_loop_error_1", 0)))
    band = polygons(axis)[0]
    edges = band[band[:, 0] == 1, 1]
    assert [edges.min(), edges.max()] == pytest.approx([interval.low, interval.high])
    assert line(axis, "rollout length H")[0] == [5, 5]
    assert line(calibrated.axes[0], "calibrated") == ([0, 1], [0, 1])
    assert labels(figure) == ["rollout length H", *THIRDS, "MOORe"]


def test_the_rollout_length_is_that_of_the_online_stage_and_of_the_dataset() -> None:
    made = small(settings={"moore": {"online.rollout_length": 8}})
    made.manifest["configs"][f"moore/{TWELVE[1]}/0"]["online"]["rollout_length"] = 3
    drawn = sure(model_error(view(made)))
    marks = [
        sorted({float(np.asarray(m.get_xdata())[0]) for m in axis.get_lines() if m.get_label() == "rollout length H"})
        for axis in drawn[0].axes[:2]
    ]
    assert marks == [[3, 8], [8]]  # the first panel is of TWELVE[1]: ids in order


def test_rank_correlation_is_a_mean_over_seeds_at_every_epoch() -> None:
    made = small()
    drawn = sure(model_error(view(made)))
    rows = made.rows[(made.rows["metric"] == "model/error_rank_correlation")]
    expected = rows[rows["dataset"] == made.datasets[1]].groupby("env_steps")["value"].mean()
    x, y = line(drawn[0].axes[3], "moore")
    assert x == expected.index.tolist()
    np.testing.assert_allclose(y, expected)


def test_the_density_is_that_of_the_pooled_quantiles() -> None:
    made = small()
    figure, _ = sure(uncertainty(view(made)))
    rows = made.rows[made.rows["metric"].str.startswith("penalty/relative_change_q")]
    mine = rows[(rows["dataset"] == made.datasets[0]) & (rows["env_steps"] <= 1000 / 3)]["value"].to_numpy()
    assert len(mine) == 3 * 3 * 20  # seeds, epochs, levels
    x, y = line(figure.axes[2], THIRDS[0])
    np.testing.assert_allclose(y, density(mine, np.array(x)))
    assert labels(figure) == ["offline stage", "MOORe", *THIRDS]


def test_an_ensemble_that_never_changes_is_a_line_and_an_undefined_change_is_counted() -> None:
    made = small()
    rows = made.rows.copy()
    change = rows["metric"].str.startswith("penalty/relative_change_q")
    rows.loc[change, "value"] = 0.0
    rows.loc[change & (rows["env_steps"] == 500) & (rows["seed"] == 0), "value"] = math.nan
    drawn = sure(uncertainty(view(with_rows(made, rows))))
    assert line(drawn[0].axes[2], THIRDS[1])[0] == [0, 0]
    assert "without 2 epochs that have no finite value." in drawn[1]


def test_the_uncertainty_band_spans_both_stages() -> None:
    made = small()
    drawn = sure(uncertainty(view(made)))
    online, offline = polygons(drawn[0].axes[0])
    rows = made.rows[made.rows["dataset"] == made.datasets[0]]
    for band, phase, x in ((online, "online", "env_steps"), (offline, "offline", "updates")):
        edges = [rows[(rows["metric"] == f"penalty/{q}") & (rows["phase"] == phase)] for q in ("q20", "q80")]
        low, high = (edge.groupby(x)["value"].mean() for edge in edges)
        at = low.index.to_numpy(float)
        places = at if phase == "online" else (at / OFFLINE_UPDATES - 1) * OFFLINE_WIDTH * 1000
        for place, below, above in zip(places, low, high, strict=True):
            here = band[np.isclose(band[:, 0], place), 1]
            assert [here.min(), here.max()] == pytest.approx([below, above])


def test_every_prioritised_variant_has_its_own_closed_form() -> None:
    made = sweep(seeds=2)
    drawn = sure(online_share(view(made)))
    curves = [m for m in drawn[0].axes[0].get_lines() if m.get_label() == "closed form"]
    ends, epochs = np.arange(100, 1001, 100), np.arange(1, 11)
    lines = sorted(np.asarray(curve.get_ydata(), float).tolist() for curve in curves)
    for y, rate in zip(lines, (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0), strict=True):
        np.testing.assert_allclose(y, ends / (ends + 1000 / (rate * epochs)))


def test_the_closed_form_is_a_mean_over_the_retrainings_of_an_epoch() -> None:
    """φ = 50 of S = 100: the ensemble is trained with 50 and with 100 transitions in the first epoch."""
    settings = {"moore": {"online.retrain_interval": 50, "sampling.priority_exponent": 2.0}}
    figure, _ = sure(online_share(view(small(settings=settings))))
    share = [n / (n + 1000 / t**2) for n, t in ((50, 1), (100, 1), (150, 2), (200, 2))]
    y = line(figure.axes[0], "closed form")[1]
    assert y[:2] == pytest.approx([(share[0] + share[1]) / 2, (share[2] + share[3]) / 2])


def test_a_value_that_is_missing_in_one_run_is_a_gap() -> None:
    made = small()
    rows = made.rows.copy()
    rows.loc[(rows["metric"] == "penalty/mean") & (rows["env_steps"] == 500) & (rows["seed"] == 1), "value"] = math.nan
    figure, _ = sure(uncertainty(view(with_rows(made, rows))))
    assert np.isnan(line(figure.axes[0], "moore")[1]).tolist() == [step == 500 for step in range(100, 1001, 100)]


def test_a_dataset_on_which_every_moore_run_diverged_is_still_drawn() -> None:
    methods = ("moore", "mbpo_warm")
    made = small(methods=methods, diagnosed=methods)
    first = made.rows.query("method == 'moore' and dataset == @made.datasets[0] and metric == 'eval/score'")
    lost = first[first["env_steps"] == 500].assign(metric="diverged", value=1.0)
    study = with_rows(made, pd.concat([made.rows, lost]))
    names = {"MOORe", "warm MBPO"}
    for figure, _ in (sure(uncertainty(view(study))), sure(online_share(view(study)))):
        lines = [{line.get_label() for line in axis.get_lines()} & names for axis in figure.axes[:2]]
        assert lines == [{"warm MBPO"}, names]
    assert "diverged (3/3)" in str(main_table(study).rows[0])
