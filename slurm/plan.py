"""What is left of a study, as arrays of tasks: todo = all - done - owned by a live task - failed too often."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from moore.run.folders import finished_runs
from moore.run.units import UnitProcess, study_units
from moore.studies.identity import run_id
from moore.studies.study import Study
from slurm.profile import Profile
from slurm.queue import Queue

Task = list[UnitProcess]  # the units of one array task
DONE, LIVE, FAILED, TODO = "done", "in live tasks", "failed too often", "to submit"
WAITING = "waiting for an offline stage of a live task"


@dataclass
class Plan:
    """The arrays to submit, units that are halved first, as the profile wants it, and how many runs are where."""

    arrays: list[list[Task]] = field(default_factory=list)
    splits: list[UnitProcess] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def units(self) -> list[UnitProcess]:
        return [unit for array in self.arrays for task in array for unit in task]

    def describe(self, study: Study) -> str:
        counts = [f"{self.counts[where]} {where}" for where in (DONE, LIVE, FAILED, WAITING) if self.counts[where]]
        lines = [f"{study.name}: {', '.join([f'{len(study.runs)} runs', *counts, f'{self.counts[TODO]} {TODO}'])}"]
        lines += [f"  {unit.name} is split in two: unit_runs" for unit in self.splits]
        for number, array in enumerate(self.arrays):
            lines.append(f"  array {number}: {len(array)} tasks, {sum(map(len, array))} units")
            lines += [f"    {unit.name}: {len(unit.runs)} runs" for task in array for unit in task]
        return "\n".join(lines)

    def mark_splits(self) -> None:
        """Write which units are halved from now on."""
        for unit in self.splits:
            unit.split("unit_runs")
            # whoever may still train the whole, unknown to SLURM, must not: nobody holds its claim now
            unit.claim_path.unlink(missing_ok=True)


def make_plan(study: Study, root: Path, profile: Profile, queue: Queue, max_array: int) -> Plan:
    """Plan what is left beside what the queue has; writes nothing. UserError: finished runs of other settings."""
    plan, live, ids = Plan(), queue.runs(), set(map(run_id, study.runs))
    whole = study_units(study, root, profile.torch_device, live)
    units = [part for unit in whole for part in _split(unit, profile.unit_runs, plan)]
    done = set(map(run_id, finished_runs(study, root)))
    plan.counts.update({DONE: len(done), LIVE: len((live - done) & ids)})
    todo: list[UnitProcess] = []
    for unit in (unit for unit in units if not unit.finished()):
        where = TODO
        if unit.failure().get("final"):
            where = FAILED
        elif unit.missing_stages() & queue.missing_stages():
            where = WAITING
        else:
            todo.append(unit)
        plan.counts[where] += len(unit.runs)
    tasks = _pack(_groups(todo), profile.units_per_task)
    plan.arrays = [tasks[begin : begin + max_array] for begin in range(0, len(tasks), max_array)]
    return plan


def _groups(units: list[UnitProcess]) -> list[Task]:
    """Group units that lack the same offline stages: one trains them, and the others of its task start from them."""
    groups: list[tuple[Task, set[str]]] = []
    for unit in units:
        together, missing = [unit], unit.missing_stages()
        for group in [group for group in groups if group[1] & missing]:
            groups.remove(group)
            together, missing = [*group[0], *together], missing | group[1]
        groups.append((together, missing))
    return [group for group, _ in groups]


def _pack(groups: list[Task], size: int) -> list[Task]:
    """Deal groups out to tasks of `size` units, more for a larger group; long first, so that the last are short."""
    tasks: list[Task] = [[] for _ in range(-(-sum(map(len, groups)) // size))]
    for group in sorted(groups, key=lambda group: -sum(unit.cost for unit in group)):
        min(tasks, key=len).extend(sorted(group, key=lambda unit: -unit.cost))
    return [task for task in tasks if task]


def _split(unit: UnitProcess, most: int | None, plan: Plan) -> list[UnitProcess]:
    """Return a unit, or its parts where the profile wants smaller ones."""
    if most is None or len(unit.runs) <= most or unit.finished() or unit.checkpoint_folders():
        return [unit]
    plan.splits.append(unit)
    return [part for half in unit.halves() for part in _split(half, most, plan)]
