"""Numbers behind the diagnostic figures: the closed form, thirds, densities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis.output.notes import notes
from analysis.plots.diagnostics import model_error, uncertainty
from analysis.plots.view import view
from analysis.stats.diagnostics import LEVELS, NOMINAL, STEPS, centre, closed_form, density, expected_share, logged
from moore.algorithm.diagnostics import CHANGE_LEVELS, COVERAGES, MAX_STEPS
from moore.base.errors import UserError
from tests.support.drawn import sure
from tests.support.method_studies import from_ends, method_manifest, method_rows, runs_of
from tests.support.studies import LOW, make_study
from tests.support.synthetic_studies import small, with_rows


def test_the_closed_form_is_the_papers_table() -> None:
    """Shares at t = 1, 10, 20, 50, 100 for N_off = 1e6, S = 1000, decay rate 1, and one half at sqrt(N_off / S)."""
    t = np.array([1.0, 10, 20, 50, 100])
    shares = closed_form(1000 * t, t, 1.0, 1_000_000)
    np.testing.assert_allclose(shares, [0.001, 0.0909, 0.2857, 0.714, 0.909], atol=1e-3)
    half = np.sqrt(1000.0)
    assert closed_form(1000 * half, half, 1.0, 1_000_000) == pytest.approx(0.5)


def test_the_schedule_is_moores_whichever_run_comes_first(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["awac", "moore"], 1)
    sampling = replace(runs[1].sampling, decay_rate=0.5, priority_exponent=2.0)
    runs = [replace(r, sampling=sampling) if r.method == "moore" else r for r in runs]
    study = make_study(method_rows(runs, from_ends), **method_manifest(runs))
    assert study.manifest["config"]["sampling"]["decay_rate"] == 1.0  # of the first run
    ends, share = sure(expected_share(study, "moore", LOW))
    # φ = 50 of S = 100, α = 0.5, e = 2: the ensemble is trained with 50 and with 100 transitions in the first epoch
    assert (ends[0], share[0]) == (100, pytest.approx((50 / (50 + 16000) + 100 / (100 + 16000)) / 2))


def test_the_metrics_are_those_that_a_run_logs() -> None:
    assert (LEVELS, NOMINAL, max(STEPS)) == (CHANGE_LEVELS, COVERAGES, MAX_STEPS)


def test_runs_from_scratch_and_runs_that_stopped_are_not_in_the_means() -> None:
    made = small(methods=("moore", "mbpo"), diagnosed=("moore", "mbpo"))
    metric = "model/error_rank_correlation"
    assert set(logged(made, [metric])["method"]) == {"moore"}
    rows = made.rows[~((made.rows["seed"] == 2) & (made.rows["env_steps"] == 1000))]
    short = with_rows(made, rows)
    assert set(logged(short, [metric])["seed"]) == {0, 1}
    assert model_error(view(short)) is not None
    assert f"moore {made.datasets[0]} seed 2 unfinished" in " ".join(notes(short))


def test_the_median_of_u_is_drawn_where_both_stages_logged_it() -> None:
    made = small(methods=("moore",))
    assert centre(made) == "penalty/mean"
    medians = made.rows[made.rows["metric"] == "penalty/mean"].assign(metric="penalty/q50")
    online = medians[medians["phase"] == "online"]
    assert centre(with_rows(made, pd.concat([made.rows, online]))) == "penalty/mean"
    both = with_rows(made, pd.concat([made.rows, medians]))
    assert centre(both) == "penalty/q50"
    drawn = sure(uncertainty(view(both)))
    assert drawn[1].startswith("Median of the uncertainty")


def test_a_density_is_scipys_and_far_points_hardly_widen_it() -> None:
    rng = np.random.default_rng(0)
    points, x = rng.normal(size=400), np.linspace(-6, 6, 601)
    std = points.std(ddof=1)
    width = 0.9 * min(std, scipy.stats.iqr(points) / 1.34) * 400**-0.2
    np.testing.assert_allclose(density(points, x), scipy.stats.gaussian_kde(points, width / std)(x))
    assert np.trapezoid(density(points, x), x) == pytest.approx(1, abs=1e-3)
    spoiled = np.append(points, [1e6])
    np.testing.assert_allclose(density(spoiled, x), density(points, x), atol=0.02)


def test_a_missing_quantile_is_an_error() -> None:
    made = small()
    lost = (made.rows["metric"] == "penalty/relative_change_q475") & (made.rows["env_steps"] == 500)
    with pytest.raises(UserError, match=r"run moore/.* has 19 of the 20 metrics .* at step 500"):
        uncertainty(view(with_rows(made, made.rows[~lost])))
