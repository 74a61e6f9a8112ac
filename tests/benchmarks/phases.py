"""Where the time of a run at scale `mini` goes: a share of one unit, trained, and its time by phase.

The unit is one of the study `sampling`: four strategies with five seeds. Updates, epochs and the ensemble's first
training are cut in the same proportion, so that everything happens about as often beside everything else as in a whole
run; policies that learned less fall earlier, so evaluations of a task with falls are shorter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from moore.algorithm.clock import nothing
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.moore import moore
from moore.algorithm.mopo import mopo
from moore.base.errors import UserError
from moore.cli.options import find_study
from moore.data.make import make_self_dataset
from moore.data.transitions import to_transitions
from moore.networks.state import joined, runs_of
from moore.studies.identity import offline_config, offline_run_id
from tests.benchmarks.clocks import Clocks
from tests.benchmarks.timing import held_mb, peak_mb

STUDY = "sampling"
PHASES = (
    "SAC updates",
    "ensemble training",
    "rollouts",
    "evaluation",
    "environment steps",
    "drawing batches",
    "gathering batches",
    "the rest",
)
INSIDE = {"physics": "evaluation, of it physics", "policy": "evaluation, of it the policy"}
OF = {
    "ensemble": "ensemble training",
    "rollouts": "rollouts",
    "evaluation": "evaluation",
    "environment": "environment steps",
}


class Silent:
    """A log that nobody reads."""

    def evaluation(self, phase: str, env_steps: int, updates: int, returns: np.ndarray) -> None: ...
    def training(self, phase: str, env_steps: int, updates: int, metrics: Mapping[str, list[float]]) -> None: ...
    def stage(self, label: str) -> None: ...
    def progress(self, phase: str, done: int, total: int) -> None: ...


def phase_of(activity: str, part: str) -> str:
    """Return the line of the table that some time belongs to."""
    if part in ("draw", "gather"):
        return f"{part}ing batches"
    if activity == "updates":
        return "SAC updates" if part == "SAC" else "the rest"
    return OF.get(activity, "the rest")


def split(wall: float, seconds: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Seconds of every phase, of which the rest is what no clock saw; then what evaluations consist of."""
    phases = dict.fromkeys(PHASES, 0.0)
    for key, spent in seconds.items():
        phases[phase_of(*key)] += spent
    phases["the rest"] += wall - sum(seconds.values())
    return phases | {label: seconds.get(("evaluation", part), 0.0) for part, label in INSIDE.items()}


def unit_of(env: str, scale: str = "mini") -> list[RunConfig]:
    """The study's runs on the environment's medium data. Raises UserError for a scale without them."""
    units = {runs[0].dataset: runs for runs in find_study(STUDY, scale).cohorts()}
    if (dataset := f"self:{env}-medium") not in units:
        raise UserError(f"--envs: {env!r} is not accepted; expected an environment of {', '.join(map(str, units))}")
    return units[dataset]


def shortened(run: RunConfig, share: float) -> RunConfig:
    """Return the run with a share of its updates and epochs, at least an interval or epoch of each."""
    updates = max(run.offline.rollout_interval, round(share * run.offline.updates))
    first = max(1, round(share * run.dynamics.offline_max_updates))
    return replace(
        run,
        offline=replace(run.offline, updates=updates),
        dynamics=replace(run.dynamics, offline_max_updates=first),
        online=replace(run.online, epochs=max(1, round(share * run.online.epochs))),
    )


def trained(runs: Sequence[RunConfig], share: float, device: str, threads: int) -> list[dict[str, Any]]:
    """Rows of the table: both stages of a share of the unit, trained in this process."""
    torch.set_num_threads(threads)
    held_mb(device)  # a GPU's peak begins here
    runs, config = [shortened(run, share) for run in runs], runs[0]
    quality = str(config.dataset).rpartition("-")[2]
    dataset = make_self_dataset(config.env, quality, config.dataset_transitions)
    data = {str(config.dataset): to_transitions(dataset, config.keep_timeouts)}
    stages = {offline_run_id(run): offline_config(run) for run in runs}
    forks = [list(stages).index(offline_run_id(run)) for run in runs]
    start, clocks = time.perf_counter(), Clocks(device)
    with clocks.watching():
        offline = Cohort(list(stages.values()), data, "offline", device)
        mopo(offline, Silent(), nothing)
        online = Cohort(runs, data, "online", device)
        assert offline.ensemble is not None
        assert online.ensemble is not None
        for new, old in ((online.agent, offline.agent.state()), (online.ensemble, offline.ensemble.state())):
            new.load(joined([runs_of(old, fork) for fork in forks]))
        online.ensemble.fitted = True
        del offline
        moore(online, Silent(), nothing)
    wall = time.perf_counter() - start
    common = {"env": config.env, "runs": len(runs), "mb": peak_mb(device), "share": share, "wall": wall}
    return [common | {"phase": phase, "seconds": spent} for phase, spent in split(wall, clocks.seconds).items()]
