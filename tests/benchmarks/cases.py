"""What is timed: the calls that the suite's training is made of, with random numbers of halfcheetah's shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from moore.agents.actor_critic import ActorCritic
from moore.agents.registry import METHODS
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping
from moore.base.strict import read_yaml
from moore.cli.options import find_study
from moore.data.behaviours import load_behaviours
from moore.data.transitions import Transitions
from moore.envs.spec import ENVIRONMENTS, find_spec
from moore.envs.vector_env import make_env
from moore.networks.batch import Batch, BatchWithReturns
from moore.networks.graphs import caller
from moore.run.checkpoints import Checkpoints
from moore.studies.axes import merge
from tests.benchmarks.flops import make_agent, rollout_row, training, update_row
from tests.benchmarks.timing import is_gpu

ENV, BATCH = "halfcheetah", 256
LENGTH = 5  # steps of a rollout
BRANCHES = {"cpu": 400, "cuda": 10_000}  # start states of a rollout for each run
ENV_STEPS = 50  # of every simulation in a call
EVALUATED = ("pendulum", "inverted_double_pendulum")  # their behaviour policies play full episodes
# name in methods.yaml and stage; MOORe's relatives share SAC's update
METHOD_STAGES = (
    ("awac", "online"),
    ("iql", "online"),
    ("td3_bc", "online"),
    ("cql_sac", "offline"),
    ("cal_ql", "online"),
    ("rlpd", "online"),
    ("wsrl", "offline"),
    ("wsrl", "online"),
    ("balanced_replay", "offline"),
    ("balanced_replay", "online"),
)
UNITS = {  # group, a table of the report -> what is counted
    "SAC updates": "run-updates",
    "ensemble training": "transitions",
    "rollouts": "transitions",
    "other methods": "run-updates",
    "evaluation": "environment steps",
    "checkpoint": "run-checkpoints",
    "environment steps": "environment steps",
}
LEARNING = ("SAC updates", "ensemble training", "rollouts")
UPDATES = ("SAC updates", "other methods")


@dataclass(frozen=True)
class Case:
    """One line of the report."""

    group: str
    what: str  # method, environment or scale
    runs: int  # R
    width: int = 0  # of hidden layers
    stage: str = "online"
    precision: str = "float32"

    @property
    def name(self) -> str:
        """The case in words."""
        words = [self.group, self.what, self.stage if self.group == "other methods" else ""]
        words += [f"width {self.width}" if self.width else "", self.precision if self.precision != "float32" else ""]
        return ", ".join(filter(None, [*words, f"R = {self.runs}"]))


class Prepared(NamedTuple):
    """A call to be timed, and what one call does."""

    call: Callable[[], object]
    amount: float  # in the group's unit
    flops: float = 0.0  # matrix products


def all_cases(device: str, runs: Sequence[int], widths: Sequence[int], precisions: Sequence[str]) -> Iterator[Case]:
    """Every line of the report on a device, table by table."""
    for group in LEARNING:
        for precision in precisions:
            for width in widths:
                yield from (Case(group, "sac", count, width, precision=precision) for count in runs)
    for env in EVALUATED:
        yield from (Case("evaluation", env, count) for count in runs)
    yield from (Case("checkpoint", "mini", count) for count in runs)
    if not is_gpu(device):
        for env in ENVIRONMENTS:
            yield from (Case("environment steps", env, count) for count in runs)
    for method, stage in METHOD_STAGES:
        for width in widths:
            yield from (Case("other methods", method, count, width, stage) for count in runs)


@contextmanager
def prepared(case: Case, device: str) -> Iterator[Prepared]:
    """The call of a case; its files are deleted in the end."""
    with tempfile.TemporaryDirectory() as folder:
        match case.group:
            case "SAC updates" | "other methods":
                yield update(case, device)
            case "ensemble training":
                yield ensemble(case, device)
            case "rollouts":
                yield imagination(case, device)
            case "evaluation":
                yield evaluation(case, device)
            case "environment steps":
                yield environment(case)
            case "checkpoint":
                yield checkpoint(case, device, Path(folder))
            case other:
                raise ValueError(f"no such group: {other}")


def update_flops(case: Case) -> float:
    """Matrix products of one call of an update, before anything large is built."""
    config = configuration(case)
    return float(case.runs * BATCH * update_row(make_agent(config, 1, case.stage), config))


def configuration(case: Case) -> RunConfig:
    """The method's own settings at paper scale, with networks of the case's width."""
    known = read_yaml(METHODS)[case.what]
    values = {key: value for key, value in known.items() if key not in ("online", "offline", "dataset")}
    agent = {"hidden": [case.width] * 2, "batch_size": BATCH}
    task = {"env": ENV, "dataset": "local:some.hdf5", "precision": case.precision, "agent": agent}
    return from_mapping(merge(values, task), case.what)


def update(case: Case, device: str) -> Prepared:
    """One update of every run: critics, actor, targets and what else the method has."""
    config = configuration(case)
    agent = make_agent(config, case.runs, case.stage, device)
    plain = batch(case.runs, agent.batch_size, device)
    data = BatchWithReturns(*plain, torch.zeros_like(plain.reward)) if config.reads_returns else plain
    noise = torch.randn(agent.noise_blocks, case.runs, agent.batch_size, find_spec(ENV).action_dim, device=device)
    call = caller(torch.device(device))
    step = lambda noise, *fields: agent.update(type(data)(*fields), noise)  # noqa: E731
    return Prepared(lambda: call("update", step, noise, *data), case.runs, update_flops(case))


def ensemble(case: Case, device: str) -> Prepared:
    """One gradient step of every member; a transition counts for each member that learns from it."""
    model = model_cohort(case, device).ensemble
    assert model is not None
    rows = model.config.ensemble_size * model.config.batch_size
    data, active = batch(case.runs, rows, device), [True] * case.runs
    call = caller(torch.device(device))
    step = lambda *fields: model._update(Batch(*fields), active)  # noqa: E731
    return Prepared(lambda: call("model", step, *data), case.runs * rows, case.runs * rows * training(model.net))


def imagination(case: Case, device: str) -> Prepared:
    """One rollout with its start states drawn and its transitions added to D_model."""
    cohort = model_cohort(case, device)
    assert cohort.ensemble is not None
    rows = case.runs * cohort.shared.rollout.batch_size * LENGTH
    return Prepared(lambda: cohort.imagine(0), rows, rows * rollout_row(cohort.agent, cohort.ensemble))


def model_cohort(case: Case, device: str) -> Cohort:
    """MOORe's cohort in its offline stage, with members of the case's width and random data."""
    config = configuration(replace(case, what="moore"))
    branches = BRANCHES[torch.device(device).type]
    config = replace(
        config,
        eval_episodes=1,
        dynamics=replace(config.dynamics, hidden=(case.width,) * 4),
        rollout=replace(config.rollout, length=LENGTH, batch_size=branches, retain=1),
    )
    return cohort_of(config, case.runs, "offline", device)


def cohort_of(config: RunConfig, runs: int, stage: str, device: str, rows: int = 10_000) -> Cohort:
    """Make so many runs of a configuration on random data."""
    data = {} if config.dataset is None else {config.dataset: random_transitions(config.env, rows)}
    return Cohort([replace(config, seed=seed) for seed in range(runs)], data, stage, device)


def random_transitions(env: str, count: int, seed: int = 0) -> Transitions:
    """Draw standard normal transitions in the shapes of an environment; no episode terminates."""
    spec, generator = find_spec(env), np.random.default_rng(seed)
    normal = lambda *shape: generator.standard_normal((count, *shape), dtype=np.float32)  # noqa: E731
    obs, next_obs, action = normal(spec.obs_dim), normal(spec.obs_dim), np.tanh(normal(spec.action_dim))
    known: dict[str, Any] = {"return_to_go": normal(), "return_range": 1.0, "return_floor": 0.0}
    return Transitions(obs, action, normal(), next_obs, np.zeros(count, bool), **known)


def evaluation(case: Case, device: str) -> Prepared:
    """The evaluation of all runs, 10 episodes each, playing the environment's last behaviour policy."""
    hidden = list(load_behaviours(case.what).hidden)
    values = {"env": case.what, "algorithm": "sac", "agent": {"hidden": hidden}, "online": {"epochs": 1}}
    cohort = cohort_of(from_mapping(values, case.what), case.runs, "online", device)
    assert isinstance(cohort.agent, ActorCritic)
    cohort.agent.actor_params.detach()[...] = torch.as_tensor(load_behaviours(case.what).params[-1])
    steps = find_spec(case.what).max_episode_steps
    return Prepared(cohort.evaluate, case.runs * cohort.shared.eval_episodes * steps)


def environment(case: Case) -> Prepared:
    """Steps of R simulations with random actions, resets included."""
    env = make_env(case.what, list(range(case.runs)), ENVIRONMENTS[case.what].physics[-1])
    env.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (ENV_STEPS, case.runs, env.spec.action_dim))

    def call() -> None:
        for action in actions:
            _, _, terminated, truncated = env.step(action)
            ended = np.flatnonzero(terminated | truncated)
            if len(ended):
                env.reset(ended)

    return Prepared(call, ENV_STEPS * case.runs)


def checkpoint(case: Case, device: str, folder: Path) -> Prepared:
    """The checkpoint of R runs at the end of a scale's online stage, one rollout after the last."""
    config = replace(find_study("sampling", case.what).runs[0], dataset="some")
    cohort = cohort_of(config, case.runs, "online", device)
    cohort.real_buffer.rows.normal_()
    cohort.real_buffer.online_size = cohort.shared.online_steps
    cohort.model_buffer.rows.normal_()
    cohort.model_buffer.written.fill_(cohort.model_buffer.capacity)
    checkpoints = Checkpoints(folder / "unit", device, print)
    checkpoints.save({"cohort": cohort.state()})  # all of D_model, once

    def call() -> None:
        cohort.model_buffer.written += config.rollout.length * config.rollout.batch_size
        checkpoints.save({"cohort": cohort.state()})

    return Prepared(call, case.runs)


def batch(runs: int, rows: int, device: str) -> Batch:
    """Random transitions [runs, rows] that never end."""
    spec, generator = find_spec(ENV), torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(runs, rows, *shape, generator=generator).to(device)  # noqa: E731
    obs, action, reward = draw(spec.obs_dim), draw(spec.action_dim).tanh(), draw()
    return Batch(obs, action, reward, draw(spec.obs_dim), torch.zeros_like(reward))
