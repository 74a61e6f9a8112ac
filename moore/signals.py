"""Being told to stop: a signal ends the process at its next safe point, with a checkpoint and exit code 75."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
        """The block has safe points, which look at `reason`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def tell(self, number: signal.Signals) -> None:
        """As if the signal had come, for the next safe point."""
        self.signal = self.signal or number

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.signal is not None:
            raise Stopped(self.reason or "")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = self._interrupted or number == signal.SIGINT
        if self.signal is None:
            self.signal = signal.Signals(number)
            if not self._deferred:
                self.check()
