"""Trains units side by side, each in a process of its own: one that fails never takes another with it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from moore.base.errors import Unavailable
from moore.base.files import write_json
from moore.run.stop import StopRequest
from moore.run.work import Work

POLL_SECONDS = 0.2
BAD_INPUT = 2  # exit code of a unit whose settings or data are wrong: another attempt ends the same
LOG_LINES = 10  # of a failed unit that are looked at and kept
OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|MemoryError|Cannot allocate memory|bad_alloc", re.IGNORECASE
)
CGROUP_COUNTERS = ("memory/{0}/memory.oom_control", "{0}/memory.events")  # version 1 and 2


class Worker:
    """Runs units until each is finished, has failed too often, or is told to stop.

    slots: the environment variables of each place for a unit, of which there are as many as units run at once.
    needs: unit -> offline stages, by run id, that another unit has to train first.
    """

    def __init__(
        self,
        units: Sequence[Work],
        slots: Sequence[Mapping[str, str]],
        attempts: int,
        submission: str | None,
        needs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.waiting, self.running = list(units), dict[int, Work]()
        self.slots, self.attempts, self.submission, self.needs = slots, attempts, submission, needs or {}
        self.left = False  # whether a unit is left to a later submission
        self._stopping: list[Work] = []
        self._log_sizes: dict[str, int] = {}
        self._kills = _oom_kills()

    def run(self, stop: StopRequest | None = None) -> bool:
        """Until nothing is left to start. Returns whether every unit is finished or has failed for good.

        Where there are no signal handlers that call `stop`, a StopRequest is looked at.
        """
        while self.waiting or self.running:
            if stop is not None and stop.signal is not None:
                self.stop(stop.signal)
                break
            self._fill()
            time.sleep(POLL_SECONDS)
            for slot, unit in list(self.running.items()):
                if unit.process is not None and unit.process.poll() is not None:
                    self.running.pop(slot, None)
                    self._ended(unit, unit.process.returncode)
            if self.waiting and not self.running and not self._ready():
                break  # those that wait for a stage wait for another task
        return not self.left

    def stop(self, number: signal.Signals) -> None:
        """Tell all units to stop, and wait for their checkpoints. May be called from a signal handler, also in itself.

        A unit that is just being started has no process here yet: it stops by itself when this process is gone.
        """
        if not self._stopping:
            self.left = self.left or bool(self.waiting or self.running)
            self._stopping = [unit for unit in self.running.values() if unit.process is not None]
        for unit in self._stopping:  # again, where this call has interrupted another one's telling
            unit.tell(number)
        self.waiting.clear()
        for unit in self._stopping:
            code = _wait(unit)
            if self.running and unit in self.running.values():
                self.running = {slot: other for slot, other in self.running.items() if other is not unit}
                self._ended(unit, code)
        self.left = self.left or bool(self.waiting)
        self.waiting.clear()  # nothing is tried again now

    def _ready(self) -> Work | None:
        """The next unit whose offline stages no other one trains at this moment."""
        busy = {stage for unit in self.running.values() for stage in unit.missing_stages()}
        for unit in list(self.waiting):
            if unit.finished():
                self.waiting.remove(unit)
                unit.failed_path.unlink(missing_ok=True)
            elif missing := set(self.needs.get(unit.name, ())) & unit.missing_stages():
                self.waiting.remove(unit)
                self.left = True
                say(f"{unit.name}: {len(missing)} offline stages are missing; a later submit takes it")
            elif not busy & unit.missing_stages():
                return unit
        return None

    def _fill(self) -> None:
        for slot, environment in enumerate(self.slots):
            unit = self._ready() if slot not in self.running else None
            if unit is None:
                continue
            self._log_sizes[unit.name] = unit.log_path.stat().st_size if unit.log_path.exists() else 0
            self.running[slot] = unit
            self.waiting.remove(unit)
            try:
                unit.start(self.submission, environment)
                say(f"{unit.name}: started, process {unit.process.pid if unit.process else 0}")
            except Unavailable as error:
                del self.running[slot]
                self._leave(unit, str(error))

    def _ended(self, unit: Work, code: int | None) -> None:
        if unit.ended_well(code):
            unit.failed_path.unlink(missing_ok=True)
            say(f"{unit.name}: finished")
        elif unit.was_stopped(code) or code is None:
            say(f"{unit.name}: stopped at a checkpoint")
            self.left = True
        else:
            self._failed(unit, code)

    def _leave(self, unit: Work, reason: str) -> None:
        """A full disk, say: not the unit's fault, and no better at once."""
        say(f"{unit.name}: {reason}; left to a later submit")
        self.left = True
        with suppress(Unavailable):
            record_failure(unit, "failed", reason, read_failure(unit).get("attempts", 0), final=False)

    def _failed(self, unit: Work, code: int) -> None:
        lines = tail(unit.log_path, LOG_LINES, self._log_sizes.get(unit.name, 0))
        by_kernel = code == -signal.SIGKILL and _oom_kills() > self._kills
        self._kills += by_kernel
        no_memory = by_kernel or any(map(OUT_OF_MEMORY.search, lines))
        reason = lines[-1].removeprefix("moore: ") if lines else "no output"
        if code < 0:
            reason = f"killed by {signal.Signals(-code).name}; {reason}"
        if code == Unavailable.exit_code:
            self._leave(unit, reason)
            return
        attempts = read_failure(unit).get("attempts", 0) + 1
        if no_memory and len(unit.runs) > 1:
            write_json(unit.split_path, {"reason": f"out of memory: {reason}"})
            unit.forget_checkpoints()
            self.waiting = [*unit.halves(), *self.waiting]
            say(f"{unit.name}: out of memory with {len(unit.runs)} runs at once; goes on as two halves")
            return
        final = attempts >= self.attempts or code == BAD_INPUT
        kind = "out of memory" if no_memory else "bad input" if code == BAD_INPUT else "failed"
        record_failure(unit, kind, reason, attempts, code, final)
        say(f"{unit.name}: {kind}, attempt {attempts} of {self.attempts}: {reason}")
        if not final:
            self.waiting.append(unit)


def record_failure(
    unit: Work, kind: str, reason: str, attempts: int, code: int | None = None, final: bool = True
) -> None:
    """Write <unit>.failed.json; final: no submission tries the unit again before `moore study retry`."""
    write_json(
        unit.failed_path,
        {
            "attempts": attempts,
            "kind": kind,
            "exit_code": code,
            "reason": reason,
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            "job": os.environ.get("SLURM_ARRAY_JOB_ID"),
            "task": int(os.environ["SLURM_ARRAY_TASK_ID"]) if "SLURM_ARRAY_TASK_ID" in os.environ else None,
            "time": time.time(),
            "final": final,
        },
    )


def read_failure(unit: Work) -> dict[str, Any]:
    """A unit's failed attempts; empty without any."""
    try:
        return json.loads(unit.failed_path.read_text())
    except (OSError, ValueError):
        return {}


def tail(path: Path, lines: int, start: int = 0) -> list[str]:
    """The last lines of a file after its first `start` bytes; none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - 2**16))
            return file.read().decode(errors="replace").strip().splitlines()[-lines:]
    except OSError:
        return []


def say(text: str) -> None:
    """A line of the task's log."""
    print(f"moore: {time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _wait(unit: Work) -> int | None:
    """The exit code of a unit's process once it has ended; None if that is known elsewhere.

    Popen.wait would not do in a signal handler: what it interrupts may hold Popen's lock.
    """
    assert unit.process is not None
    if unit.process.returncode is not None:
        return unit.process.returncode
    try:
        end = os.waitid(os.P_PID, unit.process.pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return None
    unit.process.poll()  # takes the process off the kernel's table, unless what is interrupted is about to
    return None if end is None else end.si_status if end.si_code == os.CLD_EXITED else -end.si_status


def _oom_kills() -> int:
    """How many processes of this one's memory group the kernel has killed for memory; 0 where it does not say."""
    try:
        groups = [line.rstrip().split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return 0
    count = 0
    for _, controllers, group in groups:
        if controllers in ("", "memory"):
            for pattern in CGROUP_COUNTERS:
                try:
                    text = (Path("/sys/fs/cgroup") / pattern.format(group.lstrip("/"))).read_text()
                except OSError:
                    continue
                count += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))
    return count
