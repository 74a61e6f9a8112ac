"""What is done about a study's runs: why they failed, trying again, stopping them."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from json import dumps
from pathlib import Path

from moore.base.errors import UserError
from moore.run.failures import LOG_LINES, tail
from moore.studies.study import Study
from slurm import cluster
from slurm.states import StudyView, place

KEPT = ("kind", "attempts", "final", "exit_code", "reason", "task", "time")  # of the record of a failure


def failures(study: Study, root: Path, json: bool = False) -> None:
    """Print how each failed unit ended, and the nodes on which more than one did, with their number.

    json: one object {study, failures, nodes} instead.
    """
    view = StudyView(study, root, ask=False)
    found = []
    for unit, failure in view.failed().items():
        entry = {"unit": unit.name, "runs": view.unfinished(unit)} | {key: failure[key] for key in KEPT}
        files = {"config": str(unit.spec_path), "log": str(unit.log_path), "lines": tail(unit.log_path, LOG_LINES)}
        found.append(entry | {"node": place(failure)} | files)
    nodes = {node: count for node, count in Counter(entry["node"] for entry in found).most_common() if count > 1}
    if json:
        print(dumps({"study": study.name, "failures": found, "nodes": nodes}))
        return
    if not found:
        print(f"{study.name}: nothing has failed")
    for entry in found:
        then = "`moore study retry` tries again" if entry["final"] else "another one comes"
        print(f"{entry['unit']}: {entry['kind']}, attempts: {entry['attempts']}; {then}")
        print(f"  exit code {entry['exit_code']}, node {entry['node']}, task {entry['task']}")
        print(f"  runs    {', '.join(entry['runs'])}\n  config  {entry['config']}\n  log     {entry['log']}")
        print("".join(f"    | {line}\n" for line in entry["lines"]))
    for node, count in nodes.items():
        print(f"{count} of {len(found)} failed on {node}; sbatch: {{exclude: {node}}} in the profile keeps off it")


def retry(study: Study, root: Path, runs: Sequence[str] = ()) -> None:
    """Forget the failures of runs, by default of all. UserError, and no change: a run unknown or not failed."""
    view = StudyView(study, root, ask=False)
    view.check(runs)
    failed = {unit: view.unfinished(unit) for unit in view.failed()}
    names = list(chain(*failed.values()))
    for run in runs:
        if run not in names:
            raise UserError(f"{run}: has not failed; accepted: runs that have: {', '.join(names) or 'none'}")
    chosen = {unit: its_runs for unit, its_runs in failed.items() if not runs or set(runs) & set(its_runs)}
    for unit in chosen:
        unit.failed_path.unlink(missing_ok=True)
    again = set(chain(*chosen.values()))
    said = f"the next submit tries again: {len(again)} of its runs" if again else "nothing has failed"
    print(f"{study.name}: {said}")
    _say_others("tried again", again, runs)


def cancel(study: Study, root: Path, runs: Sequence[str] = ()) -> None:
    """End the tasks that have these runs, by default all. UserError: an unknown run, or SLURM cannot be asked."""
    view = StudyView(study, root)
    view.check(runs)
    if not view.slurm:
        raise UserError("squeue and sbatch are not on this machine; accepted: cancel where the study was submitted")
    wanted = {unit.name for unit in view.units if not runs or set(runs) & set(view.unfinished(unit))}
    tasks = {task.id for name in view.tasks if not runs or name in wanted for task in view.tasks[name]}
    cluster.cancel(sorted(tasks))
    hit = {name for name, queued in view.tasks.items() if any(task.id in tasks for task in queued)}
    stopped = {run for unit in view.units if unit.name in hit for run in view.unfinished(unit)}
    print(f"{study.name}: cancelled {', '.join(sorted(tasks)) or 'nothing: no task of SLURM has these runs'}")
    if tasks:
        print(f"  runs that stop: {len(stopped)}; they keep their checkpoints, and the next submit takes them")
    _say_others("stopped", stopped, runs)
    idle = [run for run in runs if run not in stopped]
    if idle:
        print(f"  not in the queue: {', '.join(idle)}")


def _say_others(what: str, runs: set[str], named: Sequence[str]) -> None:
    others = sorted(runs - set(named)) if named else []
    if others:
        print(f"  also {what}, as they are trained together with those named: {', '.join(others)}")
