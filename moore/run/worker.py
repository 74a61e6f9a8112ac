"""The worker: trains units side by side, each in a process of its own, wherever units are trained.

`moore reproduce`, `moore study submit --local` and every task of a cluster use it. A unit that fails never takes
another with it: it is tried again, goes on as two halves where it ran out of memory, and is given up after so many
attempts.
"""

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from moore.base.errors import Unavailable, UserError
from moore.run.display import Display, TaskLog
from moore.run.failures import LOG_LINES, OUT_OF_MEMORY, oom_kills, record_failure, tail
from moore.run.stop import SIGNALS, STOPPED, StopRequest
from moore.run.units import UnitProcess

POLL_SECONDS = 0.5
ATTEMPTS = 2  # unless a profile says otherwise


class Worker:
    """Runs units until each is finished, has failed too often, or is told to stop.

    slots: environment variables for each of as many units as run at once. submission: see `UnitProcess`.
    """

    def __init__(
        self,
        units: Sequence[UnitProcess],
        slots: Sequence[Mapping[str, str]],
        view: Display | TaskLog,
        attempts: int = ATTEMPTS,
        submission: str | None = None,
    ) -> None:
        self.units = list(units)  # a unit that was halved is replaced by its halves
        self.waiting, self.running = list(units), dict[int, UnitProcess]()
        self.left = False  # whether a unit is left to a later call
        self._slots, self._view, self._attempts = slots, view, attempts
        self._submission = submission
        self._told = False  # to stop
        self._log_sizes: dict[str, int] = {}
        self._kills = oom_kills()

    def run(self, stop: StopRequest) -> bool:
        """Work until nothing is left to start. Returns whether every unit is finished or has failed for good.

        Once `stop` is told, units write checkpoints first. Whatever is raised in here, such as a second Ctrl-C, ends
        them first.
        """
        try:
            while self.waiting or self.running:
                if stop.signal is not None and not self._told:
                    self._tell(stop)
                self._fill()
                time.sleep(POLL_SECONDS)
                self._view.show(self.units)
                for slot, unit in list(self.running.items()):
                    if unit.process is not None and unit.process.poll() is not None:
                        self.running.pop(slot)
                        self._ended(unit, unit.process.returncode)
                if self._told:
                    self.waiting.clear()  # nothing is tried again now
        except BaseException as error:
            running = [unit.process for unit in self.running.values() if unit.process is not None]
            for process in running:
                process.send_signal(signal.SIGKILL if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
            for process in running:
                process.wait()
            raise
        return not self.left

    def raise_for_failures(self) -> None:
        """Raise UserError naming every unit that has failed, how, and its log; after a stop, only those given up."""
        failures = [(unit, unit.failure()) for unit in self.units if not unit.finished()]
        said = [
            f"{unit.name} {failure['kind']}: {failure['reason']} (log: {unit.log_path})"
            for unit, failure in failures
            if failure and (failure["final"] or not self._told)
        ]
        if said:
            raise UserError("; ".join([f"{len(said)} of {len(self.units)} units failed", *said]))

    def _tell(self, stop: StopRequest) -> None:
        again = "; a second Ctrl-C stops at once" if stop.signal == signal.SIGINT else ""
        self._view.say(f"{stop.reason}: {len(self.running)} units write a checkpoint{again}")
        self._told = self.left = True
        self.waiting.clear()
        for unit in self.running.values():
            if unit.process is not None and stop.signal is not None:
                unit.process.send_signal(stop.signal)

    def _ready(self) -> UnitProcess | None:
        """Return the next unit whose offline stages no other one trains at this moment."""
        busy = {stage for unit in self.running.values() for stage in unit.missing_stages()}
        for unit in list(self.waiting):
            if unit.finished():
                self.waiting.remove(unit)
                unit.failed_path.unlink(missing_ok=True)
            elif not busy & unit.missing_stages():
                return unit
        return None

    def _fill(self) -> None:
        for slot, environment in enumerate(self._slots):
            unit = self._ready() if slot not in self.running else None
            if unit is None:
                continue
            self._log_sizes[unit.name] = unit.log_path.stat().st_size if unit.log_path.exists() else 0
            self.running[slot] = unit
            self.waiting.remove(unit)
            try:
                unit.start(self._submission, environment)
                self._view.say(f"{unit.name}: started, process {unit.process.pid if unit.process else 0}", routine=True)
            except Unavailable as error:
                del self.running[slot]
                self._leave(unit, str(error))

    def _ended(self, unit: UnitProcess, code: int) -> None:
        if code == 0 and unit.finished():
            unit.failed_path.unlink(missing_ok=True)
            self._view.say(f"{unit.name}: finished", routine=True)
        elif code in (STOPPED, *(-number for number in SIGNALS)):  # also by a signal before it listened
            self._view.say(f"{unit.name}: stopped at a checkpoint", routine=self._told)
            self.left = True
        else:
            self._failed(unit, code)

    def _leave(self, unit: UnitProcess, reason: str) -> None:
        """Leave a unit to a later call: a full disk, say, is not the unit's fault, and no better at once."""
        self._view.say(f"{unit.name}: {reason}; left to a later call")
        self.left = True
        with suppress(Unavailable):
            record_failure(unit, "failed", reason, unit.failure().get("attempts", 0), final=False)

    def _failed(self, unit: UnitProcess, code: int) -> None:
        """Record a failed attempt; try again, halve the unit, or give it up."""
        lines = tail(unit.log_path, LOG_LINES, self._log_sizes.get(unit.name, 0))
        by_kernel = code == -signal.SIGKILL and oom_kills() > self._kills
        self._kills += by_kernel
        no_memory = by_kernel or any(map(OUT_OF_MEMORY.search, lines))
        reason = lines[-1].removeprefix("moore: ") if lines else "no output"
        if code < 0:
            reason = f"killed by {signal.Signals(-code).name}; {reason}"
        if code == Unavailable.exit_code:
            self._leave(unit, reason)
            return
        attempts = unit.failure().get("attempts", 0) + 1
        if no_memory and len(unit.runs) > 1:
            unit.forget_checkpoints()
            halves = unit.split(f"out of memory: {reason}")
            self.waiting = [*halves, *self.waiting]
            self.units = [part for one in self.units for part in (halves if one is unit else [one])]
            self._view.say(f"{unit.name}: out of memory with {len(unit.runs)} runs at once; goes on as two halves")
            return
        bad_input = code == UserError.exit_code  # another attempt ends the same
        final = attempts >= self._attempts or bad_input
        kind = "out of memory" if no_memory else "bad input" if bad_input else "failed"
        record_failure(unit, kind, reason, attempts, code, final)
        said = kind if bad_input else f"{kind}, attempt {attempts} of {self._attempts}"
        self._view.say(f"{unit.name}: {said}: {reason}")
        if not final:
            self.waiting.insert(0, unit)  # before others that would train its offline stage in another company
