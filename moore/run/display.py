"""What a worker shows: a live table for a person, or lines with their time for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from moore.run.units import UnitProcess

LINE_SECONDS = 60.0  # between two tables where there is no terminal to redraw


class TaskLog:
    """Every line on stderr with its time, and no table: for a task of a cluster. The methods are `Display`'s."""

    def say(self, text: str, routine: bool = False) -> None:
        """Print the line."""
        print(f"moore: {time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def show(self, units: Sequence[UnitProcess]) -> None:
        """Show nothing."""


class Display:
    """A live table of what runs on the terminal, or the table once a minute where there is none.

    units: those of earlier calls, too, for the share that is done. workers: processes at once.
    """

    def __init__(self, units: Sequence[UnitProcess], workers: int) -> None:
        self._workers, self._console = workers, Console(stderr=True, width=None if sys.stderr.isatty() else 140)
        self._finished = [unit for unit in units if unit.finished()]
        self._before = sum(unit.progress() * unit.cost for unit in units)  # done in earlier calls
        self._warned: set[str] = set()
        self._started = self._shown = time.monotonic()
        self._live = Live(console=self._console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def say(self, text: str, routine: bool = False) -> None:
        """Print a line above the table; a routine one, of a start or an end, says what the table shows."""
        if not routine:
            self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def show(self, units: Sequence[UnitProcess]) -> None:
        """Print the units' new warnings, each once, and the table when it is time; called several times a second."""
        for warning in [text for unit in units for text in unit.status().get("warnings", [])]:
            if warning not in self._warned:
                self._warned.add(warning)
                self.say(f"moore: warning: {warning}")
        if self._console.is_terminal:
            self._live.update(self._table(units))
        elif time.monotonic() - self._shown > LINE_SECONDS:
            self._shown = time.monotonic()
            self._console.print(self._table(units))

    def _table(self, units: Sequence[UnitProcess]) -> Table:
        """Return what runs, how far, the mean score of each method now, and when it ends."""
        units = [*self._finished, *units]
        table = Table(title=None, box=None, pad_edge=False)
        for column in ("unit", "stage", "done", "scores now"):
            table.add_column(column, no_wrap=column != "scores now")
        for unit in units:
            status = unit.status()
            label = "done" if unit.finished() else status.get("label", "waiting")
            scores = "  ".join(f"{name} {value:.0f}" for name, value in status.get("scores", {}).items())
            table.add_row(unit.name.rsplit("-", 1)[0], label, f"{100 * unit.progress():.0f} %", scores)
        elapsed = time.monotonic() - self._started
        total, done = sum(unit.cost for unit in units), sum(unit.progress() * unit.cost for unit in units)
        gained = done - self._before
        eta = f"about {elapsed * (total - done) / gained / 60:.0f} min left" if gained > 0.02 * total else "estimating"
        table.caption = f"{elapsed / 60:.1f} min, {eta}, {self._workers} processes"
        return table
