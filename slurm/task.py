"""What a SLURM task does: check what it was promised, train its units, and tell SLURM whether it goes on.

The facts are in the run folders alone: it does not matter which of a task's predecessors ended how.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from moore.base.files import read_json, write_json
from moore.run.claim import slurm_task
from moore.run.display import TaskLog
from moore.run.failures import record_failure
from moore.run.stop import STOPPED, StopRequest
from moore.run.units import UnitProcess
from moore.run.worker import Worker
from slurm import start
from slurm.profile import Profile
from slurm.queue import task_units

REQUEUE_SECONDS = 120.0  # in which a requeue ends this process

say = TaskLog().say


@dataclass
class ArrayTask:
    """Element `index` of array `array` of a submission; called by submitit on a node."""

    submission: str  # its folder
    array: int
    index: int

    def __call__(self) -> None:
        """Train the task's units. Leaves with exit code 75 where something is left to a later start."""
        manifest = json.loads((Path(self.submission) / "manifest.json").read_text())
        profile = Profile(**manifest["profile"])
        units, most = task_units(Path(self.submission), self.array, self.index), profile.stalled_requeues
        stop = StopRequest()
        with stop.listening(), stop.deferred():
            start.hear()
            lacking = missing_resources(profile)
            if lacking:
                say(f"{lacking}; nothing is trained here")
                self._requeue(lacking, units, most, "resources")
            slots = slot_environments(profile)
            say(f"{len(units)} units, {len(slots)} at once, restart {os.environ.get('SLURM_RESTART_COUNT', '0')}")
            todo = [unit for unit in units if unit.finished() or not unit.failure().get("final")]
            done = Worker(todo, slots, TaskLog(), profile.attempts, manifest["stamp"]).run(stop)
            if stop.signal in (signal.SIGUSR1, signal.SIGUSR2) and any(map(_is_open, units)):
                self._requeue("the time limit came", units, most)
            if stop.signal in (signal.SIGTERM, signal.SIGINT):
                leave()
            if not done:
                sys.exit(STOPPED)

    def _requeue(self, why: str, units: list[UnitProcess], most: int, kind: str = "no progress") -> NoReturn:
        """Give the task back: it goes on later, or on another node, which may have what was promised.

        Ends without a requeue where the last `most` brought nothing on or there is no scontrol on this node.
        """
        path = Path(self.submission) / "tasks" / f"{self.array}-{self.index}.json"
        now = progress(units)
        before = read_json(path) or {"stalled": 0, "progress": []}
        stalled = 0 if now > before["progress"] else before["stalled"] + 1
        write_json(path, {"stalled": stalled, "progress": now})
        if stalled and stalled >= most:
            say(f"{why}; {stalled} requeues have brought nothing on, so this was the last")
            for unit in filter(_is_open, units):  # those that have not had their turn are left to the next submit
                begun = read_json(unit.claim_path).get("submission") == Path(self.submission).name
                record_failure(unit, kind, why, unit.failure().get("attempts", 0), final=begun)
            sys.exit(1)
        if shutil.which("scontrol") is None:
            say(f"{why}; no scontrol on this node, so a later submit goes on")
            sys.exit(STOPPED)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # with which the requeue ends this process
        subprocess.run(["scontrol", "requeue", str(slurm_task())], check=True, timeout=60)
        time.sleep(REQUEUE_SECONDS)
        sys.exit(STOPPED)


def _is_open(unit: UnitProcess) -> bool:
    return not unit.finished() and not unit.failure().get("final")


def leave() -> NoReturn:
    """End after SIGTERM, without a requeue: whoever sent it says whether the task comes back.

    A preempted task stays until its grace time ends. SLURM would take it for one that has failed, and not requeue it.
    """
    if preempted():
        say("preempted; SLURM takes the task back at the end of its grace time")
        while True:
            signal.pause()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one has nothing to stop any more
    sys.exit(STOPPED)


def preempted() -> bool:
    """Tell whether SLURM is about to take this task's node for others; False where scontrol does not say."""
    try:
        command = ["scontrol", "show", "job", str(slurm_task())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(r"\bPreemptTime=\d", done.stdout) is not None and "JobState=CANCELLED" not in done.stdout


def progress(units: list[UnitProcess]) -> list[int]:
    """Return a list that grows with all that is kept: finished units, offline stages, checkpoints of a stage."""
    missing = sum(len(unit.missing_stages()) for unit in units)
    return [sum(unit.finished() for unit in units), -missing, sum(unit.checkpoint_count() for unit in units)]


def missing_resources(profile: Profile) -> str | None:
    """Say what the profile promises and this task does not have: a GPU run must never train on a CPU."""
    if torch.cuda.device_count() < profile.gpus:
        return f"promised {profile.gpus} GPUs, torch finds {torch.cuda.device_count()}"
    cpus = len(os.sched_getaffinity(0))
    return f"promised {profile.cpus} CPUs, has {cpus}" if cpus < profile.cpus else None


def slot_environments(profile: Profile) -> list[dict[str, str]]:
    """Return the environment of every slot: slots are dealt to the GPUs in turn, CPUs are shared evenly."""
    count = profile.slot_count
    threads = {"OMP_NUM_THREADS": str(max(1, profile.cpus // count))}
    if not profile.gpus:
        return [threads] * count
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(profile.gpus)))
    gpus = names.split(",")
    return [threads | {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(count)]
