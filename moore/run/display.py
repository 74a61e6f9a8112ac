"""What a worker shows: the scores so far for a person, or lines with their time for a log."""

import heapq
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from moore.base.words import duration
from moore.run.units import UnitProcess
from moore.studies.identity import dataset_label

LINE_SECONDS = 60.0  # between two lines where there is no terminal to redraw
NOTEBOOK_SECONDS = 2.0
KNOWN = 0.02  # share of all work after which a time left is more than a guess


class TaskLog:
    """Every line on stderr with its time, and no table: for a task of a cluster. The methods are `Display`'s."""

    def say(self, text: str, routine: bool = False) -> None:
        print(f"moore: {time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def show(self, units: Sequence[UnitProcess]) -> None:
        """Show nothing."""


class Display:
    """The scores so far, what runs and the time left: live on a terminal or in a notebook, else a line a minute.

    units: those of earlier calls, too, for the share that is done. workers: processes at once.
    """

    def __init__(self, units: Sequence[UnitProcess], workers: int) -> None:
        self._console, self._clock = Console(stderr=True), Clock(workers)
        self._finished = [unit for unit in units if unit.finished()]
        self._warned: set[str] = set()
        self._started = self._shown = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._place: Any = None  # in a notebook's output, which is redrawn

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def say(self, text: str, routine: bool = False) -> None:
        """Print a line above the table; a routine one, of a start or an end, says what the table shows."""
        if not routine:
            self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def show(self, units: Sequence[UnitProcess]) -> None:
        """Print the units' new warnings, each once, and the rest when it is time; called twice a second."""
        for warning in [text for unit in units for text in unit.status().get("warnings", [])]:
            if warning not in self._warned:
                self._warned.add(warning)
                self.say(f"moore: warning: {warning}")
        now, units = time.monotonic(), [*self._finished, *units]
        self._clock.look(units, now)
        if self._console.is_terminal:
            self._live.update(self._table(units, now), refresh=True)
        elif now - self._shown > (NOTEBOOK_SECONDS if self._console.is_jupyter else LINE_SECONDS):
            self._shown = now
            if self._console.is_jupyter:
                self._redraw(self._table(units, now))
            else:
                self.say(self._line(units, now))

    def _redraw(self, table: Table) -> None:
        """Draw over what a notebook's cell has shown before."""
        from IPython.display import display

        if self._place is None:
            self._place = display(table, display_id=True)
        else:
            self._place.update(table)

    def _table(self, units: Sequence[UnitProcess], now: float) -> Table:
        """Return the last score of every method on every task, with the stage and its share where it is not the end."""
        tasks, methods = dict[str, None](), dict[str, dict[str, str]]()
        for unit in units:
            tasks[_task(unit)] = None
            scores, within = unit.status().get("scores", {}), ""
            if not unit.finished():
                stage = str(unit.status().get("label", "waits")).split(":")[0]
                within = f" {stage} {100 * unit.progress():.0f}%" if unit.running else " waits"
            for method in dict.fromkeys(run.method for run in unit.runs):
                score = scores.get(method, next(iter(scores.values()), None))  # offline, the stage has another name
                words = "" if score is None else f"{score:.0f}"
                methods.setdefault(method, {})[_task(unit)] = f"{words}{within}".strip()
        table = Table("score now", *tasks, box=None, pad_edge=False, caption=self._where(units, now))
        for method, cells in methods.items():
            table.add_row(method, *(cells.get(task, "") for task in tasks))
        return table

    def _line(self, units: Sequence[UnitProcess], now: float) -> str:
        """Return what runs, how far it is and its scores, in one line."""
        words = []
        for unit in (unit for unit in units if unit.running and not unit.finished()):
            status = unit.status()
            scores = " ".join(f"{method} {score:.0f}" for method, score in status.get("scores", {}).items())
            words.append(f"{_task(unit)} {status.get('label', 'starts')} {100 * unit.progress():.0f}% {scores}".strip())
        return "; ".join([self._where(units, now), *words])

    def _where(self, units: Sequence[UnitProcess], now: float) -> str:
        """Say how long it has run, how much is done, and how long the rest takes."""
        share, left = _done(units) / max(1.0, sum(unit.cost for unit in units)), self._clock.left(units)
        words = "time left: not known yet" if left is None else f"about {duration(left)} left, then tables and figures"
        return f"{duration(now - self._started)}, {100 * share:.0f} % done, {words}"


class Clock:
    """Says when the last unit ends: what remains of their costs at the speed so far, as the worker will take them."""

    def __init__(self, workers: int) -> None:
        self._workers, self._busy = workers, 0.0  # seconds of all units that were seen to run
        self._last: float | None = None  # time of the last look
        self._before = 0.0  # cost done at the first

    def look(self, units: Sequence[UnitProcess], now: float) -> None:
        if self._last is None:
            self._before = _done(units)
        else:
            self._busy += (now - self._last) * sum(unit.running for unit in units)
        self._last = now

    def left(self, units: Sequence[UnitProcess]) -> float | None:
        """Return the seconds until the last unit ends; None where too little has run to say."""
        gained = _done(units) - self._before
        if gained <= KNOWN * sum(unit.cost for unit in units):
            return None
        in_order = sorted(units, key=lambda unit: (not unit.running, -unit.cost))
        rest = [(1 - unit.progress()) * unit.cost for unit in in_order]
        return last_end(rest, self._workers) * self._busy / gained


def last_end(times: Iterable[float], workers: int) -> float:
    """Return when the last of some pieces of work ends, each begun, in their order, by whoever is free."""
    ends = [0.0] * workers
    for taken in times:
        heapq.heapreplace(ends, ends[0] + taken)
    return max(ends)


def _done(units: Sequence[UnitProcess]) -> float:
    """Return how much of the units' cost is done."""
    return sum(unit.progress() * unit.cost for unit in units)


def _task(unit: UnitProcess) -> str:
    """Name the task of a unit without the source of its data."""
    return dataset_label(unit.runs[0]).split(":", 1)[-1]
