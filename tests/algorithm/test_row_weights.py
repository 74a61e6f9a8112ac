"""Weights of single transitions: against loops over rows, actions and members, and what each run draws by them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import moore.algorithm.row_weights
from moore.agents.actor_critic import Setup
from moore.agents.sac import SAC, SACConfig
from moore.algorithm.dynamics import DynamicsConfig, Ensemble
from moore.algorithm.replay import RealBuffer
from moore.algorithm.row_weights import Rows, RowWeights, model_error, on_policy, return_prioritized
from moore.algorithm.sampling import Moment, SamplingConfig
from moore.data.transitions import to_transitions
from moore.networks.batch import Batch, pack, unpack
from tests.support.agents import linear_stack
from tests.support.core import make_cohort, tiny
from tests.support.datasets import counted_dataset
from tests.support.draws import draw
from tests.support.draws import uniforms as random_uniforms

OBS, ACT, K = 3, 2, 3
OFFLINE, DATASET_OF, N_ON = [6, 11], [1, 0, 1], 5  # rows of the datasets, the runs' datasets, online rows
pytestmark = pytest.mark.usefixtures("double_precision")


def transitions(seed: int, count: int) -> Tensor:
    """Packed rows; some actions lie at the bounds."""
    g = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, count, OBS, generator=g)
    action = (2.4 * torch.rand(count, ACT, generator=g) - 1.2).clamp(-1, 1)
    return pack(Batch(obs, action, torch.randn(count, generator=g), next_obs, torch.zeros(count)))


def make_buffer() -> RealBuffer:
    """Three runs on two datasets, with online rows of their own and space for three more."""
    offline = [transitions(k, size) for k, size in enumerate(OFFLINE)]
    buffer = RealBuffer(offline, list(DATASET_OF), OBS, ACT, N_ON + 3)
    for step in range(N_ON):
        append(buffer, step)
    return buffer


def append(buffer: RealBuffer, step: int) -> None:
    """One more online transition of every run."""
    buffer.append(unpack(torch.cat([transitions(100 * (run + 1) + step, 1) for run in range(3)]), OBS))


def make_agent(normalize_obs: bool = True) -> SAC:
    """Actors so different and so narrow that some densities fall below the range that counts."""
    agent = SAC(SACConfig(hidden=(8,), normalize_obs=normalize_obs), Setup(OBS, ACT, [0, 1, 2]))
    agent.actor_params *= 2
    for run in range(3):
        agent.obs_mean[run], agent.obs_std[run] = 0.3 * run, 0.5 + run
    return agent


def make_ensemble(buffer: RealBuffer) -> Ensemble:
    """Random members with scalers of their own for each run; the elites must not matter."""
    config = DynamicsConfig(
        ensemble_size=K, num_elites=1, hidden=(7,), weight_decay=(0.0, 0.0), normalize_targets=True, batch_size=4
    )
    ensemble = Ensemble(config, OBS, ACT, [0, 1, 2])
    for run in range(3):
        ensemble.fit_scaler(run, buffer.all_of(run))
    return ensemble


def weigh(
    strategy: Callable[[Rows], Tensor],
    run: int,
    batch: Batch,
    agent: SAC | None = None,
    ensemble: Any = None,
    returns: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """What a strategy makes of a run's rows."""
    return strategy(Rows(batch, len(batch.reward), returns, agent, ensemble, run, SamplingConfig(**settings)))


def literal_on_policy(agent: SAC, run: int, rows: Batch, temperature: float) -> list[float]:
    """exp(clip((log of the Gaussian's density + log std, summed over dimensions) / dim(A), -12, 7) / T)."""
    net, weights = linear_stack(agent.actor, agent.actor_params[run]), []
    for obs, action in zip(rows.obs, rows.action, strict=True):
        if agent.config.normalize_obs:
            obs = (obs - agent.obs_mean[run, 0]) / agent.obs_std[run, 0]
        head, log_prob = net(obs[None])[0].tolist(), 0.0
        for dim in range(ACT):
            log_std = min(max(head[ACT + dim], -20.0), 2.0)
            pre_tanh = math.atanh(min(max(float(action[dim]), -1 + 1e-6), 1 - 1e-6))
            log_prob += Normal(head[dim], math.exp(log_std)).log_prob(torch.tensor(pre_tanh)).item() + log_std
        weights.append(math.exp(min(max(log_prob / ACT, -12.0), 7.0) / temperature))
    return weights


def literal_model_error(ensemble: Ensemble, run: int, rows: Batch, exponent: float) -> list[float]:
    """(root of the members' and dimensions' mean squared error in standardised targets + 1e-6)^exponent."""
    weights = []
    for i in range(len(rows.reward)):
        inputs = (torch.cat([rows.obs[i], rows.action[i]]) - ensemble.input_mean[run, 0, 0]) / ensemble.input_std[run]
        target = torch.cat([rows.next_obs[i] - rows.obs[i], rows.reward[i : i + 1]])
        target = (target - ensemble.target_mean[run, 0, 0]) / ensemble.target_std[run, 0, 0]
        members = [linear_stack(ensemble.net, ensemble.params[run, k]) for k in range(K)]
        errors = [(net(inputs[0])[0, : OBS + 1] - target).square().mean().item() for net in members]
        weights.append((math.sqrt(sum(errors) / K) + 1e-6) ** exponent)
    return weights


@pytest.mark.parametrize("normalize_obs", [True, False])
def test_on_policy_is_the_loop(normalize_obs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if another run's actor or moments are read, dimensions are summed, a clip moves, or chunks are lost."""
    monkeypatch.setattr(moore.algorithm.row_weights, "CHUNK", 4)
    buffer, agent, found = make_buffer(), make_agent(normalize_obs), []
    for run in range(3):
        rows = buffer.all_of(run)
        expected = literal_on_policy(agent, run, rows, 2.0 + run)
        np.testing.assert_allclose(
            weigh(on_policy, run, rows, agent, on_policy_temperature=2.0 + run), expected, rtol=1e-8
        )
        found.append((min(expected) == math.exp(-12 / (2 + run)), len(set(expected))))
    assert any(clipped for clipped, _ in found)
    assert all(different > 5 for _, different in found)


def test_model_error_is_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if another run's members or scalers are read, only elites count, or errors stay in raw units."""
    monkeypatch.setattr(moore.algorithm.row_weights, "CHUNK", 4)
    buffer = make_buffer()
    ensemble = make_ensemble(buffer)
    for run, exponent in enumerate((0.6, 1.0, 0.0)):
        rows = buffer.all_of(run)
        expected = literal_model_error(ensemble, run, rows, exponent)
        np.testing.assert_allclose(
            weigh(model_error, run, rows, None, ensemble, error_exponent=exponent), expected, rtol=1e-8
        )
        assert len(set(expected)) == (1 if exponent == 0 else len(rows.reward))


def test_return_weights() -> None:
    """Breaks if returns are not scaled to 0-1, the base is missing, or equal returns are not equal weights."""
    rows = unpack(transitions(0, 4), OBS)
    weights = weigh(return_prioritized, 0, rows, returns=torch.tensor([-30.0, 10.0, -30.0, -20.0]))
    np.testing.assert_allclose(weights, [0.1, 1.1, 0.1, 0.35], rtol=1e-12)
    np.testing.assert_allclose(weigh(return_prioritized, 0, rows, returns=torch.full((4,), 7.0)), [0.1] * 4)


@pytest.mark.parametrize("keep_timeouts", [False, True])
@pytest.mark.parametrize("limit", [None, 9])
def test_returns_reach_their_rows(keep_timeouts: bool, limit: int | None) -> None:
    """Breaks if the buffer's rows, which are shuffled, and the episode returns are not in the same order."""
    dataset = counted_dataset([(4, "terminal"), (3, "timeout"), (5, "terminal")], 2)
    data = {"some": to_transitions(dataset, keep_timeouts, limit)}
    config = tiny(sampling={"start_states": "return_prioritized", "return_base": 0.25})
    cohort = make_cohort([config], "online", data)
    zeros = lambda *shape: torch.zeros(1, *shape)  # noqa: E731
    cohort.real_buffer.append(Batch(zeros(3), zeros(1), zeros(), zeros(3), zeros()))
    assert isinstance(cohort.agent, SAC)
    cohort.draws.refresh(cohort.agent, cohort.ensemble, cohort.streams["density_ratio"])
    mix = cohort.draws.row_weights.mixture(0, "return_prioritized", Moment(2, len(data["some"]), 1))
    assert mix.online_weights is None
    assert mix.online_share == 1 / (1 + len(data["some"]) / 2)  # the paper's priority of the source
    rows = cohort.real_buffer.all_of(0)
    returns = {0: 0 + 1 + 2 + 3, 1: 4 + 5 + 6, 2: 7 + 8 + 9 + 10 + 11, 3: 12 + 13}  # row i of the file has reward i
    kept = [returns[int(episode)] for episode in rows.obs[:-1, 0]]
    expected = [(value - min(kept)) / (max(kept) - min(kept)) + 0.25 for value in kept]
    assert len(set(kept)) > 2
    np.testing.assert_allclose(mix.offline_weights, expected, rtol=1e-6)


def make_priorities(buffer: RealBuffer) -> RowWeights:
    """Three runs with different strategies for different consumers."""
    configs = [
        SamplingConfig("on_policy", "model_error", on_policy_temperature=2.0),
        SamplingConfig("model_error", "uniform", "return_prioritized", error_exponent=0.3, decay_rate=2.0),
        SamplingConfig("half_half", "prioritized", "on_policy"),
    ]
    returns = [torch.arange(size, dtype=torch.float32) for size in buffer.offline_size]
    return RowWeights(configs, buffer, returns)


def test_each_run_weighs_by_its_own() -> None:
    """Breaks if a run gets another run's weights, they are split in the wrong place, or unused ones are computed."""
    buffer, agent = make_buffer(), make_agent()
    ensemble = make_ensemble(buffer)
    priorities = make_priorities(buffer)
    priorities.refresh(agent, ensemble)
    rows = [buffer.all_of(run) for run in range(3)]
    literal = {
        "0/on_policy": literal_on_policy(agent, 0, rows[0], 2.0),
        "0/model_error": literal_model_error(ensemble, 0, rows[0], 0.6),
        "1/model_error": literal_model_error(ensemble, 1, rows[1], 0.3),
        "2/on_policy": literal_on_policy(agent, 2, rows[2], 5.0),
    }
    assert priorities.online.keys() == literal.keys()
    assert priorities.offline.keys() == literal.keys() | {"1/return_prioritized"}
    np.testing.assert_allclose(priorities.offline["1/return_prioritized"], np.arange(6) / 5 + 0.1)
    for key, weights in literal.items():
        n_off = buffer.offline_size[int(key[0])]
        np.testing.assert_allclose(priorities.offline[key], weights[:n_off], rtol=1e-8)
        np.testing.assert_allclose(priorities.online[key], weights[n_off:], rtol=1e-8)


def test_rows_since_the_last_refresh() -> None:
    """Breaks if they weigh something else than 1 (on_policy) or the most there is, or the share forgets them."""
    buffer = make_buffer()
    priorities = make_priorities(buffer)
    priorities.refresh(make_agent(), make_ensemble(buffer))
    for step in range(3):
        append(buffer, N_ON + step)
    for run, name in ((0, "on_policy"), (0, "model_error"), (1, "model_error")):
        n_off = buffer.offline_size[run]
        offline, online = (weights[f"{run}/{name}"].numpy() for weights in (priorities.offline, priorities.online))
        fresh = 1.0 if name == "on_policy" else max(offline.max(), online.max())
        expected = np.append(online, [fresh] * 3)
        mix = priorities.mixture(run, name, Moment(1, n_off, N_ON + 3))
        np.testing.assert_array_equal(mix.offline_weights, offline)
        np.testing.assert_array_equal(mix.online_weights, expected)
        assert mix.online_share == pytest.approx(expected.sum() / (expected.sum() + offline.sum()))


def test_a_diverged_run_keeps_to_itself() -> None:
    """Breaks if NaN weights end the cohort, reach rows that do not exist, or change another run's draws."""
    buffer = make_buffer()
    results = []
    for poison in (False, True):
        agent, ensemble, priorities = make_agent(), make_ensemble(buffer), make_priorities(buffer)
        if poison:
            agent.actor_params[0], ensemble.params[0] = torch.nan, torch.nan
        priorities.refresh(agent, ensemble)
        for name in ("on_policy", "model_error"):
            mixes = [
                priorities.mixture(run, own, Moment(1, buffer.offline_size[run], N_ON))
                for run, own in ((0, name), (1, "model_error"), (2, "on_policy"))
            ]
            results.append(draw(buffer, mixes, random_uniforms(3, 200))[0])
    for healthy, poisoned in zip(results[:2], results[2:], strict=True):
        assert torch.equal(healthy[1:], poisoned[1:])
        assert not torch.equal(healthy[0], poisoned[0])
        start, end = int(buffer.offline_start[0]), int(buffer.offline_start[0]) + buffer.offline_size[0]
        assert ((poisoned[0] >= start) & (poisoned[0] < end)).all()  # its own rows
