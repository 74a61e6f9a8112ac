"""Where every run of a study is: what its files say, joined with what SLURM has in its queue."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moore.base.errors import UserError
from moore.base.files import is_alive
from moore.base.strict import nearest
from moore.run.claim import read_claim
from moore.run.failures import read_failure
from moore.run.folders import is_finished
from moore.run.units import UnitProcess, study_units
from moore.studies.identity import run_id
from moore.studies.study import Study
from slurm import cluster
from slurm.cluster import QueuedTask
from slurm.queue import Queue, ask_queue

STATES = ("running", "claimed", "pending", "waiting", "stopped", "todo", "failed")  # of an unfinished run
ACTIVE = ("running", "claimed", "pending")  # somebody has it


@dataclass(frozen=True)
class UnitState:
    """Where a unit, and with it each of its unfinished runs, is.

    running: its process trains; claimed: it says so, and nobody was there to ask; pending: a task of SLURM has it;
    waiting: for an offline stage that somebody else has; stopped: begun, and nobody has it; todo: neither; failed: no
    more attempts by itself.
    """

    state: str
    reason: str = ""
    node: str | None = None
    task: str | None = None  # array job id and index, as scancel takes them
    never_starts: bool = False
    eta: float | None = None  # seconds, by the unit's own pace since its claim


class StudyView:
    """A study at one moment. The queue is read before the files: what is queued then has its manifest already.

    Raises UserError if SLURM is there but does not answer, and for a submission's manifest that cannot be read.
    """

    def __init__(self, study: Study, root: Path, ask: bool = True) -> None:
        self.study, self.folder = study, root / study.name
        self.slurm = cluster.has_slurm()
        self.asked = ask and self.slurm and any(self.folder.glob("submissions/*/manifest.json"))
        queue = ask_queue(self.folder) if self.asked else Queue()
        ids = {run_id(run): run for run in study.runs}
        live = [unit for unit in queue.units if not unit.offline_only and any(run_id(run) in ids for run in unit.runs)]
        self.units = [*live, *study_units(study, root, "cpu", queue.runs())]
        self.offline_units = list(_offline_units(self.folder / "units"))
        self.tasks = queue.tasks  # by the name of a unit
        self._missing: dict[str, set[str]] = {}
        self.done = {name for name, run in ids.items() if is_finished(self.folder / "runs" / name, run)}

    def unfinished(self, unit: UnitProcess) -> list[str]:
        """Return the ids of the runs of a unit that are not finished."""
        return [name for name in map(run_id, unit.runs) if name not in self.done]

    def dependants(self, maker: UnitProcess) -> list[UnitProcess]:
        """Return the units that lack what an offline unit trains."""
        return [unit for unit in self.units if self._lacks(maker) & self._lacks(unit)]

    def check(self, runs: Sequence[str]) -> None:
        """Raise UserError, with a similar id, for a run that the study has not."""
        ids = [run_id(run) for run in self.study.runs]
        for run in runs:
            if run not in ids:
                hint = f"{nearest(run, ids)}accepted: ids as `moore study status` has them"
                raise UserError(f"{run!r} is no run of {self.study.name}; {hint}")

    def state(self, unit: UnitProcess) -> UnitState:
        """Tell where a unit is that is not finished."""
        state = self._by_itself(unit)
        if state.state in ("failed", "running", "claimed") or state.never_starts:
            return state
        for maker in self.offline_units:
            its = self._by_itself(maker)
            if not self._lacks(maker) & self._lacks(unit) or its.state not in ("failed", *ACTIVE):
                continue
            said = its.reason
            if its.state != "failed" and not its.never_starts:
                said = f"{its.state}{f' on {its.node}' if its.node else ''}, {100 * maker.progress():.0f} %"
            now = "failed" if its.state == "failed" else "waiting"
            return replace(
                state, state=now, reason=f"offline stage {maker.name}: {said}", never_starts=its.never_starts
            )
        if state.state == "pending":
            return replace(state, state="waiting") if state.reason.startswith("Dependency") else state
        for other in self.units:
            if other is not unit and self._lacks(other) & self._lacks(unit) and self._by_itself(other).state in ACTIVE:
                return replace(state, state="waiting", reason=f"offline stage: {other.name} trains it")
        return state

    def _by_itself(self, unit: UnitProcess) -> UnitState:
        """Tell where a unit is, whatever it may wait for."""
        failure, claim = read_failure(unit), read_claim(unit.claim_path)
        attempts = failure.get("attempts", 0)
        again = f"attempt {attempts + 1} after {failure.get('kind')}" if failure else ""
        if failure.get("final"):
            tried = f"{failure['kind']} after {attempts} attempt{'s' * (attempts != 1)}: {failure['reason']}"
            return UnitState("failed", tried, failure.get("host"), task_id(failure))
        if claim is not None and failure.get("time", 0) < claim["since"]:  # else that process has ended
            holder = self._holder(unit, claim)
            if holder is not None:
                return holder
        queued = sorted(self.tasks.get(unit.name, []), key=lambda task: task.state != "RUNNING")
        if queued:
            return _queued(queued[0], again)
        if claim is None and not unit.status() and not failure:
            return UnitState("todo", "the next submit takes it" if self.slurm else "nobody has begun it")
        where = (claim or {}).get("node") or (claim or {}).get("host") or failure.get("host")
        return UnitState("stopped", again or "the next submit goes on", where, task_id(claim or failure))

    def _holder(self, unit: UnitProcess, claim: dict[str, Any]) -> UnitState | None:
        """Describe the process that claims a unit; None if it is certainly gone."""
        node, job = claim.get("node") or claim["host"], task_id(claim)
        state = UnitState("running", str(unit.status().get("label", "")), node, job, eta=_eta(unit, claim))
        if job is None:
            process = f"process {claim['pid']}"
            if claim["host"] != socket.gethostname():
                return UnitState("claimed", f"claimed by {process}", node)
            return state if is_alive(claim["pid"]) else None
        if not self.asked:
            return replace(state, state="claimed", reason=f"claimed by job {job}")
        for task in self.tasks.get(unit.name, []):
            if task.id == job and task.restarts in (None, claim["restart"] or 0):
                if task.state == "RUNNING":
                    return state
                if task.state in ("COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"):
                    return replace(state, reason=f"{task.state}; {state.reason}", eta=None)
        return None

    def _lacks(self, unit: UnitProcess) -> set[str]:
        if unit.name not in self._missing:
            self._missing[unit.name] = set() if unit.finished() else unit.missing_stages()
        return self._missing[unit.name]


def _offline_units(folder: Path) -> Iterator[UnitProcess]:
    """Yield the units of offline stages alone that any submission has made, unless they are finished."""
    for path in sorted(folder.glob("*-offline-*.json")):
        if re.fullmatch(r".*-offline-[0-9a-f]{8}\.json", path.name):
            yield from (part for part in UnitProcess.read(path).parts() if not part.finished())


def _queued(task: QueuedTask, again: str) -> UnitState:
    """Describe a unit that waits in SLURM's queue, or in a task that runs."""
    reason = {"PENDING": task.reason, "RUNNING": "its turn comes in its task"}.get(task.state, task.state)
    marked = f"NEVER STARTS: {reason}" if task.never_starts else reason
    requeued = f"requeued {task.restarts}x" if task.restarts else ""
    said = "; ".join(filter(None, (marked, requeued, again)))
    return UnitState("pending", said, task.node or None, task.id, task.never_starts)


def _eta(unit: UnitProcess, claim: dict[str, Any]) -> float | None:
    """Estimate the seconds that the rest takes at the pace since the claim; None before there is one."""
    begun, status = claim.get("progress"), unit.status()
    if begun is None or status.get("time", 0) <= claim["since"]:
        return None
    share, seconds = unit.progress() - begun, status["time"] - claim["since"]
    if share <= 0:
        return None
    return max(0.0, (1 - unit.progress()) * seconds / share - (time.time() - status["time"]))


def task_id(record: dict[str, Any]) -> str | None:
    """Return the task of a claim or a failure; None for a process without SLURM."""
    if record.get("job") is None:
        return None
    return record["job"] if record.get("task") is None else f"{record['job']}_{record['task']}"
