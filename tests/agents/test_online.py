"""The online stage of the baselines: when they update and act, what stays as it was, returns, kill and resume."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from moore.agents.actor_critic import ActorCritic
from moore.agents.balanced_replay import BalancedReplay
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.networks.adam import RunAdam
from moore.networks.batch import BatchWithReturns
from moore.networks.random import Streams
from moore.run import sealed
from tests.support.agents import method
from tests.support.core import FLOOR, Stage, make_cohort, run_stage, with_returns
from tests.support.state import tensors

Fields = dict[str, Tensor]


def stage_of(*configs: RunConfig) -> Stage:
    return Stage(make_cohort(configs, "online", with_returns(configs[0].env)))


def copied(state: Fields) -> Fields:
    return {key: value.clone() for key, value in state.items()}


def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """A list that every round of updates of the policy adds (epoch, online step, number of updates) to."""
    calls: list[tuple[int, int, int]] = []
    original = Cohort.update_policy

    def spy(self: Cohort, t: int, count: int) -> None:
        calls.append((t, self.real_buffer.online_size, count))
        original(self, t, count)

    monkeypatch.setattr(Cohort, "update_policy", spy)
    return calls


def test_wsrl_warms_up_with_its_offline_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if updates begin before the warm-up ends, or its actions are uniform, or not the loaded policy's."""
    calls = rounds(monkeypatch)
    stage = stage_of(method("wsrl", online={"warmup_steps": 25, "utd_ratio": 2}))
    agent = stage.cohort.agent
    assert isinstance(agent, ActorCritic)
    with torch.no_grad():
        agent.actor_params[:, -2] = 0.7  # the last bias: mean, then log std
        agent.actor_params[:, -1] = -1.0
    before = copy.deepcopy(agent.state())
    run_stage(stage, tmp_path)
    assert calls == [(1 + (step - 1) // 20, step, 2) for step in range(25, 61)]

    fresh = stage_of(method("wsrl")).cohort.agent
    fresh.load(before)
    policy, taken = Streams([0], "online", "policy"), stage.cohort.real_buffer.all_of(0)
    for step in range(100, 125):  # the first hundred are the dataset's
        expected = fresh.act(taken.obs[None, None, step], policy.normal(1, 1))
        torch.testing.assert_close(taken.action[None, None, step], expected)
    assert taken.action[100:125].mean() > 0.3


def test_rounds_of_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if update_interval, first_epoch_factor or exploration change the number of updates or their steps."""
    calls = rounds(monkeypatch)
    online = {"epochs": 3, "epoch_steps": 20, "update_interval": 10, "first_epoch_factor": 3, "utd_ratio": 7}
    stage = stage_of(method("awac", online={**online, "exploration_steps": 11}))
    run_stage(stage, tmp_path)
    assert {(t, step) for t, step, _ in calls} == {(1, 20), (2, 30), (2, 40), (3, 50), (3, 60)}
    totals = pd.DataFrame(calls, columns=["t", "step", "count"]).groupby("step")["count"].sum().to_dict()
    assert totals == {20: 7 * 10 * 3, 30: 70, 40: 70, 50: 70, 60: 70}
    assert stage.cohort.updates == 7 * 10 * 7


@pytest.mark.parametrize("stage", ["offline", "online"])
@pytest.mark.parametrize("name", ["rlpd", "td3_bc", "awac"])
def test_actor_interval(name: str, stage: str) -> None:
    """Breaks if actor and temperature (TD3+BC: actor and targets) do not move at every k-th update only."""
    agent = {"online_actor_interval": 4} if name == "rlpd" else {}
    interval = {"rlpd": 4 if stage == "online" else 1, "td3_bc": 2, "awac": 1}[name]
    cohort = make_cohort([method(name, agent=agent)], stage, with_returns("pendulum"))
    slow = {"actor_params", "log_alpha"} | ({"critic_target", "actor_target"} if name == "td3_bc" else set())
    for update in range(1, 9):
        before = copied(tensors(cohort.agent))
        cohort.update_policy(int(stage == "online"), 1)
        for key in {"actor_params", "critic_params", "critic_target", "actor_target", "log_alpha"} & before.keys():
            moved = not torch.equal(before[key], tensors(cohort.agent)[key])
            assert moved == (update % interval == 0 or key not in slow), (update, key)
    other = make_cohort([method(name, agent=agent)], stage, with_returns("pendulum"))
    for count in (3, 5):
        other.update_policy(int(stage == "online"), count)
    assert torch.equal(other.agent.actor_adam.steps, cohort.agent.actor_adam.steps)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["mopo", "mopo_naive"])
def test_what_stays_of_the_offline_stage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if mopo changes anything, or mopo_naive its ensemble, prefers online data or leaves its policy alone."""
    calls = rounds(monkeypatch)
    stage = stage_of(method(name), method(name, seed=1))
    cohort = stage.cohort
    cohort.ensemble.fitted = True  # a fork, as from the offline stage
    agent, ensemble = copied(tensors(cohort.agent)), copied(tensors(cohort.ensemble))
    table = run_stage(stage, tmp_path)
    assert cohort.real_buffer.online_size == 60
    for key, value in ensemble.items():
        assert torch.equal(value, tensors(cohort.ensemble)[key]), key
    moved = {key for key, value in agent.items() if not torch.equal(value, tensors(cohort.agent)[key])}
    shares = table[table["metric"].str.endswith("_online_share")].groupby("metric")["value"].mean().to_dict()
    if name == "mopo":
        assert not moved
        assert not calls
        assert not shares
        assert (table["updates"] == 0).all()
    else:
        assert moved >= {"actor_params", "critic_params", "critic_target", "log_alpha"}
        assert calls == [(1 + (step - 1) // 20, step, 1) for step in range(10, 61)]
        assert set(shares) == {"sampling/start_states_online_share", "sampling/real_batches_online_share"}
        assert all(0.1 < share < 0.4 for share in shares.values())  # up to 60 online beside 100 offline transitions


def discounted(rewards: list[float], ended: list[int], fell: list[int]) -> list[float]:
    """Sums to the end of each episode, whose last steps are `ended`; -inf in the episode that goes on.

    After a step that ended without a fall comes the dataset's floor.
    """
    total, sums = -np.inf, []
    for step in reversed(range(len(rewards))):
        total = rewards[step] + 0.9 * (0.0 if step in fell else FLOOR if step in ended else total)
        sums.append(total)
    return sums[::-1]


def play(stage: Stage, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Take steps; the numbers of each run's steps that ended an episode, by a fall or by the time limit."""
    ended: list[list[int]] = [[] for _ in stage.cohort.seeds]
    original = stage.env.step

    def spy(action: np.ndarray) -> tuple[np.ndarray, ...]:
        result = original(action)
        for run in np.flatnonzero(result[2] | result[3]).tolist():
            ended[run].append(stage.cohort.real_buffer.online_size)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(stage.env, "step", spy)
        for _ in range(steps):
            stage.cohort.interact()
    return ended


def online_batch(stage: Stage) -> BatchWithReturns:
    buffer = stage.cohort.real_buffer
    return buffer.gather_with_returns(buffer.online_start[:, None] + torch.arange(buffer.online_size))


@pytest.mark.parametrize("env", ["inverted_double_pendulum", "pendulum"])
def test_returns_of_online_episodes(env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a return is known before its episode ends, crosses a fall or a time limit, or is lost on resume."""
    configs = [method("cal_ql", env=env, seed=seed, agent={"gamma": 0.9}) for seed in (0, 1, 2)]
    stage, resumed = stage_of(*configs), stage_of(*configs)
    if env == "pendulum":  # it never falls; the time limit is 200
        stage.env.load_state_dict({**stage.env.state_dict(), "elapsed": torch.tensor([185, 196, 100])})
    ended = play(stage, 19, monkeypatch)
    sealed.save(tmp_path / "saved.pt", stage.state())
    resumed.load(sealed.load(tmp_path / "saved.pt"))
    for run, more in enumerate(play(stage, 21, monkeypatch)):
        ended[run] += more
    play(resumed, 21, monkeypatch)

    assert sum(step < 19 for steps in ended for step in steps) >= 2
    batch = online_batch(stage)
    for run in range(3):
        fell = batch.terminated[run].nonzero()[:, 0].tolist()
        assert fell == (ended[run] if env == "inverted_double_pendulum" else [])
        expected = discounted(batch.reward[run].tolist(), ended[run], fell)
        assert np.isneginf(expected[-1]) == (39 not in ended[run])
        np.testing.assert_allclose(batch.return_to_go[run], expected, rtol=1e-5)
    assert all(map(torch.equal, batch, online_batch(resumed)))


def fast(adam: RunAdam, runs: list[int]) -> None:
    """Give some runs a learning rate of 1e6."""
    step = adam.step

    def faster(*arguments: Any) -> None:
        before = adam._params[runs].detach()
        step(*arguments)
        adam._params[runs] = before + (adam._params[runs] - before) * 1e6 / adam._lr

    adam.step = faster  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("name", ["moore", "awac", "iql", "td3_bc", "cql_sac", "balanced_replay"])
def test_diverged_run_is_recorded_and_others_go_on(name: str, tmp_path: Path) -> None:
    """Breaks if a learning rate of 1e6, or a penalised reward of minus infinity, stops the cohort, goes unrecorded, or
    touches another run's rows.
    """
    tables = {}
    for label, coef in (("healthy", 1.0), ("broken", 3e38)):
        # two hidden layers: with one, values of 1e13 would be finite
        runs = [method(name, seed=seed, agent={"hidden": [8, 8]}) for seed in range(3)]
        if name == "moore":
            runs[1] = replace(runs[1], penalty=replace(runs[1].penalty, coef=coef))
        stage = stage_of(*runs)
        agent: Any = stage.cohort.agent
        inner, of_run_1 = (agent.agents, list(range(5, 10))) if isinstance(agent, BalancedReplay) else (agent, [1])
        if label == "broken" and name != "moore":
            fast(inner.critic_adam, of_run_1)
            fast(inner.actor_adam, of_run_1)
        tables[label] = run_stage(stage, tmp_path / label).drop(columns="wall_seconds")
    broken = tables["broken"]
    marked = broken[broken["metric"] == "diverged"]
    assert marked["seed"].tolist() == [1]
    assert broken[broken["seed"] == 1]["env_steps"].max() == marked["env_steps"].item()
    assert np.isfinite(broken[broken["metric"] == "eval/score"]["value"]).all()
    others, alike = (table[table["seed"] != 1].reset_index(drop=True) for table in (broken, tables["healthy"]))
    assert others["env_steps"].max() == 60
    pd.testing.assert_frame_equal(others, alike, check_exact=True)
