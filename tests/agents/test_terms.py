"""The distinctive term of every baseline, element by element, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, norm

from moore.agents.awac import advantage_weight
from moore.agents.balanced_replay import ensemble_head
from moore.agents.cql import calibrate, conservative_gap
from moore.agents.gaussian_actor import GaussianActorCritic
from moore.agents.iql import IQL, IQLConfig, expectile_loss
from moore.agents.sac import SACConfig, Setup, random_subset
from moore.agents.td3_bc import smoothed
from moore.data.hdf5 import Dataset
from moore.data.transitions import to_transitions
from moore.networks.random import Streams
from tests.support.agents import ACT, OBS, SEEDS, B, data, linear_stack

FALSE_ALARM = 1e-4  # rate at which the chi-square test below would fail for correct code with another seed
seeds = st.integers(0, 2**32 - 1)
many = settings(max_examples=30, deadline=None)
pytestmark = pytest.mark.usefixtures("double_precision")


@many
@given(seeds, st.floats(0.01, 0.99))
def test_expectile_loss(seed: int, expectile: float) -> None:
    """Breaks if IQL's loss is not |tau - 1(u < 0)| u^2."""
    u = np.random.default_rng(seed).normal(size=20) * 10
    expected = np.abs(expectile - (u < 0)) * u**2
    np.testing.assert_allclose(expectile_loss(torch.tensor(u), expectile), expected)


@many
@given(seeds, st.floats(0.1, 5.0), st.floats(1.0, 200.0))
def test_advantage_weight(seed: int, temperature: float, max_weight: float) -> None:
    """Breaks if exp(A / lambda) is not clipped, or an advantage that overflows exp is not the largest weight."""
    advantage = np.append(np.random.default_rng(seed).normal(size=20) * 10, [1e6, -1e6])
    expected = [max_weight if a / temperature > 700 else min(math.exp(a / temperature), max_weight) for a in advantage]
    np.testing.assert_allclose(advantage_weight(torch.tensor(advantage), temperature, max_weight), expected)
    assert expected[-2:] == [max_weight, 0.0]


@many
@given(seeds)
def test_gaussian_policy(seed: int) -> None:
    """Breaks if the policy of AWAC and IQL is not a Gaussian around tanh(net) with a clipped std per dimension."""
    rng, agent = np.random.default_rng(seed), GaussianActorCritic(SACConfig(hidden=(4,)), Setup(OBS, ACT, SEEDS))
    log_std = rng.uniform(-8, 4, size=(len(SEEDS), ACT))
    params = torch.cat([agent.actor_params.detach()[:, :-ACT], torch.tensor(log_std)], 1)
    obs, action, noise = (torch.tensor(rng.normal(size=(len(SEEDS), B, n))) for n in (OBS, ACT, ACT))
    for run in range(len(SEEDS)):
        mean = np.tanh(linear_stack(agent.actor, params[run, :-ACT])(obs[run]).detach().numpy())
        std = np.exp(np.clip(log_std[run], -5, 2))
        expected = norm.logpdf(action[run], mean, std).sum(-1)
        np.testing.assert_allclose(agent.log_prob(params, obs, action)[run], expected)
        np.testing.assert_allclose(
            agent.sample(params, obs, noise)[run], np.clip(mean + std * noise[run].numpy(), -1, 1)
        )


@many
@given(seeds)
def test_conservative_gap(seed: int) -> None:
    """Breaks if the log-sum-exp lacks the importance weights, mixes critics or does not subtract the data's value."""
    rng = np.random.default_rng(seed)
    sampled, log_density, q = rng.normal(size=(2, 3, 6, 4)), rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 3, 4))
    got = conservative_gap(torch.tensor(sampled), torch.tensor(log_density), torch.tensor(q))
    for run, critic, row in np.ndindex(2, 3, 4):
        ratios = np.exp(sampled[run, critic, :, row]) / np.exp(log_density[run, :, row])
        assert got[run, critic, row] == pytest.approx(np.log(ratios.sum()) - q[run, critic, row])


@many
@given(seeds)
def test_calibrate(seed: int) -> None:
    """Breaks if Cal-QL bounds uniform actions, misses policy actions, or an unknown return (-inf) counts."""
    rng = np.random.default_rng(seed)
    sampled, returns = rng.normal(size=(2, 3, 9, 4)), rng.normal(size=(2, 4))
    returns[0, 0] = -np.inf
    got = calibrate(torch.tensor(sampled), torch.tensor(returns), 3)
    for run, critic, action, row in np.ndindex(sampled.shape):
        value = sampled[run, critic, action, row]
        assert got[run, critic, action, row] == (value if action < 3 else max(value, returns[run, row]))


@many
@given(seeds)
def test_moments_of_the_ensemble_policy(seed: int) -> None:
    """Breaks if mean or variance is not the mixture's: mean of the variances plus variance of the means."""
    rng = np.random.default_rng(seed)
    means, stds = rng.normal(size=(2, 5, 7, ACT)), rng.uniform(0.05, 2.0, size=(2, 5, 7, ACT))
    mean, log_std = ensemble_head(torch.tensor(np.concatenate([means, np.log(stds)], -1))).chunk(2, -1)
    np.testing.assert_allclose(mean, means.mean(1), atol=1e-12)
    np.testing.assert_allclose(log_std.exp() ** 2, (stds**2).mean(1) + means.var(1))


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
        assert made.return_to_go is not None
        which = (made.obs[:, 0] / 3).astype(int)
        assert len(which) == (limit or len(rows))
        np.testing.assert_allclose(made.return_to_go, [to_go[row] for row in which], rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(made.reward, reward[which])


@pytest.mark.parametrize("scale_rewards", [True, False])
def test_reward_scale(scale_rewards: bool) -> None:
    """Breaks if IQL's rewards are not times 1000 / (best - worst return) in every run's own units, or always scaled."""
    ranges = [10.0, 400.0, 0.0]  # a dataset whose episodes all return the same has no scale
    factor = torch.tensor([[100.0], [2.5], [1.0]]) if scale_rewards else torch.ones(3, 1)
    scaled, plain = (
        IQL(IQLConfig(hidden=(16,), scale_rewards=s), Setup(OBS, ACT, SEEDS)) for s in (scale_rewards, False)
    )
    for run, size in enumerate(ranges):
        scaled.fit_to_dataset(run, torch.zeros(2, OBS), size)
    for step in range(3):
        batch, noise = data(step)
        one = scaled.update(batch, noise[:0])
        other = plain.update(batch._replace(reward=batch.reward * factor), noise[:0])
        assert all(torch.equal(one[key], other[key]) for key in other)
