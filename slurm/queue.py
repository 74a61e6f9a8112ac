"""What SLURM has of a study: the tasks of its submissions, and the units and runs that are in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moore.base.errors import UserError
from moore.run.units import UnitProcess
from moore.studies.identity import offline_run_id, run_id
from slurm import cluster
from slurm.cluster import QueuedTask


@dataclass(frozen=True)
class Queue:
    """The live tasks of a study. Units are as they were submitted, or the parts they have been split into since."""

    tasks: Mapping[str, list[QueuedTask]] = field(default_factory=dict)  # by the name of a unit
    names: Mapping[str, list[str]] = field(default_factory=dict)  # of units, by the id of a task
    units: list[UnitProcess] = field(default_factory=list)  # each once

    def runs(self) -> set[str]:
        """Return the ids of the runs that live tasks have.

        Names of units do not do: the study may pack its runs otherwise now.
        """
        return {run_id(run) for unit in self.units if not unit.offline_only for run in unit.runs}

    def stages(self) -> set[str]:
        """Return the ids of the offline stages that are missing and that live tasks train or wait for."""
        return {stage for unit in self.units for stage in unit.missing_stages()}

    def all_stages(self) -> set[str]:
        """Return the ids of the offline stages of live tasks, missing or not."""
        return {offline_run_id(run) for unit in self.units for run in unit.runs if run.dataset is not None}


def ask_queue(folder: Path) -> Queue:
    """Ask for the queue of the study in this folder.

    Raises UserError if SLURM does not say, or a record cannot be read.
    """
    tasks: dict[str, list[QueuedTask]] = {}
    names: dict[str, list[str]] = {}
    units: dict[str, UnitProcess] = {}
    for task in cluster.our_tasks():
        path = folder / "submissions" / task.stamp / "manifest.json"
        if not path.exists():  # of another study
            continue
        for name in task_units(path, task.array, task.task):
            for part in UnitProcess.read(folder / "units" / f"{name}.json").parts():
                units[part.name] = part
                tasks.setdefault(part.name, []).append(task)
                names.setdefault(task.id, []).append(part.name)
    return Queue(tasks, names, list(units.values()))


def task_units(path: Path, array: int, task: int) -> list[str]:
    """Return the names of the units of a task, by the record of its submission."""
    try:
        return read_record(path)["arrays"][array]["tasks"][task]
    except (LookupError, TypeError) as error:
        raise UserError(
            f"{path}: does not say what task {task} of array {array} trains ({error!r}); accepted: the file as submit"
            " wrote it"
        ) from None


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a submission."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); accepted: the file as submit wrote it") from None
