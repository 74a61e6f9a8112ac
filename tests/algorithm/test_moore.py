"""The online stage: Algorithm 1's clock, episode boundaries, evaluation, and runs that do not know of each other."""

from pathlib import Path
from typing import Any

import pytest
import torch

import moore.agents.sac
import moore.algorithm.mopo
from moore.agents.sac import SAC
from moore.algorithm.cohort import Cohort
from moore.networks.batch import Batch, pack
from moore.studies.identity import offline_config, offline_key
from tests.benchmarks.stages import Silent
from tests.support.core import Stage, make_cohort, run_online, tiny


@pytest.mark.parametrize(("length", "ratio", "real"), [(3, 0.5, 4), (1, 0.0, 0), (None, None, 2)])
def test_rollout_length_and_real_ratio_of_the_online_stage(
    length: int | None, ratio: float | None, real: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if they act offline or not online, D_model does not fit, or the offline stage depends on them."""
    base, config = tiny(), tiny(online={"rollout_length": length, "real_ratio": ratio})
    assert offline_config(config) == offline_config(base)
    assert offline_key(config, "hash") == offline_key(base, "hash")
    batches: list[Batch] = []
    original = SAC.update

    def update(self: SAC, batch: Batch, *more: Any) -> dict[str, torch.Tensor]:
        batches.append(batch)
        return original(self, batch, *more)

    monkeypatch.setattr(SAC, "update", update)
    for stage, steps, count in (("offline", 2, 2), ("online", length or 2, real)):
        cohort = make_cohort([config], stage)
        cohort.train_model(0)
        for _ in range(4):
            cohort.imagine(1)
        assert cohort.model_buffer.capacity == 3 * steps * 8  # retain x length x batch_size
        assert cohort.model_buffer.written.tolist() == [4 * steps * 8]
        cohort.update_policy(1, 5)
        for batch in batches[-5:]:
            imagined = [bool((cohort.model_buffer.rows[0] == row).all(-1).any()) for row in pack(batch)[0]]
            assert imagined == [False] * count + [True] * (8 - count)
    assert len(batches) == 10


def test_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if t starts at 0, phi is off by one, updates begin before D_model is filled, or their number is not N."""
    calls: list[tuple[Any, ...]] = []

    def spy(name: str) -> None:
        original = getattr(Cohort, name)

        def wrapped(self: Cohort, t: int, *more: Any) -> None:
            calls.append((name, t, self.online_size, *(x for x in more if isinstance(x, int))))
            original(self, t, *more)

        monkeypatch.setattr(Cohort, name, wrapped)

    for name in ("train_model", "imagine", "update_policy"):
        spy(name)
    stage, _ = run_online([tiny(online={"utd_ratio": 2, "epochs": 2})], tmp_path)
    expected: list[tuple[Any, ...]] = []
    for step in range(1, 41):
        t = 1 if step <= 20 else 2
        if step % 10 == 0:
            expected += [("train_model", t, step), ("imagine", t, step)]
        if step >= 10:
            expected.append(("update_policy", t, step, 2))
    assert calls == expected
    assert stage.cohort.updates == 62


@pytest.mark.parametrize("at_once", [1, 4, 50])
def test_the_offline_stage(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if updates made at once run past a rollout, an evaluation or the end."""
    monkeypatch.setitem(moore.algorithm.mopo.AT_ONCE, "cpu", at_once)
    made = make_cohort([tiny(offline={"updates": 17, "rollout_interval": 6, "eval_interval": 5})], "offline")
    events: list[tuple[str, int]] = []

    def spy(name: str, move: Any) -> Any:
        def wrapped(*args: int) -> Any:
            events.append((name, made.updates if name != "update_policy" else args[1]))
            return move(*args)

        return wrapped

    for name in ("imagine", "evaluate", "update_policy"):
        monkeypatch.setattr(made, name, spy(name, getattr(made, name)))
    moore.algorithm.mopo.mopo(made, Silent(), lambda: None)
    counts = [count for name, count in events if name == "update_policy"]
    assert (sum(counts), max(counts)) == (17, min(at_once, 5))
    due = [(0, "evaluate"), (0, "imagine"), (5, "evaluate"), (6, "imagine"), (10, "evaluate"), (12, "imagine")]
    assert [(at, name) for name, at in events if name != "update_policy"] == [*due, (15, "evaluate")]


def test_evaluation_schedule(tmp_path: Path) -> None:
    """Breaks if J_0 is missing or late, or evaluations are not every S/4, then every S steps."""
    _, rows = run_online([tiny(online={"epochs": 15, "retrain_interval": 20}, eval_episodes=1)], tmp_path)
    scores = rows[rows["metric"] == "eval/score"]
    assert scores["env_steps"].tolist() == [0, 5, 10, 15, 20, 25, 30, *range(40, 301, 20)]
    assert scores["updates"].iloc[0] == 0
    assert set(scores["phase"]) == {"online"}


def test_exploration_of_a_run_from_scratch(tmp_path: Path) -> None:
    """Breaks if a run from scratch trains while it explores, or its first steps are not uniform."""
    config = tiny(dataset=None, algorithm="sac", online={"exploration_steps": 40, "epochs": 3})
    stage, _ = run_online([config], tmp_path)
    assert stage.cohort.updates == 21  # steps 40 to 60
    action = stage.cohort.real_buffer.all_of(0).action[:40]
    assert action.abs().max() <= 1
    assert action.abs().mean().item() == pytest.approx(0.5, abs=0.1)


def test_time_limit_is_no_termination() -> None:
    """Breaks if a truncated transition is stored as terminated, spans two episodes or its episode goes on."""
    stage = Stage(make_cohort([tiny(), tiny(seed=1)], "online"))
    stage.env.load_state_dict({**stage.env.state_dict(), "elapsed": torch.tensor([198, 100])})
    for _ in range(4):
        stage.cohort.interact()
    rows = [stage.cohort.real_buffer.all_of(run) for run in range(2)]
    for batch, ends in zip(rows, ([1], []), strict=True):
        assert batch.terminated.sum() == 0
        obs, next_obs = batch.obs[-4:], batch.next_obs[-4:]
        joined = (next_obs[:-1] == obs[1:]).all(-1)
        assert [i for i in range(3) if not joined[i]] == ends
        assert ((next_obs - obs).abs()[:, :2] < 0.45).all()  # 0.05 s at 8 rad/s: no jump to another episode
    assert stage.env.state_dict()["elapsed"].tolist() == [2, 104]


def test_termination_is_stored() -> None:
    """Breaks if a fall is not stored, or the next row does not start a new episode."""
    config = tiny(env="inverted_double_pendulum", dataset=None, algorithm="sac", online={"exploration_steps": 60})
    stage = Stage(make_cohort([config], "online", {}))
    for _ in range(60):
        stage.cohort.interact()
    batch = stage.cohort.real_buffer.all_of(0)
    joined = (batch.next_obs[:-1] == batch.obs[1:]).all(-1)
    assert batch.terminated.sum() >= 2
    assert torch.equal(joined, batch.terminated[:-1] == 0)


@pytest.mark.parametrize(("first", "later"), [(0, 3), (4, 1)])
def test_critics_come_first_at_the_switch(first: int, later: int) -> None:
    """Breaks if the actor moves earlier or later, critics do not, or the offline stage is frozen as well."""
    config = tiny(online={"critic_first_updates": first, "epochs": 1}, agent={"online_actor_interval": 2})
    assert offline_key(config, "hash") == offline_key(tiny(), "hash")
    for kind, steps, moved in (("offline", 1, 1), ("online", first, 0), ("online", 6, later)):
        cohort = make_cohort([config], kind)
        cohort.train_model(0)
        cohort.imagine(0)
        assert isinstance(cohort.agent, SAC)
        for _ in range(steps):
            cohort.update_policy(1 if kind == "online" else 0, 1)
        assert cohort.agent.actor_adam.steps.item() == cohort.agent.alpha_adam.steps.item() == moved
        assert cohort.agent.critic_adam.steps.item() == steps


def test_behaviour_cloning_fades() -> None:
    """Breaks if the weight is not bc_coef offline and bc_coef / t online, whatever the decay rate of the draws."""
    rates = {0: 0.5, 1: 4.0}
    configs = [tiny(seed=n, agent={"bc_coef": 0.4}, sampling={"decay_rate": rate}) for n, rate in rates.items()]
    for stage, t, expected in (("offline", 0, 0.4), ("online", 1, 0.4), ("online", 3, 0.4 / 3)):
        cohort = make_cohort(configs, stage)
        cohort.train_model(0)
        cohort.imagine(0)
        cohort.update_policy(t, 1)
        assert cohort.agent.bc_weight.tolist() == pytest.approx([expected] * 2)


def test_only_real_transitions_are_cloned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if imagined actions are cloned, or a real one is not: real ones come first in a batch."""
    cohort = make_cohort([tiny(agent={"bc_coef": 0.4}, online={"real_ratio": 0.5})], "online")
    cohort.train_model(0)
    cohort.imagine(0)
    seen: list[torch.Tensor] = []
    original = moore.agents.sac.cloned

    def spy(cost: Any, value: Any, own: Any, data: Any, weight: Any) -> torch.Tensor:
        seen.append(data)
        return original(cost, value, own, data, weight)

    monkeypatch.setattr(moore.agents.sac, "cloned", spy)
    cohort.update_policy(1, 1)
    (data,) = seen
    real = cohort.real_buffer.all_of(0).action
    assert data.shape == (1, 4, 1)
    assert all((real == action).all(-1).any() for action in data[0])


def test_a_run_that_diverged_goes_on() -> None:
    """Breaks if NaN actions reach a simulation and its observations, or the other run notices."""
    rows = []
    for poison in (False, True):
        cohort = make_cohort([tiny(seed=0), tiny(seed=1)], "online")
        assert isinstance(cohort.agent, SAC)
        if poison:
            cohort.agent.actor_params[0] = torch.nan
        for _ in range(5):
            cohort.interact()
        index = cohort.real_buffer.online_start[:, None] + torch.arange(5)
        rows.append(pack(cohort.real_buffer.gather(index)))
    healthy, poisoned = rows
    assert poisoned.isfinite().all()
    assert torch.equal(poisoned[1], healthy[1])
    assert not torch.equal(poisoned[0], healthy[0])
