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
from pathlib import Path
from typing import Any

from moore.results import write_json
from moore.signals import STOPPED, StopRequest
from moore.work import Work

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
        submission: str,
        needs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.waiting, self.running = list(units), dict[int, Work]()
        self.slots, self.attempts, self.submission, self.needs = slots, attempts, submission, needs or {}
        self.left = False  # whether a unit is left to a later submission
        self._log_sizes: dict[str, int] = {}
        self._killed = _oom_kills()

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
                    self._ended(unit)
        return not self.left

    def stop(self, number: signal.Signals) -> None:
        """Tell all units to stop, and wait for their checkpoints."""
        self.left = self.left or bool(self.waiting or self.running)
        self.waiting.clear()
        # one that is just being started has no process here yet: it stops by itself when this process is gone
        stopping = [unit for unit in self.running.values() if unit.process is not None]
        self.running.clear()
        for unit in stopping:
            unit.tell(number)
        for unit in stopping:
            unit.wait()
            self._ended(unit)
        self.waiting.clear()  # nothing is tried again now

    def _fill(self) -> None:
        for slot, environment in enumerate(self.slots):
            while slot not in self.running and self.waiting:
                unit = self.waiting.pop(0)
                if unit.finished():
                    unit.failed_path.unlink(missing_ok=True)
                elif missing := set(self.needs.get(unit.name, ())) & unit.missing_stages():
                    say(f"{unit.name}: {len(missing)} offline stages are missing; a later submit takes it")
                    self.left = True
                else:
                    self._log_sizes[unit.name] = unit.log_path.stat().st_size if unit.log_path.exists() else 0
                    self.running[slot] = unit
                    unit.start(self.submission, environment)
                    say(f"{unit.name}: started, process {unit.process.pid if unit.process else 0}")

    def _ended(self, unit: Work) -> None:
        assert unit.process is not None
        code = unit.process.returncode
        if unit.ended_well():
            unit.failed_path.unlink(missing_ok=True)
            say(f"{unit.name}: finished")
        elif unit.was_stopped():
            say(f"{unit.name}: stopped at a checkpoint")
            self.left = True
        else:
            self._failed(unit, code)

    def _failed(self, unit: Work, code: int) -> None:
        lines = tail(unit.log_path, LOG_LINES, self._log_sizes.get(unit.name, 0))
        kills, self._killed = _oom_kills() - self._killed, _oom_kills()
        no_memory = any(map(OUT_OF_MEMORY.search, lines)) or (code == -signal.SIGKILL and kills > 0)
        reason = lines[-1].removeprefix("moore: ") if lines else "no output"
        if code < 0:
            reason = f"killed by {signal.Signals(-code).name}; {reason}"
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


def exit_code(complete: bool) -> int:
    """0: nothing is left to do; 75: told to stop, or something is left to a later submission."""
    return 0 if complete else STOPPED


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
