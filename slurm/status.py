"""`moore study status`: how many runs are where, and a line for each that is not finished."""

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from json import dumps
from pathlib import Path
from time import localtime, sleep, strftime
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from moore.base.errors import UserError
from moore.run.folders import read_manifest
from moore.studies.study import Study
from slurm.states import STATES, StudyView

WATCH_SECONDS = 30.0  # between two looks: all users share the controller that squeue asks
WIDTH = 200  # where there is no terminal; what is longer is folded, never cut
ALWAYS = ("running", "pending", "failed")  # said even of no run


def status(study: Study, root: Path, json: bool = False, watch: bool = False) -> None:
    """Print where every run is.

    json: one object, see `look`. watch: look again and again, until all runs are finished or Ctrl-C. Raises UserError
    if SLURM is there but cannot be asked.
    """
    if json and watch:
        raise UserError("--watch: not with --json; accepted: one of them")
    facts, looked = look(study, root), localtime()
    if json:
        print(dumps(facts))
        return
    console = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(_display(facts))
    with suppress(KeyboardInterrupt):
        while watch and facts["runs"]:
            sleep(WATCH_SECONDS)
            try:
                facts, looked = look(study, root), localtime()
            except UserError as error:  # a controller that restarts is no reason to stop looking
                facts = facts | {"note": f"{error}; this is of {strftime('%H:%M:%S', looked)}"}
            console.clear()
            console.print(_display(facts))


def look(study: Study, root: Path) -> dict[str, Any]:
    """Return everything that `status` shows.

    Keys: study; note, or None; counts, of which all = done + the states of slurm/states.py, and diverged are some of
    done; runs, those that are not finished, with run, unit, progress (share of the unit, 0 to 1) and the fields of
    slurm.states.UnitState. None stands for what is not known.
    """
    view = StudyView(study, root)
    runs: list[dict[str, Any]] = []
    for unit in (unit for unit in view.units if view.unfinished(unit)):
        facts = {"unit": unit.name, "progress": round(unit.progress(), 4), **asdict(view.state(unit))}
        runs += [{"run": run} | facts for run in view.unfinished(unit)]
    diverged = sum(bool(read_manifest(view.folder / "runs" / run).get("diverged")) for run in view.done)
    states = Counter(run["state"] for run in runs)
    counts = {"all": len(study.runs), "done": len(view.done), "diverged": diverged}
    counts |= {state: states[state] for state in STATES}
    note = None if view.slurm else "SLURM's commands are not on this machine: only files were looked at"
    if not view.folder.exists():
        note = f"{view.folder} is not there: nothing was trained or submitted with this --root"
    return {"study": study.name, "note": note, "counts": counts, "runs": runs}


def _display(facts: dict[str, Any]) -> Group:
    counts = facts["counts"]
    said = [f"{counts['all']} runs", f"{counts['done']} done ({counts['diverged']} diverged)"]
    said += [f"{counts[state]} {state}" for state in STATES if counts[state] or state in ALWAYS]
    table = Table(box=None, pad_edge=False)
    for column in ("run", "state", "node", "done", "reason"):
        table.add_column(column, overflow="fold", justify="right" if column == "done" else "left")
    for run in facts["runs"]:
        table.add_row(run["run"], run["state"], run["node"] or "-", f"{100 * run['progress']:.0f} %", run["reason"])
    again = counts["stopped"] + counts["todo"]
    next_submit = f"the next `moore study submit` takes {again} of these runs" if again else None
    below = table if facts["runs"] else None, facts["note"], next_submit
    return Group(f"{facts['study']}: {', '.join(said)}", *(part for part in below if part is not None))
