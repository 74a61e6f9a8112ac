"""Where the time of a run at scale `mini` goes: one epoch of a cohort split by phase, and the whole run from it.

The cohort is the one that the study `sampling` trains as one unit: four strategies with five seeds. Its offline stage
is cut short, and epoch 2 is timed, the first with updates after every step, with one evaluation, as most epochs have.
All play the environment's behaviour policy, which a learning rate of next to nothing keeps as it is: so every
evaluation is as long as it can be, while a run's own policies may fall early. `trained` is the whole unit as it is.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.moore import OnlineStage, evaluation_steps
from moore.algorithm.mopo import offline_stage
from moore.base.errors import UserError
from moore.run.checkpoints import Checkpoints
from moore.run.recorder import Recorder
from moore.run.unit import CHECKPOINT_SECONDS, Unit
from moore.run.unit_data import UnitData
from moore.run.units import UnitProcess
from moore.studies.identity import offline_config, offline_run_id
from moore.studies.study import ABLATIONS_DIR, load_study
from tests.benchmarks.cases import play_behaviour
from tests.benchmarks.memory import held_mb, peak_mb
from tests.benchmarks.tracing import Clocks

STUDY = "sampling"
FROZEN = 1e-12  # learning rate of the actor
OFFLINE_UPDATES, MODEL_UPDATES = 250, 50  # of the offline stage that is timed: one rollout, one short training
EPOCH = 2
PHASES = (
    "SAC updates",
    "ensemble training",
    "rollouts",
    "evaluation",
    "environment steps",
    "drawing batches",
    "gathering batches",
    "checkpoint",
    "the rest",
)
INSIDE = {"physics": "evaluation, of it physics", "policy": "evaluation, of it the policy"}
Key = tuple[str, str]  # (activity, part) of `Clocks`


@dataclass(frozen=True)
class Slice:
    """A piece of one stage: wall seconds, what of them the clocks saw, and how often each activity happened.

    loop: the activity that the stage's own loop counts.
    """

    wall: float
    seconds: Mapping[Key, float]
    counts: Mapping[str, int]
    loop: str


def phase_of(key: Key) -> str:
    """The line of the table that some time belongs to."""
    activity, part = key
    if part in ("draw", "gather"):
        return f"{part}ing batches"
    if activity == "updates":
        return "SAC updates" if part == "SAC" else "the rest"
    return {
        "ensemble": "ensemble training",
        "rollouts": "rollouts",
        "evaluation": "evaluation",
        "environment": "environment steps",
        "checkpoint": "checkpoint",
    }.get(activity, "the rest")


def split(wall: float, seconds: Mapping[Key, float]) -> dict[str, float]:
    """Seconds of every phase, of which the rest is what no clock saw; then what evaluations consist of."""
    phases = dict.fromkeys(PHASES, 0.0)
    for key, spent in seconds.items():
        phases[phase_of(key)] += spent
    phases["the rest"] += wall - sum(seconds.values())
    return phases | {label: seconds.get(("evaluation", part), 0.0) for part, label in INSIDE.items()}


def scaled(piece: Slice, counts: Mapping[str, int]) -> tuple[float, dict[Key, float]]:
    """(wall, clocked seconds) of a whole stage in which the activities happen `counts` times.

    Its checkpoints come by time and share whatever the others take.
    """
    ratio = {activity: counts[activity] / seen for activity, seen in piece.counts.items() if activity in counts}
    other = ratio[piece.loop]
    seconds = {key: spent * ratio.get(key[0], other) for key, spent in piece.seconds.items() if key[0] != "checkpoint"}
    unclocked = (piece.wall - sum(piece.seconds.values())) * other
    working = sum(seconds.values()) + unclocked
    checkpoint = sum(spent for key, spent in piece.seconds.items() if key[0] == "checkpoint")
    seconds["checkpoint", ""] = checkpoint / piece.counts["checkpoint"] * working / CHECKPOINT_SECONDS
    return working + seconds["checkpoint", ""], seconds


def whole_counts(config: RunConfig, stage: str) -> dict[str, int]:
    """How often each activity happens in a whole stage; the first training of the ensemble counts with its cap."""
    if stage == "offline":
        offline = config.offline
        return {
            "updates": offline.updates,
            "ensemble": config.dynamics.offline_max_updates,
            "rollouts": -(-offline.updates // offline.rollout_interval),
            "evaluation": 1 + offline.updates // offline.eval_interval,
        }
    online = config.online
    trainings = online.epochs * (online.epoch_steps // online.retrain_interval)
    return {
        "environment": config.online_steps,
        "updates": online.utd_ratio * (config.online_steps - online.retrain_interval + 1),  # after the first rollout
        "ensemble": trainings * config.dynamics.online_max_updates,
        "rollouts": trainings,
        "evaluation": 1 + len(evaluation_steps(config)),
    }


def cohort_of(env: str, scale: Path) -> list[RunConfig]:
    """The study's runs on the environment's medium data, one unit. Raises UserError for a scale without them."""
    cohorts = {runs[0].dataset: runs for runs in load_study(ABLATIONS_DIR / f"{STUDY}.yaml", scale).cohorts()}
    if (dataset := f"self:{env}-medium") not in cohorts:
        raise UserError(f"{scale}: has no {dataset}; it has {', '.join(name for name in cohorts if name)}")
    return cohorts[dataset]


def epoch(runs: Sequence[RunConfig], device: str, threads: int) -> list[dict[str, Any]]:
    """Rows of the table: an epoch and the whole unit, of one process."""
    torch.set_num_threads(threads)
    held_mb(device)  # a GPU's peak begins here
    config = runs[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = UnitData(folder)
        data.load(runs, lambda label: None)
        frozen = [replace(run, sac=replace(run.sac, actor_lr=FROZEN)) for run in runs]
        short = replace(config.offline, updates=OFFLINE_UPDATES, eval_interval=OFFLINE_UPDATES)
        brief = replace(config.dynamics, offline_max_updates=MODEL_UPDATES)
        cut = [replace(run, offline=short, dynamics=brief) for run in frozen]
        stages = {offline_run_id(run): offline_config(run) for run in cut}

        cohort = Cohort(list(stages.values()), data.transitions, "offline", device)
        play_behaviour(cohort)
        recorder = Recorder(folder, "", cohort.configs, ids=list(stages))
        offline = _slice(
            lambda: offline_stage(cohort, recorder, lambda: None),
            lambda: {"cohort": cohort.state()},
            folder / "offline.pt",
            device,
            "updates",
        )

        stage = OnlineStage(Cohort(frozen, data.transitions, "online", device))
        index = [list(stages).index(offline_run_id(run)) for run in cut]
        assert cohort.ensemble is not None
        assert stage.cohort.ensemble is not None
        stage.cohort.agent.load({key: value[index] for key, value in cohort.agent.state().items()})
        stage.cohort.ensemble.load({key: value[index] for key, value in cohort.ensemble.state().items()})
        recorder = Recorder(folder, "", frozen)
        stage.cohort.evaluations, stage.evaluation_steps = 1, {EPOCH * config.online.epoch_steps}
        stage.settings = replace(config.online, epochs=EPOCH - 1)
        stage.run(recorder, lambda: None)
        stage.settings = replace(config.online, epochs=EPOCH)
        online = _slice(
            lambda: stage.run(recorder, lambda: None), stage.state, folder / "online.pt", device, "environment"
        )

    total, seconds = 0.0, Counter[Key]()
    for piece, stage_name in ((offline, "offline"), (online, "online")):
        wall, spent = scaled(piece, whole_counts(config, stage_name))
        total += wall
        seconds.update(spent)
    common = {"env": config.env, "runs": len(runs), "mb": peak_mb(device)}
    return [
        *_rows(common | {"of": f"epoch {EPOCH}"}, online.wall, online.seconds),
        *_rows(common | {"of": "whole unit, from its parts"}, total, seconds),
    ]


def trained(runs: Sequence[RunConfig], device: str, threads: int) -> list[dict[str, Any]]:
    """Rows of the table for the whole unit, really trained; its data is made before."""
    torch.set_num_threads(threads)
    held_mb(device)  # a GPU's peak begins here
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        UnitData(root).load(runs, lambda label: None)
        work = UnitProcess(STUDY, list(runs), root, device)
        work.write_spec()
        unit, clocks = Unit(json.loads(work.spec_path.read_text()), work.spec_path), Clocks(device)
        start = time.perf_counter()
        with clocks.watching():
            unit.run()
        wall = time.perf_counter() - start
    common = {"env": runs[0].env, "runs": len(runs), "mb": peak_mb(device), "of": "whole unit, trained"}
    return _rows(common, wall, clocks.seconds)


def _slice(run: Callable[[], object], state: Callable[[], dict[str, Any]], path: Path, device: str, loop: str) -> Slice:
    """Time a piece of a stage and one checkpoint at its end."""
    clocks, checkpoints = Clocks(device), Checkpoints(path, device, print)
    start = time.perf_counter()
    with clocks.watching():
        run()
        checkpoints.save(state())
    wall = time.perf_counter() - start
    counts = {activity: calls for (activity, part), calls in clocks.calls.items() if not part}
    counts |= {"updates": clocks.calls["updates", "SAC"], "ensemble": clocks.calls["ensemble", "gradient"]}
    never = [what for what, count in counts.items() if not count]
    assert not never, f"not seen by any clock: {', '.join(never)}"
    return Slice(wall, clocks.seconds, counts, loop)


def _rows(common: Mapping[str, Any], wall: float, seconds: Mapping[Key, float]) -> list[dict[str, Any]]:
    phases = split(wall, seconds)
    common = {**common, "wall": wall}
    return [{**common, "phase": phase, "seconds": spent, "share": spent / wall} for phase, spent in phases.items()]
