"""Baselines on the run axis: a cohort is so many single runs, a state continues, a fork is an index."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from moore.agents.actor_critic import ACTIVATIONS, Agent, Setup
from moore.agents.registry import find_agent
from moore.algorithm.cohort import Cohort
from moore.data.transitions import Transitions
from moore.networks.batch import AnyBatch, Batch, BatchWithReturns
from moore.networks.random import Streams
from moore.networks.state import joined, runs_of
from tests.support.agents import method
from tests.support.core import make_cohort, with_returns
from tests.support.state import tensors

MODEL_FREE = ("awac", "iql", "td3_bc", "cql_sac", "cal_ql", "balanced_replay", "rlpd", "wsrl")
STAGES = ("offline", "online")
SEEDS = [3, 1, 2]
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-8)
pytestmark = pytest.mark.usefixtures("double_precision")


def make(name: str, stage: str, seeds: list[int]) -> Agent:
    config = method(name, env="hopper")
    agent = find_agent(config.algorithm)(config.agent, Setup(11, 3, seeds, stage))
    for run, seed in enumerate(seeds):  # what the data would set, different for each run
        agent.fit_to_dataset(run, Streams([seed], "observations").normal(50, 11)[0] * seed, 100.0 * seed)
    return agent


def batch_of(agent: Agent, seeds: list[int], step: int) -> tuple[AnyBatch, Tensor]:
    """A minibatch and noise whose row r depends on seeds[r] alone."""
    streams = Streams(seeds, "data", step)
    obs, next_obs = streams.normal(2, agent.batch_size, 11).unbind(1)
    action = 2 * streams.uniform(agent.batch_size, 3) - 1
    reward, returns = streams.normal(2, agent.batch_size).unbind(1)
    ended = (streams.uniform(agent.batch_size) < 0.3).double()
    noise = streams.normal(agent.noise_blocks, agent.batch_size, 3).transpose(0, 1)
    return BatchWithReturns(obs, action, reward, next_obs, ended, returns), noise


def train(name: str, agent: Agent, seeds: list[int], steps: range) -> dict[str, Tensor]:
    """Updates on batches of their own for each seed; the last metrics."""
    for step in steps:
        batch, noise = batch_of(agent, seeds, step)
        full = batch if name == "cal_ql" else Batch(*batch[:5])
        metrics = agent.update(full, noise, step % 2 == 1)
    return metrics


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", MODEL_FREE)
def test_forks_continue(name: str, stage: str) -> None:
    """Breaks if the state misses something that training reads, or its leading axis is not the run."""
    agent = make(name, stage, SEEDS)
    train(name, agent, SEEDS, range(3))
    saved = copy.deepcopy(agent.state())
    assert all(len(value) == len(SEEDS) for value in tensors(saved).values())
    train(name, agent, SEEDS, range(3, 6))

    forks = [2, 0, 2, 2]
    forked = make(name, stage, [7, 8, 9, 10])
    forked.load(joined([runs_of(saved, run) for run in forks]))
    train(name, forked, [SEEDS[run] for run in forks], range(3, 6))
    for key, value in tensors(agent).items():
        close(tensors(forked)[key].detach(), value[forks].detach())


@pytest.mark.parametrize("name", MODEL_FREE)
def test_offline_state_starts_the_online_stage(name: str) -> None:
    """Breaks if the offline agent's state does not fit the online agent, or the fork acts differently."""
    offline, online = make(name, "offline", SEEDS), make(name, "online", [7, 8, 9])
    train(name, offline, SEEDS, range(2))
    online.load(joined([runs_of(offline.state(), run) for run in range(len(SEEDS))]))
    obs = Streams(SEEDS, "states").normal(5, 11)
    noise = Streams(SEEDS, "noise").normal(5, 3)
    assert torch.equal(offline.act(obs), online.act(obs))
    assert torch.equal(offline.act(obs, noise), online.act(obs, noise))
    assert (offline.act(obs, noise) != offline.act(obs)).all()


def datasets() -> dict[str, Transitions]:
    """Two datasets of different sizes."""
    made = {}
    for name, size in (("large", 90), ("small", 50)):
        data = with_returns("pendulum", size, return_range=4.0 * size)["some"]
        made[name] = replace(data, terminated=data.reward > 1)
    return made


def learn(name: str, stage: str, seeds: list[int], of: list[str]) -> Cohort:
    """A cohort after two rounds of updates, with online transitions that depend on the run's seed alone."""
    configs = [method(name, seed=seed, dataset=data) for seed, data in zip(seeds, of, strict=True)]
    cohort, stream = make_cohort(configs, stage, datasets()), Streams(seeds, "online rows")
    for t in (1, 2):
        for _ in range(6 if stage == "online" else 0):
            obs, next_obs = stream.normal(2, 3).unbind(1)
            action, reward = stream.normal(1).clamp(-1, 1), stream.normal()
            cohort.real_buffer.append(Batch(obs, action, reward, next_obs, torch.zeros(len(seeds))))
        for run in range(len(seeds) if stage == "online" and t == 1 else 0):
            cohort.real_buffer.end_episode(run, 0, 0.99, 0.0)
        cohort.update_policy(t, 4)
    return cohort


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", MODEL_FREE)
def test_cohort_is_single_runs(name: str, stage: str) -> None:
    """Breaks if a run's draws, returns, scales or priorities depend on the other runs, or on their dataset's size."""
    of = ["large", "small", "large"]
    together = learn(name, stage, SEEDS, of)
    metrics = together.metrics.flush()
    assert "train/critic_loss" in metrics
    for run, (seed, data) in enumerate(zip(SEEDS, of, strict=True)):
        alone = learn(name, stage, [seed], [data])
        for key, values in alone.metrics.flush().items():
            assert values[0] == pytest.approx(metrics[key][run], rel=1e-6), key
        for key, value in tensors(together.agent).items():
            close(value[run].detach(), tensors(alone.agent)[key][0].detach())
    if name == "iql":
        assert tensors(together.agent)["reward_scale"][:, 0].tolist() == [1000 / 360, 1000 / 200, 1000 / 360]
    if name == "balanced_replay" and stage == "online":
        assert "train/ratio_loss" in metrics
        assert metrics["sampling/real_batches_online_share"] != metrics["sampling/ratio_online"]


@pytest.mark.parametrize("name", ["cal_ql", "wsrl", "balanced_replay"])
def test_groups_of_runs_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a run's conservative term meets another run's batch, or a group of runs is left out of the step."""
    states = []
    for activations in (2**40, 1):
        monkeypatch.setitem(ACTIVATIONS, "cpu", activations)
        states.append(tensors(learn(name, "offline", SEEDS, ["small", "large", "small"]).agent))
    for key, value in states[0].items():
        close(value.detach(), states[1][key].detach())
