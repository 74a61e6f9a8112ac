"""What the ensemble knew: uncertainty over both stages, its change, open-loop error, coverage, ranking of errors."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from analysis.io.rows import Results
from analysis.output.notes import notes
from analysis.plots.diagnostics import (
    THIRDS,
    calibration,
    online_share,
    open_loop,
    penalty,
    rank_correlation,
    relative_error,
)
from analysis.plots.style import OFFLINE_WIDTH
from analysis.stats.diagnostics import LEVELS, closed_form, density, logged
from analysis.stats.intervals import t_interval
from moore.algorithm.diagnostics import CHANGE_LEVELS, COVERAGES, MAX_STEPS
from moore.base.errors import UserError
from tests.support.synthetic_studies import OFFLINE_UPDATES, TWELVE, study, sweep

FIGURES = (open_loop, calibration, rank_correlation, relative_error, online_share, penalty)


def small(**changes: Any) -> Results:
    given: dict[str, Any] = {"methods": ("moore", "awac"), "datasets": TWELVE[:2], "seeds": 3}
    return study(**(given | changes))


def with_rows(made: Results, rows: pd.DataFrame) -> Results:
    return Results(made.name, rows.reset_index(drop=True), made.manifest)


def entries(figure: Figure) -> list[str]:
    return [entry.get_text() for entry in figure.legends[0].get_texts()]


def line(axis: Axes, label: str) -> tuple[list[float], list[float]]:
    found = next(line for line in axis.get_lines() if line.get_label() == label)
    return [float(x) for x in np.asarray(found.get_xdata())], [float(y) for y in np.asarray(found.get_ydata())]


def test_the_metrics_are_those_that_a_run_logs() -> None:
    from analysis.stats.diagnostics import NOMINAL, STEPS

    assert (LEVELS, NOMINAL, max(STEPS)) == (CHANGE_LEVELS, COVERAGES, MAX_STEPS)


def test_a_study_that_did_not_log_them_has_no_such_figures() -> None:
    assert [draw(small(diagnosed=())) for draw in FIGURES] == [None] * len(FIGURES)


def third_of(made: Results, metric: str, number: int) -> pd.Series:
    """Mean of each run over the epochs of a third, by hand."""
    rows = made.rows[(made.rows["metric"] == metric) & (made.rows["dataset"] == made.datasets[0])]
    inside = (rows["env_steps"] > number * 1000 / 3) & (rows["env_steps"] <= (number + 1) * 1000 / 3)
    return rows[inside].groupby("run")["value"].mean()


def test_open_loop_errors_are_means_over_a_third_of_the_epochs_of_every_run() -> None:
    made = small()
    drawn = open_loop(made)
    assert drawn is not None
    axis = drawn[0].axes[0]
    for number, name in enumerate(THIRDS):
        x, y = line(axis, name)
        assert x == list(range(1, 11))
        np.testing.assert_allclose(y, [third_of(made, f"model/open_loop_error_{h:g}", number).mean() for h in x])
    interval = t_interval(third_of(made, "model/open_loop_error_1", 0))
    assert interval is not None
    band = next(c for c in axis.collections if isinstance(c, PolyCollection)).get_paths()[0].vertices
    edges = np.asarray(band)[np.asarray(band)[:, 0] == 1, 1]
    assert [edges.min(), edges.max()] == pytest.approx([interval.low, interval.high])
    assert line(axis, "rollout length H")[0] == [5, 5]
    assert "standard deviations" in drawn[0].get_supylabel()
    assert entries(drawn[0]) == [*THIRDS, "rollout length H"]


def test_the_rollout_length_is_that_of_the_online_stage_and_of_the_dataset() -> None:
    made = small(settings={"moore": {"online.rollout_length": 8}})
    made.manifest["configs"][f"moore/{TWELVE[1]}/0"]["online"]["rollout_length"] = 3
    drawn = open_loop(made)
    assert drawn is not None
    marks = [
        sorted({float(np.asarray(m.get_xdata())[0]) for m in axis.get_lines() if m.get_label() == "rollout length H"})
        for axis in drawn[0].axes
    ]
    assert marks == [[3, 8], [8]]  # the first panel is of TWELVE[1]: ids in order


def test_a_run_without_ten_steps_in_a_row_leaves_a_gap() -> None:
    made = small()
    rows = made.rows.copy()
    rows.loc[(rows["metric"] == "model/open_loop_error_10") & (rows["seed"] == 1), "value"] = math.nan
    drawn = open_loop(with_rows(made, rows))
    assert drawn is not None
    x, y = line(drawn[0].axes[0], THIRDS[2])
    assert x == list(range(1, 11))
    assert np.isfinite(y).tolist() == [True] * 9 + [False]


def test_few_methods_stand_side_by_side_and_of_many_the_reference_alone() -> None:
    few = open_loop(small(diagnosed=("moore", "awac")))
    assert few is not None
    assert entries(few[0])[:2] == ["moore, first third", "moore, middle third"]
    assert "`moore` and `awac`" in few[1]
    many = open_loop(sweep(seeds=2))
    assert many is not None
    assert entries(many[0]) == [*THIRDS, "rollout length H"]
    assert "`decay_rate-1`" in many[1]


def test_calibration_shows_observed_against_nominal_mass() -> None:
    made = small()
    drawn = calibration(made)
    assert drawn is not None
    axis = drawn[0].axes[0]
    assert line(axis, "calibrated") == ([0, 1], [0, 1])
    x, y = line(axis, THIRDS[0])
    assert x == [0.5, 0.8, 0.9, 0.95]
    np.testing.assert_allclose(y, [third_of(made, f"model/coverage_{p}", 0).mean() for p in (50, 80, 90, 95)])


def test_rank_correlation_is_a_mean_over_seeds_at_every_epoch() -> None:
    made = small()
    drawn = rank_correlation(made)
    assert drawn is not None
    rows = made.rows[(made.rows["metric"] == "model/error_rank_correlation")]
    expected = rows[rows["dataset"] == made.datasets[1]].groupby("env_steps")["value"].mean()
    x, y = line(drawn[0].axes[1], "moore")
    assert x == expected.index.tolist()
    np.testing.assert_allclose(y, expected)


def test_runs_from_scratch_and_runs_that_stopped_are_not_in_the_means() -> None:
    made = small(methods=("moore", "mbpo"), diagnosed=("moore", "mbpo"))
    metric = "model/error_rank_correlation"
    assert set(logged(made, [metric])["method"]) == {"moore"}
    rows = made.rows[~((made.rows["seed"] == 2) & (made.rows["env_steps"] == 1000))]
    short = with_rows(made, rows)
    assert set(logged(short, [metric])["seed"]) == {0, 1}
    assert rank_correlation(short) is not None
    assert f"moore {made.datasets[0]} seed 2 unfinished" in " ".join(notes(short))


def test_the_density_is_that_of_the_pooled_quantiles() -> None:
    made = small()
    drawn = relative_error(made)
    assert drawn is not None
    figure, caption = drawn
    assert "our definition" in caption
    rows = made.rows[made.rows["metric"].str.startswith("penalty/relative_change_q")]
    mine = rows[(rows["dataset"] == made.datasets[0]) & (rows["env_steps"] <= 1000 / 3)]["value"].to_numpy()
    assert len(mine) == 3 * 3 * 20  # seeds, epochs, levels
    x, y = line(figure.axes[0], THIRDS[0])
    np.testing.assert_allclose(y, density(mine, np.array(x)))
    assert entries(figure) == list(THIRDS)


def test_a_density_by_hand_and_far_points_hardly_widen_it() -> None:
    rng = np.random.default_rng(0)
    points, x = rng.normal(size=400), np.linspace(-6, 6, 601)
    width = 0.9 * min(points.std(ddof=1), np.subtract(*np.percentile(points, [75, 25])) / 1.34) * 400**-0.2
    kernels = np.exp(-0.5 * ((x[:, None] - points) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(density(points, x), kernels.mean(axis=1))
    assert np.trapezoid(density(points, x), x) == pytest.approx(1, abs=1e-3)
    spoiled = np.append(points, [1e6])
    np.testing.assert_allclose(density(spoiled, x), density(points, x), atol=0.02)


def test_an_ensemble_that_never_changes_is_a_line_and_an_undefined_change_is_counted() -> None:
    made = small()
    rows = made.rows.copy()
    change = rows["metric"].str.startswith("penalty/relative_change_q")
    rows.loc[change, "value"] = 0.0
    rows.loc[change & (rows["env_steps"] == 500) & (rows["seed"] == 0), "value"] = math.nan
    drawn = relative_error(with_rows(made, rows))
    assert drawn is not None
    assert line(drawn[0].axes[0], THIRDS[1])[0] == [0, 0]
    assert "Without 2 epochs of a run that have no finite value." in drawn[1]


def test_a_missing_quantile_is_an_error() -> None:
    made = small()
    lost = (made.rows["metric"] == "penalty/relative_change_q475") & (made.rows["env_steps"] == 500)
    with pytest.raises(UserError, match=r"run moore/.* has 19 of the 20 metrics .* at step 500"):
        relative_error(with_rows(made, made.rows[~lost]))


def polygons(axis: Axes) -> list[np.ndarray]:
    return [np.asarray(c.get_paths()[0].vertices) for c in axis.collections if isinstance(c, PolyCollection)]


def test_the_uncertainty_band_spans_both_stages() -> None:
    made = small()
    drawn = penalty(made)
    assert drawn is not None
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
    drawn = online_share(made)
    assert drawn is not None
    curves = [m for m in drawn[0].axes[0].get_lines() if m.get_label() == "closed form"]
    ends, epochs = np.arange(100, 1001, 100), np.arange(1, 11)
    for curve, rate in zip(curves, (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0), strict=True):
        np.testing.assert_allclose(np.asarray(curve.get_ydata(), float), ends / (ends + 1000 / (rate * epochs)))


def test_the_closed_form_is_a_mean_over_the_retrainings_of_an_epoch() -> None:
    """φ = 50 of S = 100: the ensemble is trained with 50 and with 100 transitions in the first epoch."""
    drawn = online_share(small(settings={"moore": {"online.retrain_interval": 50, "sampling.priority_exponent": 2.0}}))
    assert drawn is not None
    share = [n / (n + 1000 / t**2) for n, t in ((50, 1), (100, 1), (150, 2), (200, 2))]
    y = line(drawn[0].axes[0], "closed form")[1]
    assert y[:2] == pytest.approx([(share[0] + share[1]) / 2, (share[2] + share[3]) / 2])


def test_a_rate_that_depends_on_the_task_is_that_of_the_panel() -> None:
    made = small()
    for seed in range(3):
        made.manifest["configs"][f"moore/{TWELVE[0]}/{seed}"]["sampling"]["decay_rate"] = 4.0
    drawn = online_share(made)
    assert drawn is not None
    ends = {axis.get_title().replace("\n", "-"): line(axis, "closed form")[1][-1] for axis in drawn[0].axes}
    assert ends == pytest.approx({TWELVE[0]: 1000 / (1000 + 1000 / 40), TWELVE[1]: 1000 / (1000 + 1000 / 10)})


def test_strategies_without_the_papers_priorities_have_none() -> None:
    uniform = {"sampling.model_batches": "uniform", "sampling.start_states": "uniform"}
    drawn = online_share(small(settings={"moore": uniform}))
    assert drawn is not None
    assert entries(drawn[0]) == ["moore"]
    half = online_share(small(settings={"moore": uniform | {"sampling.start_states": "prioritized"}}))
    assert half is not None
    assert entries(half[0]) == ["moore", "closed form"]


def test_the_closed_form_is_one_half_where_the_online_mass_is() -> None:
    assert closed_form(500, 10, 0.2, 1000) == pytest.approx(0.5)  # 500 = 1000 / (0.2 * 10)
