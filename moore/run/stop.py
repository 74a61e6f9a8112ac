"""Being told to stop: a signal ends the process at its next safe point, with a checkpoint and exit code 75."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from moore.base.errors import UserError

STOPPED = os.EX_TEMPFAIL  # 75: told to stop, not failed; the same command goes on
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Stopped(SystemExit):
    """Ends the process with exit code 75; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(STOPPED)
        self.reason = reason


class StopRequest:
    """Whether this process has been told to stop, and by which signal.

    Inside `deferred()` a signal is remembered until the next safe point; elsewhere nothing would be lost, and it raises
    Stopped on the spot. A second SIGINT raises KeyboardInterrupt wherever it comes.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._deferred = self._interrupted = False

    @property
    def reason(self) -> str | None:
        """Why to stop; None: go on."""
        return None if self.signal is None else f"told to stop by {self.signal.name}"

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Hear SIGNALS; only in a process's main thread."""
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Remember signals during the block, whose safe points look at `reason`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def tell(self, number: signal.Signals) -> None:
        """Stop at the next safe point, as if the signal had come."""
        self.signal = self.signal or number

    def check(self) -> None:
        if self.signal is not None:
            raise Stopped(self.reason or "")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = self._interrupted or number == signal.SIGINT
        first = self.signal is None
        if first or number == signal.SIGTERM:  # a task that is warned, then cancelled, is cancelled
            self.signal = signal.Signals(number)
        if first and not self._deferred:
            self.check()


def exit_code(name: str, main: Callable[[], int | None]) -> int:
    """Run a program; what ends it early is one line on stderr. Returns its exit code."""
    try:
        return main() or 0
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stopped:
        print(f"{name}: {stopped.reason}; the same command goes on", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        return 130


MOST_SHARE = 0.03  # of the time may go into checkpoints


class SafePoints:
    """A stage calls it wherever it could be saved; it saves when that is due, and when the process is told to stop.

    A checkpoint is due `seconds` after the last, or so much later that writing takes at most MOST_SHARE of the time.
    """

    def __init__(self, save: Callable[[], None], stop: StopRequest, seconds: float, parent: int | None = None) -> None:
        self._save, self._stop, self._seconds, self._parent = save, stop, seconds, parent
        self._due = time.monotonic() + seconds

    def __call__(self) -> None:
        """Save if that is due. Raises Stopped, after a checkpoint, if a signal came or the parent process is gone."""
        reason = self._stop.reason
        if self._parent is not None and os.getppid() != self._parent:
            reason = "the parent process is gone"
        if reason is not None or time.monotonic() >= self._due:
            self.save()
        if reason is not None:
            raise Stopped(reason)

    def save(self) -> None:
        begin = time.monotonic()
        self._save()
        end = time.monotonic()
        self._due = end + max(self._seconds, (end - begin) / MOST_SHARE)
