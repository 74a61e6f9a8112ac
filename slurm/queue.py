"""What SLURM has of a study: the tasks of its submissions, and the units and runs that are in them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moore.base.errors import UserError
from moore.run.units import UnitProcess
from moore.studies.identity import run_id
from slurm import cluster
from slurm.cluster import QueuedTask


@dataclass(frozen=True)
class Queue:
    """The live tasks of a study. Units are as they were submitted, or the parts they have been split into since."""

    tasks: Mapping[str, list[QueuedTask]] = field(default_factory=dict)  # by the name of a unit
    units: list[UnitProcess] = field(default_factory=list)  # each once

    def runs(self) -> set[str]:
        """Return the ids of the runs that live tasks have; the study may pack them otherwise now."""
        return {run_id(run) for unit in self.units for run in unit.runs}

    def missing_stages(self) -> set[str]:
        """Return the ids of the offline stages that live tasks have to train."""
        return {stage for unit in self.units for stage in unit.missing_stages()}


def ask_queue(folder: Path) -> Queue:
    """Ask for the queue of the study in this folder. UserError: SLURM, or a submission's record, does not say."""
    tasks: dict[str, list[QueuedTask]] = {}
    units: dict[str, UnitProcess] = {}
    for task in cluster.our_tasks():
        submission = folder / "submissions" / task.stamp
        if submission.exists():  # else of another study
            for unit in task_units(submission, task.array, task.task):
                units[unit.name] = unit
                tasks.setdefault(unit.name, []).append(task)
    return Queue(tasks, list(units.values()))


def task_units(submission: Path, array: int, task: int) -> list[UnitProcess]:
    """Return the units of a task, by the record of its submission. Raises UserError if that cannot be read."""
    path, folder = submission / "manifest.json", submission.parent.parent / "units"
    try:
        names = json.loads(path.read_text())["arrays"][array][task]
    except (OSError, ValueError, LookupError, TypeError) as error:
        lacking = f"does not say what task {task} of array {array} trains ({error!r})"
        raise UserError(f"{path}: {lacking}; accepted: the file as submit wrote it") from None
    return [part for name in names for part in UnitProcess.read(folder / f"{name}.json").parts()]
