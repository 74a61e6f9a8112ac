"""What is left of a study, as arrays of tasks: todo = all - done - owned by a live task - failed too often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moore.algorithm.config import RunConfig, cohort_key
from moore.run.failures import read_failure
from moore.run.folders import is_finished
from moore.run.units import UnitProcess, study_units
from moore.studies.identity import offline_config, offline_run_id, run_id
from moore.studies.study import Study
from slurm.profile import Profile
from slurm.queue import Queue


@dataclass(frozen=True)
class Array:
    """One SLURM job array; it starts when the arrays with the numbers `dependency` have ended."""

    number: int
    stage: str  # "offline": stages that several units need; "online": the units
    tasks: tuple[tuple[UnitProcess, ...], ...]
    dependency: tuple[int, ...] = ()


@dataclass
class Submission:
    """The arrays to submit, how many runs are not in them and why, and units that are split first."""

    arrays: list[Array] = field(default_factory=list)
    needs: dict[str, list[str]] = field(default_factory=dict)  # unit -> offline stages that others have to train first
    splits: dict[Path, str] = field(default_factory=dict)  # mark of a unit that is halved -> why
    done: int = 0
    live: int = 0
    failed: int = 0
    waiting: int = 0  # for an offline stage that a live task trains, or that failed
    todo: int = 0

    def units(self) -> list[UnitProcess]:
        """List all units of the arrays."""
        return [unit for array in self.arrays for task in array.tasks for unit in task]


def make_plan(study: Study, root: Path, profile: Profile, queue: Queue, max_array: int) -> Submission:
    """Plan what is left; queue: what tasks of SLURM have already. Nothing is written.

    Raises UserError where finished runs are of another configuration.
    """
    plan = Submission()
    live = queue.runs()
    units = [
        part for unit in study_units(study, root, profile.torch_device, live) for part in _split(unit, profile, plan)
    ]
    plan.done = sum(is_finished(root / study.name / "runs" / run_id(run), run) for run in study.runs)
    plan.live = sum(
        run_id(run) in live and not is_finished(root / study.name / "runs" / run_id(run), run) for run in study.runs
    )
    todo: list[UnitProcess] = []
    for unit in units:
        if unit.finished():
            continue
        if read_failure(unit).get("final"):
            plan.failed += len(unit.runs)
        else:
            todo.append(unit)

    # a stage is trained with the same others whoever is alive: what others a cohort has shows in its rounding
    every = study_units(study, root, profile.torch_device) if live else units
    offline, online = _shared_stages([unit for unit in every if not unit.finished()], todo, plan, queue)
    plan.todo = sum(len(unit.runs) for unit in online)
    for stage, members in (("offline", offline), ("online", online)):
        before = tuple(array.number for array in plan.arrays)
        tasks = _pack(members, profile.units_per_task)
        # of online units, those that need no array before them do not wait for it
        free = [task for task in tasks if not any(unit.name in plan.needs for unit in task)]
        bound = [task for task in tasks if task not in free]
        for chunk, dependency in ((free, ()), (bound, before)):
            for begin in range(0, len(chunk), max_array):
                part = tuple(chunk[begin : begin + max_array])
                plan.arrays.append(Array(len(plan.arrays), stage, part, dependency))
    return plan


def _shared_stages(
    unfinished: list[UnitProcess], todo: list[UnitProcess], plan: Submission, queue: Queue
) -> tuple[list[UnitProcess], list[UnitProcess]]:
    """Offline units for the stages that several units need, and the online units that can be submitted.

    unfinished: of the whole study, also those that a live task has; todo: those that none has.
    """
    missing = {unit.name: unit.missing_stages() for unit in [*unfinished, *todo]}
    counts = Counter(stage for unit in unfinished for stage in missing[unit.name])
    busy = queue.stages()
    runs: dict[tuple[RunConfig, str | None], dict[str, RunConfig]] = {}
    for unit in unfinished:
        for run in unit.runs:
            name = offline_run_id(run) if run.dataset is not None else None
            if name in missing[unit.name] and counts[name] > 1:
                # one run stands for its stage, whatever the others do online
                runs.setdefault((cohort_key(offline_config(run)), run.dataset), {}).setdefault(name, run)
    first = unfinished[0] if unfinished else None
    makers = [
        part
        for stages in runs.values()
        if first is not None
        for part in UnitProcess(first.study, list(stages.values()), first.root, first.device, offline_only=True).parts()
    ]
    # what a live task trains, or has failed for good, no other one trains
    closed = busy | {stage for m in makers if read_failure(m).get("final") for stage in m.missing_stages()}
    open_makers = [m for m in makers if not m.missing_stages() & closed]
    coming = {stage for maker in open_makers for stage in maker.missing_stages()}
    ready: list[UnitProcess] = []
    for unit in todo:
        if missing[unit.name] & closed or any(counts[s] > 1 and s not in coming for s in missing[unit.name]):
            plan.waiting += len(unit.runs)
            continue
        ready.append(unit)
        needs = sorted(missing[unit.name] & coming)
        if needs:
            plan.needs[unit.name] = needs
    wanted = {stage for unit in ready for stage in plan.needs.get(unit.name, [])}
    return [maker for maker in open_makers if maker.missing_stages() & wanted], ready


def _split(unit: UnitProcess, profile: Profile, plan: Submission) -> list[UnitProcess]:
    """Return a unit, or its parts where the profile wants smaller ones."""
    most = profile.unit_runs
    if most is None or len(unit.runs) <= max(1, most) or unit.finished() or unit.checkpoint_folders():
        return [unit]
    plan.splits[unit.split_path] = f"unit_runs is {most}"
    return [part for half in unit.halves() for part in _split(half, profile, plan)]


def _pack(units: list[UnitProcess], size: int) -> list[tuple[UnitProcess, ...]]:
    """Pack tasks of `size` units; long ones first, so that the last to start are short."""
    ordered = sorted(units, key=lambda unit: -unit.cost)
    count = -(-len(ordered) // size)
    return [tuple(ordered[number::count]) for number in range(count)]


def describe(plan: Submission, runs: int) -> Mapping[str, int]:
    """Count how many runs are where."""
    return {
        "runs": runs,
        "done": plan.done,
        "in live tasks": plan.live,
        "failed too often": plan.failed,
        "waiting for an offline stage": plan.waiting,
        "to submit": plan.todo,
    }
