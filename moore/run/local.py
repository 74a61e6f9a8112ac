"""Runs a study on this machine: one process per core, live display, resumable, then tables and figures."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from moore.base.errors import UserError
from moore.base.lock import locked
from moore.base.machine import threads
from moore.data.d4rl import d4rl_path
from moore.data.ids import resolve
from moore.data.load import self_path
from moore.data.minari import store_entry
from moore.run.folders import set_aside_other_data
from moore.run.stop import StopRequest
from moore.run.work import Work, study_units
from moore.studies.study import Study

POLL_SECONDS = 0.5
LINE_SECONDS = 60.0  # between two status lines where there is no terminal to redraw


def check_datasets(study: Study, root: Path) -> None:
    """UserError before anything is trained if a dataset of the study cannot be made or found."""
    for run in {run.dataset: run for run in study.runs}.values():
        if run.dataset is None:
            continue
        dataset = resolve(run.dataset)
        if dataset.source == "self":
            self_path(dataset, root / "data", run.dataset_transitions, physics=run.physics)
        elif dataset.source == "d4rl":
            d4rl_path(dataset.text)
        elif dataset.source == "minari":
            store_entry(dataset.text)
        elif dataset.path is not None and not dataset.path.is_file():
            raise UserError(f"{run.dataset}: {dataset.path} is not a file; accepted: a file in the D4RL v2 HDF5 schema")


def run_study(study: Study, root: Path, workers: int, device: str = "cpu", stop: StopRequest | None = None) -> None:
    """Train every run of the study that has no finished rows yet, on the data that is there now.

    Raises UserError when a unit fails, or another process trains this study; finished runs are kept and the same call
    goes on with the others. Raises Stopped when `stop` was told, once all units have reached a checkpoint.
    """
    check_datasets(study, root)
    with locked(root / study.name / "lock", f"study {study.name}"):
        for note in set_aside_other_data(root / study.name, study.runs, root):
            print(f"moore: warning: {note}", file=sys.stderr, flush=True)
        units = study_units(study, root, device)
        for unit in units:
            if unit.finished():
                unit.forget_checkpoints()
        waiting = sorted((unit for unit in units if not unit.finished()), key=lambda unit: -unit.cost)
        if waiting:
            _train(units, waiting, workers, stop or StopRequest())


def _train(units: list[Work], waiting: list[Work], workers: int, stop: StopRequest) -> None:
    running: list[Work] = []
    failed: list[Work] = []
    warned: set[str] = set()
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
    started = shown = time.monotonic()
    before = sum(unit.progress() * unit.cost for unit in units)  # done in earlier calls
    told = False
    try:
        with stop.deferred(), Live(console=console, refresh_per_second=2, transient=True) as live:
            while waiting or running:
                while len(running) < workers and not failed and stop.signal is None:
                    busy = {stage for unit in running for stage in unit.missing_stages()}
                    # a stage that another process trains already is waited for, not trained twice
                    ready = next((unit for unit in waiting if not busy & unit.missing_stages()), None)
                    if ready is None:
                        break
                    waiting.remove(ready)
                    ready.start(environment=threads(ready.device, workers))
                    running.append(ready)
                if not running:
                    break
                time.sleep(POLL_SECONDS)
                if stop.signal is not None and not told:
                    told = True
                    for unit in running:
                        unit.tell(stop.signal)
                    console.print(
                        f"{stop.reason}: {len(running)} units write a checkpoint; a second Ctrl-C stops at once"
                    )
                ended = [unit for unit in running if unit.process is not None and unit.process.poll() is not None]
                for warning in [text for unit in running for text in unit.status().get("warnings", [])]:
                    if warning not in warned:
                        warned.add(warning)
                        console.print(f"moore: warning: {warning}", soft_wrap=True, markup=False, highlight=False)
                for unit in ended:
                    running.remove(unit)
                    code = unit.process.returncode if unit.process is not None else None
                    if unit.was_stopped(code):  # not by us: whoever ends units one by one means all of them
                        stop.tell(signal.SIGTERM)
                    elif not unit.ended_well(code):
                        failed.append(unit)
                if console.is_terminal:
                    live.update(_display(units, workers, started, before))
                elif time.monotonic() - shown > LINE_SECONDS:
                    shown = time.monotonic()
                    console.print(_display(units, workers, started, before))
    except BaseException as error:  # a second Ctrl-C, or a unit that cannot be started
        for unit in running:
            unit.tell(signal.SIGKILL if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        for unit in running:
            unit.wait()
        raise
    if failed:
        raise UserError("; ".join(unit.explain() for unit in failed))
    stop.check()


def _display(units: list[Work], workers: int, started: float, before: float) -> Table:
    """What runs, how far, the mean score of each method now, and when it ends."""
    table = Table(title=None, box=None, pad_edge=False)
    for column in ("unit", "stage", "done", "scores now"):
        table.add_column(column, no_wrap=column != "scores now")
    for unit in units:
        status = unit.status()
        label = "done" if unit.finished() else status.get("label", "waiting")
        scores = "  ".join(f"{name} {value:.0f}" for name, value in status.get("scores", {}).items())
        table.add_row(unit.name.rsplit("-", 1)[0], label, f"{100 * unit.progress():.0f} %", scores)
    elapsed = time.monotonic() - started
    total, done = sum(unit.cost for unit in units), sum(unit.progress() * unit.cost for unit in units)
    remaining = elapsed * (total - done) / (done - before) if done - before > 0.02 * total else float("nan")
    eta = f"about {remaining / 60:.0f} min left" if remaining == remaining else "estimating"
    table.caption = f"{elapsed / 60:.1f} min, {eta}, {workers} processes"
    return table
