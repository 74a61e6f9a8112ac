"""What a study would cost on this machine: each part of a cohort is timed for a moment, times how often it happens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from moore.agents import Agent, make_agent
from moore.checkpoint import offline_run_id
from moore.config import RunConfig, cohort_key
from moore.dynamics import Ensemble
from moore.envs import make_env, terminated_fn
from moore.envs.spec import EnvSpec, find_spec
from moore.online import evaluation_steps
from moore.replay import Batch, BatchWithReturns, ModelBuffer
from moore.rng import Streams
from moore.rollout import rollout
from moore.sac import SAC

MOMENT = 0.2  # seconds of a measurement
MOST_RUNS = {"cpu": 4, "cuda": 32}  # timed at most so many runs at once; the cost of more is taken as proportional
MOST_BRANCHES = 1000  # the same of a rollout's start states


@dataclass(frozen=True)
class Estimate:
    """Seconds of one process for both stages of a cohort, and the bytes of its largest checkpoint."""

    offline: float
    online: float
    checkpoint: int


@dataclass(frozen=True)
class _Times:
    """Seconds of one call for one run: a gradient update, one of the ensemble, a rollout, an environment step."""

    update: float
    critic_update: float
    model_update: float
    rollout: float
    env_step: float


def estimate(runs: Sequence[RunConfig], device: str = "cpu") -> Estimate:
    """The cost of one cohort. Ensemble training counts with its cap: it may converge earlier."""
    config, count = runs[0], len(runs)
    spec, online = find_spec(config.env), config.online
    stages = {offline_run_id(run) for run in runs if run.dataset is not None} if config.offline.updates else set()
    evaluation = spec.max_episode_steps * config.eval_episodes  # environment steps of one evaluation of one run

    offline_seconds = 0.0
    if stages:
        times = _times(cohort_key(config), "offline", min(len(stages), _most(device)), device)
        rollouts = math.ceil(config.offline.updates / config.offline.rollout_interval)
        evaluations = 1 + config.offline.updates // config.offline.eval_interval
        offline_seconds = len(stages) * (
            _update_seconds(times, config.offline.updates, config.actor_interval("offline"))
            + config.dynamics.offline_max_updates * times.model_update
            + rollouts * times.rollout
            + evaluations * evaluation * times.env_step
        )
    times = _times(cohort_key(config), "online", min(count, _most(device)), device)
    steps, first = config.online_steps, online.epoch_steps
    updates = online.utd_ratio * (steps + (online.first_epoch_factor - 1) * first)
    trainings = online.epochs * (first // online.retrain_interval) if online.utd_ratio else 0
    model_updates = trainings * config.dynamics.online_max_updates
    if trainings and not stages:  # from scratch, the first training is the long one
        model_updates += config.dynamics.offline_max_updates - config.dynamics.online_max_updates
    online_seconds = count * (
        _update_seconds(times, updates, config.actor_interval("online"))
        + model_updates * times.model_update
        + trainings * times.rollout
        + (steps + (1 + len(evaluation_steps(config))) * evaluation) * times.env_step
    )
    return Estimate(offline_seconds, online_seconds, _checkpoint_bytes(config, count, spec))


def _most(device: str) -> int:
    return MOST_RUNS["cpu" if device == "cpu" else "cuda"]


def _update_seconds(times: _Times, updates: int, actor_interval: int) -> float:
    with_actor = updates // actor_interval
    return with_actor * times.update + (updates - with_actor) * times.critic_update


@cache
def _times(config: RunConfig, stage: str, runs: int, device: str) -> _Times:
    """Measured on random numbers with the cohort's shapes."""
    spec, seeds = find_spec(config.env), range(runs)
    agent = make_agent(config, seeds, stage, device)
    draw = lambda n, *shape: torch.randn(runs, n, *shape, device=device)  # noqa: E731

    def batch(n: int) -> Batch:
        actions = draw(n, spec.action_dim).tanh()
        return Batch(draw(n, spec.obs_dim), actions, draw(n), draw(n, spec.obs_dim), torch.zeros_like(draw(n)))

    rows = batch(agent.batch_size)
    data = BatchWithReturns(*rows, draw(agent.batch_size)) if config.reads_returns else rows
    noise = torch.randn(agent.noise_blocks, runs, agent.batch_size, spec.action_dim, device=device)
    update = _seconds(lambda: agent.update(data, noise), device) / runs
    critic_update = _seconds(lambda: agent.update(data, noise, False), device) / runs
    model_update = imagined = 0.0
    if config.uses_model:
        assert isinstance(agent, SAC)
        ensemble = Ensemble(config.dynamics, spec.obs_dim, spec.action_dim, seeds, device)
        members = batch(config.dynamics.ensemble_size * config.dynamics.batch_size)
        holdout = batch(8)
        most = 4
        model_update = _seconds(lambda: ensemble.fit(lambda _: members, holdout, most), device) / most / runs
        branches, settings = min(MOST_BRANCHES, config.rollout.batch_size), config.rollout
        length = settings.length if stage == "offline" else config.online.rollout_length or settings.length
        buffer = ModelBuffer(runs, branches * length, spec.obs_dim, spec.action_dim, device)
        start, streams = batch(branches).obs, Streams(seeds, "cost", device=device)
        ends, kinds, coef = terminated_fn(spec.name), ["max_std"] * runs, torch.ones(runs, device=device)
        one = lambda: rollout(ensemble, agent, start, length, ends, kinds, coef, streams, buffer)  # noqa: E731
        imagined = _seconds(one, device) / runs * settings.batch_size / branches
    return _Times(update, critic_update, model_update, imagined, _env_step_seconds(config, spec, agent, runs, device))


def _env_step_seconds(config: RunConfig, spec: EnvSpec, agent: Agent, runs: int, device: str) -> float:
    """One action and one environment step of one run; an evaluation's episodes step side by side."""
    env = make_env(config.env, range(runs * config.eval_episodes), config.physics)
    obs = torch.as_tensor(env.reset(), dtype=torch.float32, device=device).unflatten(0, (runs, config.eval_episodes))

    def step() -> None:
        action = agent.act(obs).nan_to_num().flatten(0, 1).cpu().numpy()
        _, _, terminated, truncated = env.step(action)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            env.reset(ended)

    return _seconds(step, device) / runs / config.eval_episodes


def _seconds(call: Callable[[], object], device: str) -> float:
    """The least time of a call within a moment, after one that warms up."""
    call()
    best, end = math.inf, time.perf_counter() + MOMENT
    while time.perf_counter() < end or best == math.inf:
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def device_bytes(runs: Sequence[RunConfig], transitions: int) -> int:
    """Roughly the device memory that a cohort needs: its state, its data of so many transitions, its largest step.

    The largest step is the widest of a rollout, an ensemble update and a critic update, counted with three copies of
    every activation (forward, backward, work space), and 1 GiB of the device's own.
    """
    config, spec = runs[0], find_spec(runs[0].env)
    members, width = config.dynamics.ensemble_size, sum(config.dynamics.hidden)
    batch, conservative = config.sac.batch_size, config.algorithm in ("cql", "balanced_replay")
    rows = [batch * config.sac.num_critics * (1 + 3 * config.cql.num_actions * conservative) * sum(config.sac.hidden)]
    if config.uses_model:
        rows.append(members * max(config.dynamics.batch_size, config.rollout.batch_size) * width)
    data = 4 * transitions * (2 * spec.obs_dim + spec.action_dim + 2) * len({run.dataset for run in runs})
    return _checkpoint_bytes(config, len(runs), spec) + data + 3 * 4 * len(runs) * max(rows) + 2**30


def _checkpoint_bytes(config: RunConfig, runs: int, spec: EnvSpec) -> int:
    """Parameters, optimisers, online transitions and imagined ones of `runs` runs at the end of the online stage."""
    size = lambda tensors: sum(x.numel() * x.element_size() for x in tensors)  # noqa: E731
    one: Iterable[torch.Tensor] = make_agent(config, [0], "online").state().values()
    total, width = size(one), 4 * (2 * spec.obs_dim + spec.action_dim + 2)
    total += width * config.online_steps
    if config.uses_model:
        total += size(Ensemble(config.dynamics, spec.obs_dim, spec.action_dim, [0]).state().values())
        length = config.online.rollout_length or config.rollout.length
        total += width * config.rollout.retain * length * config.rollout.batch_size
    return runs * total
