"""The penalty's coefficient and scale: schedules, what acts online only, and what a checkpoint carries."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moore.algorithm.cohort import Cohort
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.penalty import UNCERTAINTIES, PenaltyCoef, PenaltyConfig, Schedule, penalty_coef
from moore.networks.batch import Batch
from tests.support.core import make_cohort, run_online, tiny
from tests.support.dynamics import numpy_uncertainty

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@given(st.floats(0, 10), st.floats(0, 10), st.integers(1, 100), st.integers(1, 100))
def test_schedules(coef: float, factor: float, epochs: int, t: int) -> None:
    """Breaks if a schedule or the factor acts offline, decay does not end at 0 in epoch T, or a factor is forgotten."""
    shares = {"constant": (1.0, 1.0), "zero_online": (0.0, 0.0), "adaptive": (1.0, 1.0)}
    shares["linear_decay"] = (max(0, epochs - t) / epochs, 0.0)  # in epoch t and in the last one
    assert shares.keys() == set(SCHEDULES)
    for schedule in SCHEDULES:
        share, last = shares[schedule]
        config = PenaltyConfig(coef, schedule=schedule, online_factor=factor)
        assert penalty_coef(config, 0, epochs) == coef
        assert penalty_coef(config, min(t, epochs), epochs) == pytest.approx(coef * factor * share, abs=1e-12)
        assert penalty_coef(config, epochs, epochs) == coef * factor * last


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=8), st.floats(0, 5))
def test_adaptive_keeps_the_first_mean_penalty(means: list[tuple[float, float]], factor: float) -> None:
    """Breaks if coef x mean u leaves that of the first online rollout, or runs read each other's u."""
    configs = [PenaltyConfig(c, schedule="adaptive", online_factor=factor) for c in (2.0, 0.5)]
    coef = PenaltyCoef([*configs, PenaltyConfig(7.0)], epochs=10)
    assert coef.at(1).tolist() == pytest.approx([2.0 * factor, 0.5 * factor, 7.0])
    for t, u in enumerate(means, 2):
        coef.observe(torch.tensor([*u, u[0]]))
        got = coef.at(t)
        assert got[2] == 7.0
        for run, c in enumerate((2.0, 0.5)):
            assert float(got[run]) * u[run] == pytest.approx(c * factor * means[0][run], rel=1e-5)
    assert coef.at(0).shape == (3,)


def test_adaptive_run_that_diverged() -> None:
    """Breaks if a mean u that is not a number reaches another run, or stops the cohort."""
    coef = PenaltyCoef([PenaltyConfig(2.0, schedule="adaptive")] * 2, epochs=4)
    for u in ([4.0, torch.nan], [2.0, torch.nan]):
        coef.observe(torch.tensor(u))
    assert coef.at(2)[0] == 4.0


def test_adaptive_in_the_online_stage(tmp_path: Path) -> None:
    """Breaks if u is observed late, unscaled or offline: here coef(t) x mean u(t - 1) never moves."""
    changes: list[dict[str, Any]] = [
        {"coef": 2.0, "schedule": "adaptive", "online_factor": 1.5},
        {"coef": 0.7, "schedule": "adaptive", "uncertainty": "ensemble_std"},
        {"coef": 1.3},
    ]
    online = {"epochs": 4, "epoch_steps": 10, "retrain_interval": 10}
    runs = [tiny(penalty=penalty, seed=run, online=online) for run, penalty in enumerate(changes)]
    _, rows = run_online(runs, tmp_path)
    for run, start in enumerate((3.0, 0.7, 1.3)):
        mine = rows[rows["seed"] == run]
        coef, u = (mine.loc[mine["metric"] == f"penalty/{name}", "value"].to_numpy() for name in ("coef", "mean"))
        assert len(coef) == 4
        assert coef[0] == pytest.approx(start)
        assert len(set(u)) == 4
        if run < 2:
            np.testing.assert_allclose(coef[1:] * u[:-1], coef[0] * u[0], rtol=1e-5)
        else:
            assert set(coef) == {coef[0]}


def offline_cohort(penalties: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> tuple[Cohort, Batch]:
    """A cohort with a trained ensemble, one run for each penalty, all of one seed; and its holdout."""
    held: list[Batch] = []
    original = Ensemble.fit

    def fit(self: Ensemble, draw: Any, holdout: Batch, *rest: Any) -> dict[str, Tensor]:
        held.append(holdout)
        return original(self, draw, holdout, *rest)

    monkeypatch.setattr(Ensemble, "fit", fit)
    cohort = make_cohort([tiny(penalty=penalty) for penalty in penalties], "offline")
    cohort.train_model(0)
    return cohort, held[0]


def means(cohort: Cohort, batch: Batch) -> np.ndarray:
    """Mean of max_std and of the run's own measure, [R, 2], a row at a time."""
    mean, std = (x.numpy() for x in cohort.ensemble.predict(batch.obs, batch.action))
    rows = range(batch.reward.shape[1])
    return np.array(
        [
            [np.mean([numpy_uncertainty(k, mean[run, :, i], std[run, :, i]) for i in rows]) for k in ("max_std", kind)]
            for run, kind in enumerate(cohort.kinds)
        ]
    )


def test_rescale_gives_every_measure_the_mean_of_max_std(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the scale is inverted, another run's, moves max_std, acts unasked, or follows later trainings."""
    penalties = [{"uncertainty": kind, "rescale": on} for kind in UNCERTAINTIES for on in (True, False)]
    cohort, holdout = offline_cohort(penalties, monkeypatch)
    scale = cohort.ensemble.uncertainty_scale.clone()
    for run, (penalty, (reference, own)) in enumerate(zip(penalties, means(cohort, holdout), strict=True)):
        if penalty["rescale"]:
            assert float(scale[run]) * own == pytest.approx(reference, rel=1e-5)
            assert (float(scale[run]) == 1.0) == (penalty["uncertainty"] == "max_std")
        else:
            assert scale[run] == 1.0
    cohort.train_model(0)  # again, as online
    assert torch.equal(cohort.ensemble.uncertainty_scale, scale)


def test_factor_and_schedules_act_online_only() -> None:
    """Breaks if they change offline imagination, also after rollouts whose u could be remembered, or not online."""
    penalties: list[dict[str, Any]] = [{}, {"online_factor": 0.25}, *({"schedule": name} for name in SCHEDULES)]
    runs = [tiny(penalty={"coef": 2.0, **penalty}, online={"epochs": 4}) for penalty in penalties]
    for stage, t, expected in (("offline", 0, [2.0] * 6), ("online", 1, [2.0, 0.5, 2.0, 0.0, 1.5, 2.0])):
        cohort = make_cohort(runs, stage)
        cohort.train_model(0)
        for _ in range(1 if stage == "online" else 3):
            cohort.imagine(t)
            metrics = cohort.metrics.flush()
            assert metrics["penalty/coef"] == expected
            gap = np.subtract(metrics["rollout/reward_raw"], metrics["rollout/reward_penalized"])
            np.testing.assert_allclose(gap, np.multiply(expected, metrics["penalty/mean"]), rtol=1e-4, atol=1e-6)
