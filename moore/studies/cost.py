"""What a cohort would cost on this machine: how often each of its parts happens, times what that part takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from moore.algorithm.config import RunConfig, cohort_key
from moore.algorithm.moore import evaluation_steps
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, SamplingConfig
from moore.envs.spec import find_spec
from moore.studies.identity import offline_run_id
from moore.studies.memory import checkpoint_bytes, cohort_memory, transitions_of
from moore.studies.timing import times, weights_seconds

MOST_RUNS = {"cpu": 4, "cuda": 32}  # timed at most so many runs at once; the cost of more is taken as proportional
TIMED = {  # what a run does, and the field of `Times` with its seconds
    "environment steps": "env_step",
    "ensemble updates": "model_update",
    "rollouts": "rollout",
    "policy updates": "update",
    "evaluation steps": "evaluation_step",
}
FEW = 10_000  # transitions that stand for any number, where a draw costs the same
LEARNED = {*ROW_STRATEGIES, DENSITY_RATIO, "oorb"}  # strategies with weights of single transitions


@dataclass(frozen=True)
class Line:
    """A part of the cost: in a stage, `runs` runs (or offline stages) do something `count` times.

    seconds: of one of them, for one run.
    """

    stage: str
    what: str
    runs: int
    count: float
    seconds: float

    @property
    def total(self) -> float:
        """Seconds of all runs together, in one process."""
        return self.runs * self.count * self.seconds


@dataclass(frozen=True)
class Estimate:
    """Seconds of one process for a cohort, line by line, and the bytes of its largest checkpoint."""

    lines: tuple[Line, ...]
    checkpoint: int

    def seconds(self, stage: str) -> float:
        """Of a stage, "offline" or "online"."""
        return sum(line.total for line in self.lines if line.stage == stage)


@dataclass(frozen=True)
class CohortCost:
    """What a study pays for a cohort; shared: its offline stages are those of cohorts before it."""

    runs: Sequence[RunConfig]
    stages: int
    shared: bool
    estimate: Estimate


def estimate(runs: Sequence[RunConfig], device: str = "cpu") -> Estimate:
    """The cost of one cohort. Ensemble training counts with its cap: it may converge earlier."""
    config, lines = runs[0], []
    of_stage = {"offline": len({offline_run_id(run) for run in runs}), "online": len(runs)}
    for (stage, what), count in counts(config).items():
        most = min(of_stage[stage], MOST_RUNS[torch.device(device).type])
        one = times(cohort_key(config), stage, most, device, _rows(config))
        lines.append(Line(stage, what, of_stage[stage], count, getattr(one, TIMED[what])))
    trainings = counts(config).get(("online", "rollouts"), 0)
    for sampling, number in Counter(run.sampling for run in runs if trainings).items():
        if LEARNED & {getattr(sampling, consumer) for consumer in CONSUMERS}:
            lines.append(_weights_line(config, sampling, number, trainings, device))
    return Estimate(tuple(lines), len(runs) * checkpoint_bytes(config, find_spec(config.env)))


def study_costs(cohorts: Sequence[Sequence[RunConfig]], device: str = "cpu") -> Iterator[CohortCost]:
    """Every cohort's cost; a stage that several cohorts need is paid by the one that comes first."""
    seen: set[str] = set()
    for runs in cohorts:
        stages = {offline_run_id(run) for run in runs if run.dataset is not None and run.offline.updates}
        shared, found = bool(stages) and stages <= seen, estimate(runs, device)
        if shared:
            found = replace(found, lines=tuple(line for line in found.lines if line.stage != "offline"))
        seen |= stages
        yield CohortCost(runs, len(stages), shared, found)


def counts(config: RunConfig) -> dict[tuple[str, str], int]:
    """How often one run does each part (a key of `TIMED`) of a stage; what it does not do is left out.

    Trainings of the ensemble count with their caps.
    """
    model, offline, online = config.uses_model, config.offline, config.online
    evaluation = find_spec(config.env).max_episode_steps * config.eval_episodes
    happens = {}
    if offline.updates and config.dataset is not None:
        happens = {
            ("offline", "ensemble updates"): config.dynamics.offline_max_updates * model,
            ("offline", "rollouts"): math.ceil(offline.updates / offline.rollout_interval) * model,
            ("offline", "policy updates"): offline.updates,
            ("offline", "evaluation steps"): (1 + offline.updates // offline.eval_interval) * evaluation,
        }
    idle = max(online.exploration_steps, online.warmup_steps, 1) - 1  # first steps, after which nothing is learned
    epochs, rest = divmod(idle, online.epoch_steps)
    phi = online.retrain_interval
    trainings = (online.epochs - epochs) * (online.epoch_steps // phi) - rest // phi
    trainings *= model and online.utd_ratio > 0
    if model:  # D_model is empty until the first rollout
        idle = max(idle, phi - 1)
    caps = trainings * config.dynamics.online_max_updates
    if trainings and config.dataset is None:  # from scratch, the first training is the long one
        caps += config.dynamics.offline_max_updates - config.dynamics.online_max_updates
    first_epoch = (online.first_epoch_factor - 1) * max(0, online.epoch_steps - idle)
    happens |= {
        ("online", "environment steps"): config.online_steps,
        ("online", "ensemble updates"): caps,
        ("online", "rollouts"): trainings,
        ("online", "policy updates"): online.utd_ratio * (config.online_steps - idle + first_epoch),
        ("online", "evaluation steps"): (1 + len(evaluation_steps(config))) * evaluation,
    }
    return {part: count for part, count in happens.items() if count}


def _weights_line(config: RunConfig, sampling: SamplingConfig, runs: int, trainings: int, device: str) -> Line:
    """Weights of the offline transitions and, on average, half of the online ones, once for each retraining."""
    names = [getattr(sampling, consumer) for consumer in CONSUMERS]
    learned = ", ".join(dict.fromkeys(name for name in names if name in LEARNED))
    rows = transitions_of(config) + config.online_steps // 2
    seconds = weights_seconds(replace(cohort_key(config), sampling=sampling), rows, device)
    return Line("online", f"weights by {learned}", runs, trainings, seconds)


def _rows(config: RunConfig) -> int:
    """Transitions of a timed cohort: all where weights of every one are summed for each minibatch."""
    rows = transitions_of(config)
    return rows if config.uses_density_ratio and not config.uses_model else min(rows, FEW)


def device_bytes(runs: Sequence[RunConfig], transitions: int) -> int:
    """The GPU memory that a cohort needs, with datasets of so many transitions."""
    return cohort_memory(runs, "cuda", transitions).total
