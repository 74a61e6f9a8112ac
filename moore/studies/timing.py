"""How long each part of a cohort's training takes here: the parts themselves, run for a moment on random numbers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from moore.agents.sac import SAC
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.draws import ALL
from moore.data.transitions import Transitions
from moore.envs.spec import find_spec
from moore.envs.vector_env import make_env

MOMENT, LEAST = 0.2, 2  # seconds and calls of a measurement, at least
# start states of a timed rollout, over all runs: the members predict in chunks, more is proportional
BRANCHES = {"cpu": 4000, "cuda": 10**6}
MODEL_UPDATES = 8  # of a timed training of the ensemble
AT_ONCE = {"cpu": 1, "cuda": 20}  # timed policy updates of one call: on a GPU the first ones fill the queue
ROWS = (2**11, 2**13)  # offline transitions of the run whose weights are timed
EPOCH = 2  # of the timed online stage: its sources have rows


@dataclass(frozen=True)
class Times:
    """Seconds of one run for: an update of policy and critics with its batch, an update of the ensemble with its
    batch, a whole rollout, a step of the online stage, and a step of an evaluation's episode."""

    update: float
    model_update: float
    rollout: float
    env_step: float
    evaluation_step: float


@cache
def times(config: RunConfig, stage: str, runs: int, device: str, transitions: int, branches: int = 0) -> Times:
    """Measure a cohort of `runs` runs with this configuration in one stage ("offline" or "online").

    transitions: of the dataset, random numbers; 0 if config.dataset is None. branches: start states of a rollout over
    all runs, at most, 0: as many as BRANCHES says; the time of more is taken as proportional. A rollout is timed with
    one imagined step.
    """
    branches = branches or BRANCHES[torch.device(device).type]
    most = min(config.rollout.batch_size, max(1, branches // runs))
    cohort = random_cohort(_shortened(config, most), runs, stage, device, transitions)
    interval, online = cohort.agent.actor_interval, stage == "online"
    t = EPOCH if online else 0
    model_update = rollout = env_step = update = 0.0
    if config.uses_model:
        model_update = _seconds(lambda: cohort.train_model(t), device) / MODEL_UPDATES
        rollout = _seconds(lambda: cohort.imagine(t), device) * config.rollout.batch_size / most
        length = config.online.rollout_length if online else None
        rollout *= config.rollout.length if length is None else length
    if not online or config.online.utd_ratio:  # else nothing is updated
        count = interval * max(1, AT_ONCE[cohort.device.type] // interval)
        update = _seconds(lambda: cohort.update_policy(t, count), device) / count
    if online:
        env_step = _seconds(_stepping(cohort), device)
    evaluation = _evaluation_step_seconds(cohort, device)
    return Times(*(x / runs for x in (update, model_update, rollout, env_step, evaluation)))


@cache
def weights_seconds(config: RunConfig, transitions: int, device: str) -> float:
    """Seconds of one run for new weights of its rows, as before a retraining, and the first draw with them.

    transitions: offline and online ones. Timed on few and extrapolated on the straight line through two sizes.
    """
    few, more = (_refresh_seconds(config, offline, device) for offline in ROWS)
    slope = max(0.0, (more - few) / (ROWS[1] - ROWS[0]))
    return max(0.0, few - slope * (ROWS[0] + config.online.epoch_steps)) + slope * transitions


def random_cohort(config: RunConfig, runs: int, stage: str, device: str, transitions: int) -> Cohort:
    """A cohort on random transitions, ready for every part of its stage: ensemble and D_model count as filled."""
    configs = [dataclasses.replace(config, seed=seed) for seed in range(runs)]
    data = {} if config.dataset is None else {config.dataset: random_transitions(config.env, transitions)}
    cohort = Cohort(configs, data, stage, device)
    if stage == "online":
        rows = config.online.epoch_steps
        size = (runs, rows, cohort.real_buffer.rows.shape[1])
        state = {"online_rows": torch.randn(size), "return_to_go": torch.zeros(runs, rows)}
        cohort.real_buffer.load(state)
    if cohort.ensemble is not None:
        assert isinstance(cohort.agent, SAC)
        cohort.ensemble.fitted = True
        cohort.draws.refresh(cohort.agent, cohort.ensemble, cohort.streams["density_ratio"])
        cohort.imagine(EPOCH if stage == "online" else 0)
    return cohort


def random_transitions(env: str, count: int, seed: int = 0) -> Transitions:
    """Standard normal transitions in the shapes of an environment; no episode terminates."""
    spec, generator = find_spec(env), np.random.default_rng(seed)
    normal = lambda *shape: generator.standard_normal((count, *shape), dtype=np.float32)  # noqa: E731
    return Transitions(
        obs=normal(spec.obs_dim),
        action=np.tanh(normal(spec.action_dim)),
        reward=normal(),
        next_obs=normal(spec.obs_dim),
        terminated=np.zeros(count, bool),
        return_range=1.0,
        return_to_go=normal(),
        return_floor=0.0,
        episode_return=normal(),
    )


def _shortened(config: RunConfig, branches: int) -> RunConfig:
    """The same shapes with short calls: few updates of an ensemble, which never converges, and one imagined step."""
    dynamics = dataclasses.replace(
        config.dynamics,
        max_holdout=8,
        patience=MODEL_UPDATES,
        offline_max_updates=MODEL_UPDATES,
        online_max_updates=MODEL_UPDATES,
    )
    rollout = dataclasses.replace(config.rollout, batch_size=branches, length=1, retain=1)
    online = dataclasses.replace(config.online, rollout_length=None, exploration_steps=0, warmup_steps=0)
    return dataclasses.replace(config, dynamics=dynamics, rollout=rollout, online=online)


def _stepping(cohort: Cohort) -> Callable[[], None]:
    """One step of the online stage, without what is learned after it."""
    known = cohort.real_buffer.online_size

    def step() -> None:
        cohort.real_buffer.online_size = known - 1  # the table never fills
        cohort.interact()

    return step


def _refresh_seconds(config: RunConfig, transitions: int, device: str) -> float:
    cohort = random_cohort(_shortened(config, 1), 1, "online", device, transitions)
    agent, ensemble, streams = cohort.agent, cohort.ensemble, cohort.streams
    assert isinstance(agent, SAC)
    assert ensemble is not None
    uniforms = streams["model_batches"].uniform(2, config.dynamics.batch_size).transpose(0, 1)
    known = cohort.real_buffer.online_size

    def refresh() -> None:
        cohort.real_buffer.online_size = 2 * known - 1 - cohort.real_buffer.online_size  # as after another step
        cohort.draws.refresh(agent, ensemble, streams["density_ratio"])
        cohort.draws.rows("model_batches", EPOCH, uniforms, ALL)

    return _seconds(refresh, device)


def _evaluation_step_seconds(cohort: Cohort, device: str) -> float:
    """One action and one step of the episodes of all runs, side by side."""
    config, runs = cohort.shared, len(cohort.configs)
    env = make_env(config.env, range(runs * config.eval_episodes), config.physics)
    obs = torch.as_tensor(env.reset(), dtype=torch.float32, device=device).unflatten(0, (runs, config.eval_episodes))

    def step() -> None:
        action = cohort.agent.act(obs).nan_to_num().flatten(0, 1).cpu().numpy()
        _, _, terminated, truncated = env.step(action)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            env.reset(ended)

    return _seconds(step, device) / config.eval_episodes


def _seconds(call: Callable[[], object], device: str) -> float:
    """The least time of a call within a moment, after one that warms up."""
    call()
    synchronize(device)
    taken, end = list[float](), time.perf_counter() + MOMENT
    while time.perf_counter() < end or len(taken) < LEAST:
        start = time.perf_counter()
        call()
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return min(taken)


def synchronize(device: str) -> None:
    """Wait for what a GPU still has to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
