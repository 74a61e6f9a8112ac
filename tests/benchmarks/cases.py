"""What is timed: the calls that the suite's training is made of, with random numbers of halfcheetah's shapes."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import torch

from moore.agents.registry import METHODS
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping
from moore.algorithm.dynamics import model_step
from moore.algorithm.train_model import model_caller
from moore.algorithm.update_policy import step_settings, update_step
from moore.base.strict import read_yaml
from moore.networks.calls import caller
from moore.studies.axes import merge
from moore.studies.estimate import random_cohort
from moore.studies.flops import imagined_flops, make_agent, model_flops, random_batch, update_flops, update_inputs

ENV, BATCH, TRANSITIONS = "halfcheetah", 256, 10_000
LONG = 1_000_000  # updates of a stage: long enough to be compiled, unless MOORE_COMPILE forbids it
LENGTH = 5  # steps of a rollout
BRANCHES = {"cpu": 400, "cuda": 10_000}  # start states of a rollout for each run
# names in methods.yaml with a stage; MOORe's relatives share SAC's update
METHOD_STAGES = (
    *((name, "offline") for name in ("cql_sac", "wsrl", "balanced_replay")),
    *((name, "online") for name in ("awac", "iql", "td3_bc", "cal_ql", "rlpd", "wsrl", "balanced_replay")),
)
UNITS = {  # group, a table of the report -> what is counted
    "SAC updates": "run-updates",
    "ensemble training": "transitions",
    "rollouts": "transitions",
    "other methods": "run-updates",
}
OF_MODEL = ("ensemble training", "rollouts")  # groups that need an ensemble


@dataclass(frozen=True)
class Case:
    """One line of the report."""

    group: str
    what: str  # method
    runs: int  # R
    width: int  # of hidden layers
    stage: str = "online"
    precision: str = "float32"

    @property
    def name(self) -> str:
        """The case in words."""
        words = [self.group, self.what, self.stage if self.group == "other methods" else ""]
        words += [f"width {self.width}", self.precision if self.precision != "float32" else ""]
        return ", ".join(filter(None, [*words, f"R = {self.runs}"]))

    @property
    def config(self) -> RunConfig:
        """The method's own settings at paper scale, with networks of this width."""
        method = "moore" if self.group in OF_MODEL else self.what
        agent = {"hidden": [self.width] * 2, "batch_size": BATCH}
        return method_config(method, {"env": ENV, "precision": self.precision, "agent": agent})

    @property
    def unit(self) -> str:
        """What is counted."""
        return UNITS[self.group]

    @property
    def flops(self) -> float:
        """Matrix products of one call of an update."""
        return self.runs * update_flops(self.config, self.stage)


def method_config(method: str, changes: Mapping[str, Any]) -> RunConfig:
    """The method's own settings at paper scale, with a dataset, and changes laid over them."""
    known = read_yaml(METHODS)[method]
    values = {key: value for key, value in known.items() if key not in ("online", "offline", "dataset")}
    return from_mapping(merge(values, {"dataset": "local:some.hdf5", **changes}), method)


class Prepared(NamedTuple):
    """A call to be timed, and what one call does."""

    call: Callable[[], object]
    amount: float  # in the group's unit
    flops: float  # matrix products


def all_cases(runs: Sequence[int], widths: Sequence[int], precisions: Sequence[str]) -> Iterator[Case]:
    """Every line of the report, table by table."""
    for group, precision, width, count in product(["SAC updates", *OF_MODEL], precisions, widths, runs):
        yield Case(group, "sac", count, width, precision=precision)
    for (method, stage), width, count in product(METHOD_STAGES, widths, runs):
        yield Case("other methods", method, count, width, stage)


def prepared(case: Case, device: str) -> Prepared:
    """Return the call of a case."""
    return {"ensemble training": ensemble, "rollouts": imagination}.get(case.group, update)(case, device)


def update(case: Case, device: str) -> Prepared:
    """One update of every run: critics, actor, targets and what else the method has."""
    agent = make_agent(case.config, case.runs, case.stage, device)
    data, noise = update_inputs(case.config, agent, case.runs, device)
    call = caller(torch.device(device), step_settings(case.config, case.stage), LONG, agent.activations)
    step, noise = functools.partial(update_step, agent, type(data), True), noise.transpose(0, 1)
    return Prepared(lambda: call(("update", True), step, noise, *data), case.runs, case.flops)


def ensemble(case: Case, device: str) -> Prepared:
    """One gradient step of every member; a transition counts for each member that learns from it."""
    cohort = model_cohort(case, device)
    model = cohort.ensemble
    rows = model.config.ensemble_size * model.config.batch_size
    data = random_batch(ENV, case.runs, rows, device)
    call = model_caller(cohort.shared, torch.device(device), LONG)
    step = functools.partial(model_step, model)
    return Prepared(lambda: call("model", step, *data), case.runs * rows, case.runs * model_flops(cohort.shared))


def imagination(case: Case, device: str) -> Prepared:
    """One rollout with its start states drawn and its transitions added to D_model."""
    cohort = model_cohort(case, device)
    rows = case.runs * cohort.shared.rollout.batch_size * LENGTH
    return Prepared(lambda: cohort.imagine(0), rows, rows * imagined_flops(cohort.shared, "offline"))


def model_cohort(case: Case, device: str) -> Cohort:
    """MOORe's cohort in its offline stage, with members of the case's width and random data."""
    dynamics = replace(case.config.dynamics, hidden=(case.width,) * 4)
    branches = BRANCHES[torch.device(device).type]
    rollout = replace(case.config.rollout, length=LENGTH, batch_size=branches, retain=1)
    config = replace(case.config, eval_episodes=1, dynamics=dynamics, rollout=rollout)
    return random_cohort(config, case.runs, "offline", device, TRANSITIONS)
