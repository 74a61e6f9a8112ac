"""What is done about a study's runs: why they failed, trying again, stopping them, reading their logs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from json import dumps
from pathlib import Path
from typing import Any

from moore.base.errors import UserError
from moore.run.claim import read_claim
from moore.run.failures import LOG_LINES, read_failure, tail
from moore.run.units import UnitProcess
from moore.studies.identity import offline_run_id, run_id
from moore.studies.study import Study
from slurm import cluster
from slurm.states import StudyView, task_id


def failures(study: Study, root: Path, json: bool = False) -> None:
    """Print how each failed unit ended: its runs, attempts, exit code, node, last log lines, and where to read more.

    json: one object {study, failures, nodes}; nodes are those on which more than one unit failed, with their number.
    """
    view = StudyView(study, root, ask=False)
    found = [_failure(view, unit) for unit in _failed(view)]
    hosts = Counter(entry["host"] for entry in found)
    nodes = {host: count for host, count in hosts.most_common() if count > 1}
    if json:
        print(dumps({"study": study.name, "failures": found, "nodes": nodes}))
        return
    if not found:
        print(f"{study.name}: nothing has failed")
    for entry in found:
        then = "`moore study retry` tries again" if entry["final"] else "another one comes"
        print(f"{entry['unit']}: {entry['kind']}, attempts: {entry['attempts']}; {then}")
        print(f"  exit code {entry['exit_code']}, node {entry['host']}, job {entry['task']}")
        print(f"  runs    {', '.join(entry['runs'])}\n  config  {entry['config']}\n  log     {entry['log']}")
        print("".join(f"    | {line}\n" for line in entry["lines"]))
    for node, count in nodes.items():
        print(f"{count} of {len(found)} failed on {node}; sbatch: {{exclude: {node}}} in the profile keeps off it")


def retry(study: Study, root: Path, runs: Sequence[str] = ()) -> None:
    """Let failed runs, all or those named, be tried again by the next submit; their checkpoints stay.

    Raises UserError for an unknown run or one that has not failed; then nothing is changed.
    """
    view = StudyView(study, root, ask=False)
    view.check(runs)
    failed = {unit: _runs(view, unit) for unit in _failed(view)}
    names = [name for units_runs in failed.values() for name in units_runs]
    for run in runs:
        if run not in names:
            raise UserError(f"{run}: has not failed; accepted: runs that have: {', '.join(names) or 'none'}")
    again: set[str] = set()
    for unit, units_runs in failed.items():
        if not runs or set(runs) & set(units_runs):
            unit.failed_path.unlink(missing_ok=True)
            again.update(units_runs)
    said = f"the next submit tries again: {len(again)} of its runs" if again else "nothing has failed"
    print(f"{study.name}: {said}")
    _say_others("tried again", again, runs)


def cancel(study: Study, root: Path, runs: Sequence[str] = ()) -> None:
    """End the tasks of SLURM that train or would train these runs, or all of the study; says what else stops with them.

    Raises UserError for an unknown run, and if SLURM cannot be asked.
    """
    view = StudyView(study, root)
    view.check(runs)
    if not view.slurm:
        raise UserError("squeue and sbatch are not on this machine; accepted: cancel where the study was submitted")
    wanted = {unit.name for unit in view.units if set(runs) & set(view.unfinished(unit))}
    for maker in view.offline_units:  # an offline stage that nobody else waits for
        dependants = {unit.name for unit in view.dependants(maker)}
        if dependants and dependants <= wanted:
            wanted.add(maker.name)
    tasks = {task.id: task for name in view.tasks if not runs or name in wanted for task in view.tasks[name]}
    # later arrays first: the end of an array is what those behind it wait for
    order = sorted(tasks, key=lambda task: (int(tasks[task].job), tasks[task].task), reverse=True)
    cluster.cancel(order)
    hit = {name for name, queued in view.tasks.items() if any(task.id in tasks for task in queued)}
    stopped = {run for unit in [*view.units, *view.offline_units] if unit.name in hit for run in _runs(view, unit)}
    print(f"{study.name}: cancelled {', '.join(order) or 'nothing: no task of SLURM has these runs'}")
    if order:
        print(f"  runs that stop: {len(stopped)}; they keep their checkpoints, and the next submit takes them")
    _say_others("stopped", stopped, runs)
    idle = [run for run in runs if run not in stopped]
    if idle:
        print(f"  not in the queue: {', '.join(idle)}")


def logs(study: Study, root: Path, run: str, lines: int = 40) -> None:
    """Print the ends of the logs of a run: of each unit that has trained it, and of the task that had it last.

    Raises UserError for an unknown run.
    """
    if lines < 1:
        raise UserError(f"--lines: {lines} is not accepted; expected 1 or more")
    view = StudyView(study, root, ask=False)
    view.check([run])
    units = list(_trainers(view, run))
    if not units:
        print(f"{run}: has not begun, so it has no log in {view.folder / 'units'}")
    for unit in units:
        claim = read_claim(unit.claim_path) or read_failure(unit)
        files = view.folder.glob(f"submissions/*/jobs/{task_id(claim)}_0_log.*")
        for path in [*sorted(files), unit.log_path]:
            print(f"==> {path} <==")
            with path.open(errors="replace") as file:
                print("".join(deque(file, lines)).rstrip("\n"), end="\n\n")


def _failed(view: StudyView) -> list[UnitProcess]:
    units = [*view.offline_units, *(unit for unit in view.units if view.unfinished(unit))]
    return [unit for unit in units if read_failure(unit)]


def _failure(view: StudyView, unit: UnitProcess) -> dict[str, Any]:
    failure = read_failure(unit)
    return {
        "unit": unit.name,
        "runs": _runs(view, unit),
        **{key: failure.get(key) for key in ("kind", "attempts", "final", "exit_code", "reason", "host", "time")},
        "task": task_id(failure),
        "config": str(unit.spec_path),
        "log": str(unit.log_path),
        "lines": tail(unit.log_path, LOG_LINES),
    }


def _runs(view: StudyView, unit: UnitProcess) -> list[str]:
    """Return the unfinished runs of a unit; of an offline unit: those that wait for it."""
    units = view.dependants(unit) if unit.offline_only else [unit]
    return [run for one in units for run in view.unfinished(one)]


def _trainers(view: StudyView, run: str) -> Iterator[UnitProcess]:
    """Yield the units with a log that have trained a run or its offline stage, the latest last."""
    config = next(config for config in view.study.runs if run_id(config) == run)
    for path in sorted((view.folder / "units").glob("*.log"), key=lambda path: path.stat().st_mtime):
        unit = UnitProcess.read(path.with_suffix(".json"))
        name = offline_run_id if unit.offline_only else run_id
        if name(config) in map(name, unit.runs):
            yield unit


def _say_others(what: str, runs: set[str], named: Sequence[str]) -> None:
    others = sorted(runs - set(named)) if named else []
    if others:
        print(f"  also {what}, as they are trained together with those named: {', '.join(others)}")
