"""Safe points: moments at which all that a stage needs to go on can be written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from moore.signals import Stopped, StopRequest

MOST_SHARE = 0.03  # of the time may go into checkpoints


class SafePoints:
    """A stage calls it wherever it could be saved; it saves when that is due, and when the process is told to stop.

    The next checkpoint is due `seconds` after the last, and later if that took long, so that writing costs at most
    MOST_SHARE of the time. time.monotonic: a clock that is set does not matter.
    """

    def __init__(self, save: Callable[[], None], stop: StopRequest, seconds: float, parent: int | None = None) -> None:
        self._save, self._stop, self._seconds, self._parent = save, stop, seconds, parent
        self._due = time.monotonic() + seconds

    def __call__(self) -> None:
        """A safe point. Raises Stopped, after a checkpoint, if a signal came or the parent process is gone."""
        reason = self._stop.reason
        if self._parent is not None and os.getppid() != self._parent:
            reason = "the parent process is gone"
        if reason is not None or time.monotonic() >= self._due:
            self.save()
        if reason is not None:
            raise Stopped(reason)

    def save(self) -> None:
        """Write a checkpoint now."""
        begin = time.monotonic()
        self._save()
        end = time.monotonic()
        self._due = end + max(self._seconds, (end - begin) / MOST_SHARE)
