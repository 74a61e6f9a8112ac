"""What is timed: the calls that the suite's training is made of, with random numbers of halfcheetah's shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml

from moore.agents.actor_critic import ActorCritic
from moore.agents.registry import make_agent
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping
from moore.data.behaviours import load_behaviours
from moore.data.hdf5 import read_dataset, write_dataset
from moore.data.make import make_self_dataset
from moore.data.transitions import to_transitions
from moore.envs import ENVIRONMENTS, make_env
from moore.envs.spec import find_spec
from moore.networks.batch import Batch, BatchWithReturns
from moore.networks.graphs import caller
from moore.run.checkpoints import Checkpoints
from moore.studies.axes import merge
from moore.studies.estimate import random_transitions
from moore.studies.study import METHODS
from tests.benchmarks.arithmetic import rollout_row, training, update_row
from tests.benchmarks.checkpoint import filled_stage, scale_run

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
    "data loading": "transitions",
}
LEARNING = ("SAC updates", "ensemble training", "rollouts")


@dataclass(frozen=True)
class Case:
    """One line of the report."""

    group: str
    what: str  # method, environment or file
    runs: int  # R
    width: int | None = None  # of hidden layers
    stage: str = "online"
    precision: str = "float32"
    rows: int | None = None  # of a dataset

    @property
    def name(self) -> str:
        """The case in words, without R."""
        words = [self.group, self.what, self.stage if self.group == "other methods" else ""]
        words += [f"width {self.width}" if self.width else "", self.precision if self.precision != "float32" else ""]
        return ", ".join(filter(None, words))


class Prepared(NamedTuple):
    """A call to be timed, and what one call does."""

    call: Callable[[], object]
    amount: float  # in the group's unit
    flops: float = 0.0  # matrix products
    physics: bool = False  # whether the simulator's own share is of interest


def all_cases(
    device: str, runs: Sequence[int], widths: Sequence[int], precisions: Sequence[str], rows: int
) -> Iterator[Case]:
    """Every line of the report on a device, table by table; rows: of the dataset that is loaded."""
    for group in LEARNING:
        for precision in precisions:
            for width in widths:
                yield from (Case(group, "sac", count, width, precision=precision) for count in runs)
    for env in EVALUATED:
        yield from (Case("evaluation", env, count) for count in runs)
    yield from (Case("checkpoint", "mini", count) for count in runs)
    if torch.device(device).type == "cpu":
        for env in ENVIRONMENTS:
            yield from (Case("environment steps", env, count) for count in runs)
        yield Case("data loading", "hopper-medium", 1, rows=rows)
    for method, stage in METHOD_STAGES:
        for width in widths:
            yield from (Case("other methods", method, count, width, stage) for count in runs)


@contextmanager
def prepared(case: Case, device: str) -> Iterator[Prepared]:
    """The call of a case; its files are deleted in the end."""
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
            with tempfile.TemporaryDirectory() as folder:
                yield checkpoint(case, device, Path(folder))
        case "data loading":
            with tempfile.TemporaryDirectory() as folder:
                yield loading(case, Path(folder))
        case other:
            raise ValueError(f"no such group: {other}")


def update_flops(case: Case) -> float:
    """Matrix products of one call of an update, before anything large is built."""
    config = configuration(case)
    agent = make_agent(config, [0], case.stage)
    return float(case.runs * config.sac.batch_size * update_row(agent, config))


def configuration(case: Case) -> RunConfig:
    """The method's own settings at paper scale, with networks of the case's width."""
    assert case.width is not None
    known = yaml.safe_load(METHODS.read_text())[case.what]
    values = {key: value for key, value in known.items() if key not in ("online", "offline", "dataset")}
    task = {
        "env": ENV,
        "dataset": "local:some.hdf5",
        "precision": case.precision,
        "sac": {"hidden": [case.width] * 2, "batch_size": BATCH},
    }
    return from_mapping(merge(values, task), case.what)


def update(case: Case, device: str) -> Prepared:
    """One update of every run: critics, actor, targets and what else the method has."""
    config = configuration(case)
    agent = make_agent(config, range(case.runs), case.stage, device)
    plain = batch(case.runs, agent.batch_size, device)
    data = BatchWithReturns(*plain, torch.zeros_like(plain.reward)) if config.reads_returns else plain
    shape = agent.noise_blocks, case.runs, agent.batch_size, agent.action_dim
    noise = torch.randn(*shape, device=device)
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
    branches = BRANCHES[torch.device(device).type]
    config = configuration(replace(case, what="moore"))
    config = replace(
        config,
        eval_episodes=1,
        dynamics=replace(config.dynamics, hidden=(case.width or 0,) * 4),
        rollout=replace(config.rollout, length=LENGTH, batch_size=branches, retain=1),
    )
    data = {str(config.dataset): random_transitions(ENV, 10_000)}
    return Cohort([replace(config, seed=seed) for seed in range(case.runs)], data, "offline", device)


def evaluation(case: Case, device: str) -> Prepared:
    """The evaluation of all runs, 10 episodes each, playing the environment's last behaviour policy."""
    config = replace(RunConfig(case.what), algorithm="sac", real_ratio=1.0)
    hidden = load_behaviours(case.what).hidden
    config = replace(config, sac=replace(config.sac, hidden=hidden), online=replace(config.online, epochs=1))
    cohort = Cohort([replace(config, seed=seed) for seed in range(case.runs)], {}, "online", device)
    play_behaviour(cohort)
    steps = find_spec(case.what).max_episode_steps
    return Prepared(cohort.evaluate, case.runs * config.eval_episodes * steps, physics=True)


def play_behaviour(cohort: Cohort) -> None:
    """Give all runs the last snapshot of their environment's behaviour policy, which sees observations as they are."""
    assert isinstance(cohort.agent, ActorCritic)
    cohort.agent.actor_params.detach()[...] = torch.as_tensor(load_behaviours(cohort.spec.name).params[-1])
    cohort.agent.obs_mean.zero_()
    cohort.agent.obs_std.fill_(1.0)


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
    """The checkpoint of R runs at the end of scale mini's online stage, one rollout after the last."""
    config = scale_run(case.what)
    stage = filled_stage(config, case.runs, device)
    buffer = stage.cohort.model_buffer
    checkpoints = Checkpoints(folder / "unit.pt", device, print)
    checkpoints.save(stage.state())  # all of D_model, once

    def call() -> None:
        buffer.written += stage.cohort.rollout_length * config.rollout.batch_size
        checkpoints.save(stage.state())

    return Prepared(call, case.runs)


def loading(case: Case, folder: Path) -> Prepared:
    """Reading a dataset from the page cache and making transitions of it."""
    assert case.rows is not None
    path = folder / "data.hdf5"
    write_dataset(path, make_self_dataset("hopper", "medium", case.rows))
    return Prepared(lambda: to_transitions(read_dataset(path), keep_timeouts=True), case.rows)


def batch(runs: int, rows: int, device: str) -> Batch:
    """Random transitions [runs, rows] that never end."""
    spec, generator = find_spec(ENV), torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(runs, rows, *shape, generator=generator).to(device)  # noqa: E731
    obs, action, reward = draw(spec.obs_dim), draw(spec.action_dim).tanh(), draw()
    return Batch(obs, action, reward, draw(spec.obs_dim), torch.zeros_like(reward))
