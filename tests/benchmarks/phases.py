"""Where the time of a run at scale `mini` goes: a share of one unit, trained, and its time by part.

The unit is one of the study `sampling`: four strategies with five seeds. Updates, epochs and the ensemble's first
training are cut in the same proportion, so that everything happens about as often beside everything else as in a whole
run; policies that learned less fall earlier, so evaluations of a task with falls are shorter.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.cli.options import find_study
from moore.data.make import make_self_dataset
from moore.data.transitions import to_transitions
from tests.benchmarks.stages import train
from tests.benchmarks.timing import held_mb, peak_mb

STUDY = "sampling"
REST = "the rest"  # making data, cohorts and the fork


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
    config, start = runs[0], time.perf_counter()
    quality = str(config.dataset).rpartition("-")[2]
    dataset = make_self_dataset(config.env, quality, config.dataset_transitions)
    data = {str(config.dataset): to_transitions(dataset, config.keep_timeouts)}
    clock = train([shortened(run, share) for run in runs], data, device)
    wall = time.perf_counter() - start
    phases = {", ".join(part): seconds for part, seconds in clock.seconds.items()}
    phases[REST] = wall - sum(phases.values())
    common = {"env": config.env, "runs": len(runs), "mb": peak_mb(device), "share": share, "wall": wall}
    return [common | {"phase": phase, "seconds": seconds} for phase, seconds in phases.items()]
