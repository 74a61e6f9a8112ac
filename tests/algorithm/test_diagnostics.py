"""What the ensemble knows of transitions that it has not seen: against loops, known answers, and online."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr
from torch import Tensor

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.diagnostics import COVERAGES, relative_change, unseen_errors
from moore.algorithm.dynamics import DynamicsConfig, Ensemble
from moore.algorithm.penalty import uncertainty
from moore.algorithm.train_model import held_out
from moore.networks.batch import Batch
from tests.support.core import Stage, make_cohort, random_data, run_stage, tiny
from tests.support.dynamics import numpy_uncertainty

OBS, ACT, K = 2, 1, 4
KINDS = ["max_std", "max_deviation"]
CONFIG = DynamicsConfig(ensemble_size=K, num_elites=2, hidden=(9,), weight_decay=(0.0, 0.0))


def make_ensemble(seed: int = 0) -> Ensemble:
    """Two runs with random members, elites and scalers of their own."""
    ensemble = Ensemble(CONFIG, OBS, ACT, [seed, seed + 1])
    ensemble.params *= 1.5
    ensemble.elite_idxs = torch.tensor([[3, 1], [0, 2]])
    ensemble.input_std = torch.rand(ensemble.input_std.shape, generator=torch.Generator().manual_seed(seed)) + 0.5
    return ensemble


def walk(seed: int, count: int, ends: list[list[int]]) -> Batch:
    """Consecutive steps [R, count]; run r starts a new episode after the rows ends[r]."""
    g, runs = torch.Generator().manual_seed(seed), len(ends)
    obs, next_obs = torch.randn(2, runs, count, OBS, generator=g)
    for run in range(runs):
        for row in range(1, count):
            if row - 1 not in ends[run]:
                obs[run, row] = next_obs[run, row - 1]
    action = torch.rand(runs, count, ACT, generator=g) * 2 - 1
    return Batch(obs, action, torch.randn(runs, count, generator=g), next_obs, torch.zeros(runs, count))


def literal(ensemble: Ensemble, batch: Batch, run: int, kind: str, ends: list[int]) -> dict[str, float]:
    """One run's metrics, a row, a member and a step at a time."""
    one, count = ensemble.only(run), batch.reward.shape[1]

    def members(state: Tensor, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Every member's mean and std of (next obs, reward) at the row's action, [K, OBS + 1]."""
        mean, std = one.predict(state[None, None], batch.action[run, row][None, None])
        return mean[0, :, 0].double().numpy(), std[0, :, 0].double().numpy()

    elites = ensemble.elite_idxs[run].tolist()
    unit = ensemble.input_std[run, 0, 0, :OBS].double().numpy()
    out: dict[str, float] = {}
    for p in COVERAGES:
        inside = []
        for row in range(count):
            mean, std = members(batch.obs[run, row], row)
            real = np.append(batch.next_obs[run, row], batch.reward[run, row])
            inside += [
                abs(real[d] - mean[k, d]) <= norm.ppf(0.5 + p / 200) * std[k, d] for k in elites for d in (0, 1, 2)
            ]
        out[f"model/coverage_{p}"] = float(np.mean(inside))
    u, one_step = [], []
    for row in range(count):
        mean, std = members(batch.obs[run, row], row)
        u.append(numpy_uncertainty(kind, mean, std))
        one_step.append((((mean[elites].mean(0)[:OBS] - batch.next_obs[run, row].numpy()) / unit) ** 2).mean())
    out["model/error_rank_correlation"] = float(spearmanr(u, one_step).statistic)
    for h in range(1, min(10, count) + 1):
        errors = []
        for start in range(count - h + 1):
            if any(row in ends for row in range(start, start + h - 1)):
                continue  # the segment would go over a reset
            state = batch.obs[run, start]
            for row in range(start, start + h):
                state = torch.tensor(members(state, row)[0][elites].mean(0)[:OBS], dtype=torch.float32)
            error = (state.numpy() - batch.next_obs[run, start + h - 1].numpy()) / unit
            errors.append((error**2).mean())
        out[f"model/open_loop_error_{h}"] = float(np.sqrt(np.mean(errors))) if errors else np.nan
    return out


@pytest.mark.parametrize(
    ("count", "ends"),
    [
        (14, [[], [5]]),
        (13, [[0, 4, 11], [*range(12)]]),  # the second run: episodes of one step
        (14, [[12], [6, 7]]),
        (3, [[], [1]]),  # fewer steps than are asked for
    ],
)
def test_unseen_errors_are_the_loop(count: int, ends: list[list[int]]) -> None:
    """Breaks if a segment crosses a reset, members that are no elites or another run count, or units are wrong."""
    ensemble, batch = make_ensemble(count), walk(count, count, ends)
    got = unseen_errors(ensemble, batch, KINDS)
    for run, kind in enumerate(KINDS):
        expected = literal(ensemble, batch, run, kind, ends[run])
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            assert float(got[key][run]) == pytest.approx(value, rel=1e-4, nan_ok=True), key


def test_a_segment_over_a_reset_cannot_spoil_the_others() -> None:
    """Breaks if a prediction that overflows, where no segment is, turns the valid ones into NaN."""

    class Explosive(Ensemble):
        def predict(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
            mean = torch.cat([obs * torch.where(action > 0, 1e30, 1.0), obs[..., :1]], -1)
            return mean[:, None].expand(-1, K, -1, -1), torch.ones(2, K, obs.shape[1], OBS + 1)

    obs = torch.ones(2, 6, OBS)
    obs[:, 3:] = 0  # the second episode starts, and stays, where nothing grows
    action = torch.zeros(2, 6, ACT)
    action[:, 3:] = 1
    got = unseen_errors(
        Explosive(CONFIG, OBS, ACT, [0, 1]), Batch(obs, action, obs[..., 0], obs, torch.zeros(2, 6)), KINDS
    )
    errors = torch.stack([got[f"model/open_loop_error_{h}"] for h in range(1, 7)])
    assert (errors[:3] == 0).all()
    assert errors[3:].isnan().all()


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_relative_change_is_numpys(count: int, seed: int) -> None:
    """Breaks if it is relative to what comes after, a level has another's name, or runs are mixed."""
    before, after = np.exp(np.random.default_rng(seed).normal(size=(2, 2, count)))
    got = relative_change(*(torch.tensor(u, dtype=torch.float32) for u in (before, after)))
    assert len(got) == 20
    for key, values in got.items():
        level = int(key.removeprefix("penalty/relative_change_q")) / 1000
        np.testing.assert_allclose(values, np.quantile((after - before) / before, level, axis=1), rtol=1e-4, atol=1e-4)
    assert [*got] == [f"penalty/relative_change_q{level:03}" for level in range(25, 1000, 50)]


class Trainings:
    """Every training of a cohort: the number of online steps, and the ensemble before and after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[int, Ensemble, Ensemble]] = []
        self.looks = 0
        train = Cohort.train_model

        def train_model(cohort: Cohort, t: int, *more: Any) -> None:
            before = copy.deepcopy(cohort.ensemble)
            train(cohort, t, *more)
            after = copy.deepcopy(cohort.ensemble)
            self.seen.append((cohort.real_buffer.online_size, before, after))

        def look(*arguments: Any) -> dict[str, Tensor]:
            self.looks += 1
            return unseen_errors(*arguments)

        monkeypatch.setattr(Cohort, "train_model", train_model)
        monkeypatch.setattr("moore.algorithm.train_model.unseen_errors", look)


def online_rows(configs: list[RunConfig], root: Path) -> tuple[Cohort, pd.DataFrame]:
    """The cohort and rows of an online stage that starts from a trained ensemble, where there are data for one."""
    cohort = make_cohort(configs, "online")
    if configs[0].dataset is not None:
        cohort.train_model(0)
        cohort.metrics.flush()
    return cohort, run_stage(Stage(cohort), root)


def is_look(metric: str) -> bool:
    return metric.startswith(("model/open_loop", "model/coverage", "model/error_rank", "penalty/relative_change"))


def look_of(rows: pd.DataFrame, seed: int, step: int) -> dict[str, float]:
    """One epoch's metrics of a look."""
    mine = rows[(rows["seed"] == seed) & (rows["env_steps"] == step) & rows["metric"].map(is_look)]
    assert mine["metric"].is_unique
    return dict(zip(mine["metric"], mine["value"], strict=True))


@pytest.mark.parametrize(("phi", "last"), [(10, 20), (7, 14), (15, 15), (20, 20)])
def test_measured_once_an_epoch_before_the_ensemble_has_seen_them(
    phi: int, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if it is measured after the training, on older or newer transitions, or not at an epoch's last one.

    20 steps an epoch; `last` is the step of its last training. The pendulum's rows before it go on without a reset.
    """
    trainings = Trainings(monkeypatch)
    penalties: list[dict[str, Any]] = [{"uncertainty": kind} for kind in ("max_std", "ensemble_std")]
    runs = [
        tiny(seed=seed, penalty=penalty, online={"epochs": 2, "retrain_interval": phi}, dynamics={"lr": 0.02})
        for seed, penalty in enumerate(penalties)
    ]
    cohort, rows = online_rows(runs, tmp_path)
    assert sorted(set(rows.loc[rows["metric"].map(is_look), "env_steps"])) == [20, 40]
    assert trainings.looks == 2
    sizes = [size for size, _, _ in trainings.seen]
    judged = cohort.real_buffer.gather((80 + torch.arange(500) % 20).expand(2, -1))  # the last 20 of 100 rows
    for epoch in (1, 2):
        size = 20 * (epoch - 1) + last
        number = sizes.index(size)
        assert max(sizes[:number]) <= size - phi  # none of these has been in a draw
        index = cohort.real_buffer.online_start[:, None] + torch.arange(size - phi, size)
        unseen = cohort.real_buffer.gather(index)
        _, before, after = trainings.seen[number]
        expected, late = (unseen_errors(e, unseen, cohort.kinds) for e in (before, after))
        u = [uncertainty(cohort.kinds, *e.predict(judged.obs, judged.action)) for e in (before, after)]
        expected |= relative_change(*u)
        for run in range(2):
            got = look_of(rows, run, 20 * epoch)
            assert got == {key: pytest.approx(float(value[run]), rel=1e-6) for key, value in expected.items()}
            assert got["model/open_loop_error_1"] != pytest.approx(
                float(late["model/open_loop_error_1"][run]), rel=1e-3
            )


def test_a_run_beside_one_with_fewer_rows() -> None:
    """Breaks if the transitions on which the change of u is measured depend on another run's dataset."""
    data = random_data() | {"small": random_data(n=30)["some"]}
    runs = [tiny(dataset="some"), tiny(dataset="small")]
    together = held_out(make_cohort(runs, "online", data))
    for number, run in enumerate(runs):
        alone = held_out(make_cohort([run], "online", data))
        assert all(torch.equal(a[0], b[number]) for a, b in zip(alone, together, strict=True))


def test_a_run_from_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if it needs offline data, or its scaler, fitted anew each time, moves before the look."""
    trainings = Trainings(monkeypatch)
    cohort, rows = online_rows([tiny(dataset=None, online={"exploration_steps": 10, "epochs": 2})], tmp_path)
    assert [size for size, _, _ in trainings.seen] == [10, 20, 30, 40]
    for epoch, (size, before, _) in ((1, trainings.seen[1]), (2, trainings.seen[3])):
        unseen = cohort.real_buffer.gather(torch.arange(size - 10, size)[None])
        expected = unseen_errors(before, unseen, cohort.kinds)
        assert look_of(rows, 0, 20 * epoch) == {
            key: pytest.approx(float(value), rel=1e-6) for key, value in expected.items()
        }


def test_looking_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a look draws random numbers, trains or moves anything: all other rows are equal to the last bit."""
    runs = [tiny(seed=seed, online={"epochs": 2}) for seed in range(2)]
    _, with_look = online_rows(runs, tmp_path / "with")
    monkeypatch.setattr("moore.algorithm.train_model.is_last", lambda *_: False)
    _, without = online_rows(runs, tmp_path / "without")
    looks = with_look["metric"].map(is_look)
    assert looks.sum() == 2 * 2 * (10 + 4 + 1 + 20)
    assert not without["metric"].map(is_look).any()
    others = with_look[~looks].drop(columns="wall_seconds").reset_index(drop=True)
    pd.testing.assert_frame_equal(others, without.drop(columns="wall_seconds"), check_exact=True)
