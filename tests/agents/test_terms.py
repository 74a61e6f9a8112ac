"""What a whole update of ordinary numbers does not show: policies, bounds, draws of critics, returns of a file."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, norm

from moore.agents.awac import AWAC, AWACConfig
from moore.agents.balanced_replay import ensemble_head
from moore.agents.gaussian_actor import advantage_weight
from moore.agents.iql import IQL, IQLConfig
from moore.agents.registry import find_agent
from moore.agents.sac import SAC, SACConfig, Setup, random_subset
from moore.agents.td3_bc import smoothed
from moore.data.hdf5 import Dataset
from moore.data.transitions import to_transitions
from moore.networks.random import Streams
from tests.support.agents import ACT, OBS, SEEDS, B, linear_stack, method

FALSE_ALARM = 1e-4  # rate at which the chi-square test below would fail for correct code with another seed
seeds = st.integers(0, 2**32 - 1)
many = settings(max_examples=30, deadline=None)
pytestmark = pytest.mark.usefixtures("double_precision")


def test_actions_of_sac() -> None:
    """Breaks if evaluation is not the tanh of the mean or exploration ignores its noise."""
    agent = SAC(SACConfig(hidden=(16, 12)), Setup(OBS, ACT, SEEDS))
    obs, noise = torch.randn(3, B, OBS), torch.randn(3, B, ACT)
    mean, log_std = agent.actor(agent.actor_params, obs).chunk(2, -1)
    torch.testing.assert_close(agent.act(obs), mean.tanh())
    torch.testing.assert_close(agent.act(obs, noise), (mean + log_std.exp() * noise).tanh())


def test_an_advantage_that_overflows_is_the_largest_weight() -> None:
    """Breaks if exp(A / lambda) becomes infinite, or its gradient NaN, before it is clipped."""
    weights = advantage_weight(torch.tensor([1e6, 3.0, -1e6]), 1.0, 200.0)
    np.testing.assert_allclose(weights, [200.0, math.exp(3), 0.0])


@many
@given(seeds, st.sampled_from([(AWAC, AWACConfig, -20), (IQL, IQLConfig, -5)]))
def test_gaussian_policy(seed: int, of: tuple[Any, Any, float]) -> None:
    """Breaks if the policy of AWAC and IQL is not a Gaussian around tanh(net) with a clipped std per dimension."""
    kind, settings_of, least = of
    rng, agent = np.random.default_rng(seed), kind(settings_of(hidden=(4,)), Setup(OBS, ACT, SEEDS))
    log_std = rng.uniform(-25, 4, size=(len(SEEDS), ACT))
    params = torch.cat([agent.actor_params.detach()[:, :-ACT], torch.tensor(log_std)], 1)
    obs, action, noise = (torch.tensor(rng.normal(size=(len(SEEDS), B, n))) for n in (OBS, ACT, ACT))
    for run in range(len(SEEDS)):
        mean = np.tanh(linear_stack(agent.actor, params[run, :-ACT])(obs[run]).detach().numpy())
        std = np.exp(np.clip(log_std[run], least, 2))
        expected = norm.logpdf(action[run], mean, std).sum(-1)
        np.testing.assert_allclose(agent.log_prob(params, obs, action)[run], expected)
        np.testing.assert_allclose(
            agent.sample(params, obs, noise)[run], np.clip(mean + std * noise[run].numpy(), -1, 1)
        )


def test_observations_are_divided_by_the_authors_deviation() -> None:
    """Breaks if TD3+BC's or AWAC's divisor is not std + 1e-3, another method's has it, or runs share their moments."""
    obs = torch.randn(len(SEEDS), 40, 11) * torch.tensor([1e-4, 1.0, 50.0] + [0.0] * 8) + 7
    for name, eps in (("td3_bc", 1e-3), ("awac", 1e-3), ("moore", None)):
        config = method(name, env="hopper", agent={"normalize_obs": True})
        agent: Any = find_agent(config.algorithm)(config.agent, Setup(11, 3, SEEDS))
        for run in range(len(SEEDS)):
            agent.fit_to_dataset(run, obs[run], 1.0)
        for run, seen in enumerate(agent.standardize(obs)):
            x = obs[run].numpy()
            std = x.std(0, ddof=1)
            divisor = np.where(std == 0, 1, std) if eps is None else std + eps
            np.testing.assert_allclose(seen, (x - x.mean(0)) / divisor, atol=1e-9)


@pytest.mark.parametrize("name", ["rlpd", "wsrl"])
def test_layer_norm_of_flax(name: str) -> None:
    """Breaks if the critics' LayerNorm is not x - mean over sqrt(var + 1e-6), where activations hardly vary too."""
    config = method(name, agent={"hidden": [16]})
    agent: Any = find_agent(config.algorithm)(config.agent, Setup(OBS, ACT, SEEDS))
    params = 1e-3 * agent.critic_params.detach()
    (weight, bias), (last, last_bias) = agent.critic.layers(params)
    obs, action = torch.randn(len(SEEDS), B, OBS), torch.rand(len(SEEDS), B, ACT)
    x = torch.cat([obs, action], -1)[:, None] @ weight + bias
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(agent.q(params, obs, action), (x.relu() @ last + last_bias)[..., 0])


@pytest.mark.parametrize("name", ["cql_sac", "cal_ql"])
def test_policy_of_cql_before_training(name: str) -> None:
    """Breaks if CQL's actor does not start at actions near tanh(0) with a log std near the authors' offset of -1."""
    config = method(name, env="hopper", agent={"hidden": [64, 64]})
    agent: Any = find_agent(config.algorithm)(config.agent, Setup(11, 3, SEEDS))
    mean, log_std = agent.policy(agent.actor_params, torch.randn(len(SEEDS), 100, 11)).chunk(2, -1)
    assert agent.actor_params[:, -2:].tolist() == [[1.0, -1.0]] * len(SEEDS)
    assert mean.abs().max() < 0.2
    assert (log_std + 1).abs().max() < 0.2


def test_ensemble_of_equal_deterministic_policies() -> None:
    """Breaks if a variance that rounds to zero has no finite logarithm or gradient."""
    head = torch.tensor([[[[0.3, -20.0]]] * 5], requires_grad=True)  # [1, 5, 1, 2]
    out = ensemble_head(head)
    (grad,) = torch.autograd.grad(out.sum(), head)
    assert out.isfinite().all()
    assert grad.isfinite().all()


@many
@given(seeds, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_target_smoothing(seed: int, std: float, clip: float) -> None:
    """Breaks if TD3's noise is not clipped before it is added, or the action not after."""
    rng = np.random.default_rng(seed)
    action, noise = rng.uniform(-1, 1, size=(2, 30)), rng.normal(size=(2, 30))
    expected = np.clip(action + np.clip(std * noise, -clip, clip), -1, 1)
    np.testing.assert_allclose(smoothed(torch.tensor(action), torch.tensor(noise), std, clip), expected)


def test_every_pair_of_critics_is_equally_likely() -> None:
    """Breaks if REDQ's subset has repeats, prefers critics, or is shared between runs (chi-square, 45 pairs)."""
    draws, critics = 9000, 10
    q = torch.arange(critics)[None, :, None].expand(draws, -1, 4)
    chosen = random_subset(q, 2, Streams([0], "pairs").normal(draws, 4, 3)[0])
    assert (chosen == chosen[..., :1]).all()  # one subset for the whole minibatch
    counts = np.zeros((critics, critics))
    np.add.at(counts, tuple(chosen[..., 0].sort(1)[0].T.numpy()), 1)
    assert np.tril(counts).sum() == 0
    assert chisquare(counts[np.triu_indices(critics, 1)]).pvalue > FALSE_ALARM


@many
@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("-te")), min_size=2, max_size=30), st.floats(0, 0.99))
def test_returns_of_a_file(rows: list[tuple[float, str]], gamma: float) -> None:
    """Breaks if a return crosses an episode's end, ends like a fall where it was cut, or a subset changes it."""
    reward, ends = np.array([r for r, _ in rows], dtype=np.float32), np.array([end for _, end in rows])
    obs = np.arange(3 * len(rows), dtype=np.float32).reshape(-1, 3)
    episodes: list[list[int]] = [[]]
    for row in range(len(rows)):
        episodes[-1].append(row)
        if ends[row] != "-" and row < len(rows) - 1:
            episodes.append([])
    worst = min(0.0, float(reward.min())) / (1 - gamma)  # for ever, after an end that is no termination
    to_go = {}
    for episode in episodes:
        after = 0.0 if ends[episode[-1]] == "e" else worst
        for row in episode:
            left = [*(float(reward[i]) for i in episode[episode.index(row) :]), after]
            to_go[row] = sum(gamma**k * value for k, value in enumerate(left))
    totals = [sum(float(reward[row]) for row in episode) for episode in episodes]
    file = Dataset("pendulum", obs, np.zeros((len(rows), 1), np.float32), reward, ends == "e", ends == "t", obs + 0.5)
    for limit in (None, max(1, len(rows) // 2)):
        made = to_transitions(file, keep_timeouts=True, limit=limit, gamma=gamma)
        assert made.return_range == pytest.approx(max(totals) - min(totals), abs=1e-4)
        which = (made.obs[:, 0] / 3).astype(int)
        assert len(which) == (limit or len(rows))
        np.testing.assert_allclose(made.return_to_go, [to_go[row] for row in which], rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(made.reward, reward[which])


def test_a_dataset_whose_episodes_return_the_same_has_no_scale() -> None:
    """Breaks if its rewards are divided by nothing."""
    agent = IQL(IQLConfig(hidden=(16,)), Setup(OBS, ACT, SEEDS))
    for run, size in enumerate((10.0, 0.0)):
        agent.fit_to_dataset(run, torch.zeros(2, OBS), size)
    assert agent.reward_scale[:, 0].tolist() == [100.0, 1.0, 1.0]
