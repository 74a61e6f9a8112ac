"""What is left of a study, as arrays of tasks: todo = all - done - owned by a live task - failed too often."""

from __future__ import annotations

from collections import Counter
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

Task = tuple[UnitProcess, ...]  # the units of one array task


@dataclass(frozen=True)
class Array:
    """One SLURM job array; it starts when the arrays with the numbers `dependency` have ended."""

    number: int
    stage: str  # "offline": stages that several units need; "online": the units
    tasks: tuple[Task, ...]
    dependency: tuple[int, ...] = ()

    def units(self) -> list[UnitProcess]:
        """List the units of all its tasks."""
        return [unit for task in self.tasks for unit in task]


@dataclass
class Submission:
    """The arrays to submit, units that are split first, and how many runs are where."""

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
        return [unit for array in self.arrays for unit in array.units()]

    def describe(self, study: Study) -> str:
        """Say how many runs are where, and what is in the arrays."""
        counts = {"done": self.done, "in live tasks": self.live, "failed too often": self.failed}
        counts["waiting for an offline stage"] = self.waiting
        said = [f"{len(study.runs)} runs", *(f"{count} {where}" for where, count in counts.items() if count)]
        lines = [f"{study.name}: {', '.join(said)}, {self.todo} to submit"]
        for path, reason in self.splits.items():
            lines.append(f"  {path.name.removesuffix('.split.json')} is split in two: {reason}")
        for array in self.arrays:
            after = f", after array {', '.join(map(str, array.dependency))}" if array.dependency else ""
            size = f"{len(array.tasks)} tasks, {len(array.units())} units"
            lines.append(f"  array {array.number}, {array.stage}: {size}{after}")
            lines += [f"    {unit.name}: {len(unit.runs)} runs" for unit in array.units()]
        return "\n".join(lines)


def make_plan(study: Study, root: Path, profile: Profile, queue: Queue, max_array: int) -> Submission:
    """Plan what is left; queue: what tasks of SLURM have already. Nothing is written.

    Raises UserError where finished runs are of another configuration.
    """
    plan = Submission()
    live = queue.runs()
    units = [
        part for unit in study_units(study, root, profile.torch_device, live) for part in _split(unit, profile, plan)
    ]
    done = {run_id(run) for run in study.runs if is_finished(root / study.name / "runs" / run_id(run), run)}
    plan.done, plan.live = len(done), len((live - done) & set(map(run_id, study.runs)))
    unfinished = [unit for unit in units if not unit.finished()]
    todo = [unit for unit in unfinished if not read_failure(unit).get("final")]
    plan.failed = sum(len(unit.runs) for unit in unfinished) - sum(len(unit.runs) for unit in todo)

    # a stage is trained with the same others whoever is alive: what others a cohort has shows in its rounding
    whole = study_units(study, root, profile.torch_device)
    every = [part for unit in whole for part in _split(unit, profile, Submission())] if live else units
    offline, online = _shared_stages([unit for unit in every if not unit.finished()], todo, plan, queue)
    plan.todo = sum(len(unit.runs) for unit in online)
    # of online units, those that need no array before them do not wait for it
    tasks = _pack(online, profile.units_per_task)
    bound = [task for task in tasks if any(unit.name in plan.needs for unit in task)]
    _add(plan, "offline", _pack(offline, profile.units_per_task), max_array)
    before = tuple(array.number for array in plan.arrays)
    _add(plan, "online", [task for task in tasks if task not in bound], max_array)
    _add(plan, "online", bound, max_array, before)
    return plan


def _add(plan: Submission, stage: str, tasks: list[Task], most: int, dependency: tuple[int, ...] = ()) -> None:
    """Add tasks to a plan, in arrays of at most so many."""
    for begin in range(0, len(tasks), most):
        plan.arrays.append(Array(len(plan.arrays), stage, tuple(tasks[begin : begin + most]), dependency))


def _shared_stages(
    unfinished: list[UnitProcess], todo: list[UnitProcess], plan: Submission, queue: Queue
) -> tuple[list[UnitProcess], list[UnitProcess]]:
    """Offline units for the stages that several units need, and the online units that can be submitted.

    unfinished: of the whole study, also those that a live task has; todo: those that none has.
    """
    missing = {unit.name: unit.missing_stages() for unit in [*unfinished, *todo]}
    counts = Counter(stage for unit in unfinished for stage in missing[unit.name])
    makers = _makers(unfinished, {stage for stage, count in counts.items() if count > 1})
    # what a live task trains, or has failed for good, no other one trains
    failed = {stage for maker in makers if read_failure(maker).get("final") for stage in maker.missing_stages()}
    closed = queue.stages() | failed
    makers = [maker for maker in makers if not maker.missing_stages() & closed]
    coming = {stage for maker in makers for stage in maker.missing_stages()}
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
    return [maker for maker in makers if maker.missing_stages() & wanted], ready


def _makers(units: list[UnitProcess], shared: set[str]) -> list[UnitProcess]:
    """Return the offline units, or their parts, that train these stages: one for each shape of cohort and dataset."""
    stages: dict[tuple[RunConfig, str | None], dict[str, RunConfig]] = {}
    for unit in units:
        for run in unit.runs:
            name = offline_run_id(run) if run.dataset is not None else None
            if name in shared:  # one run stands for its stage, whatever the others do online
                stages.setdefault((cohort_key(offline_config(run)), run.dataset), {}).setdefault(name, run)
    return [
        part
        for runs in stages.values()
        for part in UnitProcess(units[0].study, list(runs.values()), units[0].root, units[0].device, True).parts()
    ]


def _split(unit: UnitProcess, profile: Profile, plan: Submission) -> list[UnitProcess]:
    """Return a unit, or its parts where the profile wants smaller ones."""
    most = profile.unit_runs
    if most is None or len(unit.runs) <= max(1, most) or unit.finished() or unit.checkpoint_folders():
        return [unit]
    plan.splits[unit.split_path] = f"unit_runs is {most}"
    return [part for half in unit.halves() for part in _split(half, profile, plan)]


def _pack(units: list[UnitProcess], size: int) -> list[Task]:
    """Pack tasks of `size` units; long ones first, so that the last to start are short."""
    ordered = sorted(units, key=lambda unit: -unit.cost)
    count = -(-len(ordered) // size)
    return [tuple(ordered[number::count]) for number in range(count)]
