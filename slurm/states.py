"""Where every run of a study is: what its files say, joined with what SLURM has in its queue."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moore.base.errors import UserError
from moore.base.files import is_alive, read_json
from moore.base.strict import nearest
from moore.run.folders import finished_runs
from moore.run.units import UnitProcess, study_units
from moore.studies.identity import run_id
from moore.studies.study import Study
from slurm import cluster
from slurm.cluster import QueuedTask
from slurm.queue import Queue, ask_queue

STATES = ("running", "claimed", "pending", "stopped", "todo", "failed")  # of an unfinished run


@dataclass(frozen=True)
class UnitState:
    """Where a unit, and with it each of its unfinished runs, is.

    running: its process trains; claimed: it says so, and nobody was there to ask; pending: a task of SLURM has it;
    stopped: begun, and nobody has it; todo: neither; failed: no more attempts by itself.
    """

    state: str
    reason: str = ""
    node: str | None = None
    task: str | None = None  # array job id and index, as scancel takes them
    never_starts: bool = False


class StudyView:
    """A study at one moment. The queue is read before the files: what is queued then has its manifest already.

    Raises UserError if SLURM is there but does not answer, and for a submission's manifest that cannot be read.
    """

    def __init__(self, study: Study, root: Path, ask: bool = True) -> None:
        self.study, self.folder = study, root / study.name
        self.slurm = cluster.has_slurm()
        submissions = sorted(self.folder.glob("submissions/*/manifest.json"))  # by time
        self.asked = ask and self.slurm and bool(submissions)
        queue = ask_queue(self.folder) if self.asked else Queue()
        ids = set(map(run_id, study.runs))
        live = [unit for unit in queue.units if ids & set(map(run_id, unit.runs))]
        # a unit of a GPU takes several datasets, so that it has another name
        gpus = [read_json(path).get("profile", {}).get("gpus") for path in submissions[-1:]]
        self.units = [*live, *study_units(study, root, "cuda" if any(gpus) else "cpu", queue.runs())]
        self.tasks = queue.tasks  # by the name of a unit
        self.done = set(map(run_id, finished_runs(study, root)))

    def unfinished(self, unit: UnitProcess) -> list[str]:
        return [name for name in map(run_id, unit.runs) if name not in self.done]

    def failed(self) -> dict[UnitProcess, dict[str, Any]]:
        """Return the units of which an attempt has failed, with the record of that."""
        records = {unit: unit.failure() for unit in self.units if self.unfinished(unit)}
        return {unit: failure for unit, failure in records.items() if failure}

    def check(self, runs: Sequence[str]) -> None:
        """Raise UserError, with a similar id, for a run that the study has not."""
        ids = [run_id(run) for run in self.study.runs]
        for run in runs:
            if run not in ids:
                hint = f"{nearest(run, ids)}accepted: ids as `moore study status` has them"
                raise UserError(f"{run!r} is no run of {self.study.name}; {hint}")

    def state(self, unit: UnitProcess) -> UnitState:
        failure, claim = unit.failure(), read_json(unit.claim_path)
        attempts = failure.get("attempts", 0)
        if failure.get("final"):
            tried = f"{failure['kind']} after {attempts} attempt{'s' * (attempts != 1)}: {failure['reason']}"
            return UnitState("failed", tried, place(failure), failure["task"])
        begun = claim and failure.get("time", 0) < claim["since"]  # else that process has ended
        if begun and (holder := self._holder(unit, claim)):
            return holder
        again = f"attempt {attempts + 1} after {failure['kind']}" if failure else ""
        tasks = self.tasks.get(unit.name)
        if tasks:
            return _queued(min(tasks, key=lambda task: task.state != "RUNNING"), again)
        if not (claim or unit.status() or failure):
            return UnitState("todo", "the next submit takes it" if self.slurm else "nobody has begun it")
        last = claim or failure
        return UnitState("stopped", again or "the next submit goes on", place(last), last.get("task"))

    def _holder(self, unit: UnitProcess, claim: dict[str, Any]) -> UnitState | None:
        """Describe the process that claims a unit; None if it is certainly gone."""
        task, local = claim["task"], claim["task"] is None
        state = UnitState("running", str(unit.status().get("label", "")), place(claim), task)
        if local and claim["host"] == socket.gethostname():
            return state if is_alive(claim["pid"]) else None
        if local or not self.asked:
            who = f"process {claim['pid']}" if local else f"task {task}"
            return replace(state, state="claimed", reason=f"claimed by {who}")
        for queued in self.tasks.get(unit.name, []):
            if queued.id == task and queued.restarts in (None, claim["restart"]) and queued.state != "PENDING":
                how = "" if queued.state == "RUNNING" else f"{queued.state}; "  # COMPLETING, SUSPENDED, ...
                return replace(state, reason=how + state.reason)
        return None


def _queued(task: QueuedTask, again: str) -> UnitState:
    """Describe a unit that waits in SLURM's queue, or in a task that runs."""
    reason = {"PENDING": task.reason, "RUNNING": "its turn comes in its task"}.get(task.state, task.state)
    marked = f"NEVER STARTS: {reason}" if task.never_starts else reason
    requeued = f"requeued {task.restarts}x" if task.restarts else ""
    said = "; ".join(filter(None, (marked, requeued, again)))
    return UnitState("pending", said, task.node or None, task.id, task.never_starts)


def place(record: dict[str, Any]) -> str | None:
    """Return the node, or else the machine, of a claim or a failure."""
    return record.get("node") or record.get("host")
