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
        print(f"{entry['unit']}: {entry['kind']}, {_next(entry)}")
        print(f"  exit code {_or_dash(entry['exit_code'])}, node {entry['host']}, job {_or_dash(entry['task'])}")
        print(f"  runs    {', '.join(entry['runs'])}\n  config  {entry['config']}\n  log     {entry['log']}")
        print("".join(f"    | {line}\n" for line in entry["lines"]))
    for node, count in nodes.items():
        print(f"{count} of {len(found)} failed on {node}; --exclude={node} (`exclude: {node}` under `sbatch` in the")
        print("  profile) keeps the next submissions off it")


def retry(study: Study, root: Path, runs: Sequence[str] = ()) -> None:
    """Let failed runs, all or those named, be tried again by the next submit; their checkpoints stay.

    Raises UserError for an unknown run or one that has not failed; then nothing is changed.
    """
    view = StudyView(study, root, ask=False)
    view.check(runs)
    failed = _failed(view)
    for run in runs:
        if not any(run in _runs(view, unit) for unit in failed):
            names = ", ".join(name for unit in failed for name in _runs(view, unit)) or "none"
            raise UserError(f"{run}: has not failed; accepted: runs that have: {names}")
    chosen = [unit for unit in failed if not runs or set(runs) & set(_runs(view, unit))]
    for unit in chosen:
        unit.failed_path.unlink(missing_ok=True)
    again = {run for unit in chosen for run in _runs(view, unit)}
    print(
        f"{study.name}: {f'the next submit tries again: {len(again)} of its runs' if again else 'nothing has failed'}"
    )
    _say_others("tried again", again, runs)


def cancel(study: Study, root: Path, runs: Sequence[str] = ()) -> None:
    """End the tasks of SLURM that train or would train these runs, or all of the study; says what else stops with them.

    Raises UserError for an unknown run, and if SLURM cannot be asked.
    """
    view = StudyView(study, root)
    view.check(runs)
    if not view.slurm:
        raise UserError("squeue and sbatch are not on this machine; accepted: cancel where the study was submitted")
    wanted = {view.unit_of[run].name for run in runs if run in view.unit_of and run not in view.done}
    for maker in view.offline_units:  # an offline stage that nobody else waits for
        dependants = {unit.name for unit in view.dependants(maker)}
        if dependants and dependants <= wanted:
            wanted.add(maker.name)
    ids = [task for task, names in view.names.items() if not runs or wanted & set(names)]
    # later arrays first: the end of an array is what those behind it wait for
    cluster.cancel(sorted(ids, key=lambda name: [int(part) for part in name.split("_")], reverse=True))
    stopped = {run for task in ids for name in view.names[task] for run in _unfinished(view, name)}
    print(f"{study.name}: cancelled {', '.join(ids) or 'nothing: no task of SLURM has these runs'}")
    if ids:
        print(f"  runs that stop: {len(stopped)}; they keep their checkpoints, and the next submit takes them")
    _say_others("stopped", stopped, runs)
    idle = [run for run in runs if run not in stopped]
    if idle:
        print(f"  not in the queue: {', '.join(idle)}")
    for unit in view.units:
        claim = read_claim(unit.claim_path)
        local = claim is not None and claim.get("job") is None and view.unfinished(unit)
        if claim is not None and local and view.state(unit).state in ("running", "claimed"):
            print(f"  {unit.name} is trained by process {claim['pid']} on {claim['host']}, not by SLURM: stop it there")


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


def _unfinished(view: StudyView, name: str) -> list[str]:
    return [run for unit in [*view.units, *view.offline_units] if unit.name == name for run in _runs(view, unit)]


def _trainers(view: StudyView, run: str) -> Iterator[UnitProcess]:
    """Yield the units with a log that have trained a run or its offline stage, the latest last."""
    config = next(config for config in view.study.runs if run_id(config) == run)
    stage = offline_run_id(config) if config.dataset is not None else None
    logs = sorted((view.folder / "units").glob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in logs:
        unit = UnitProcess.read(path.with_suffix(".json"))
        stages = {offline_run_id(one) for one in unit.runs if unit.offline_only and one.dataset is not None}
        if run in map(run_id, unit.runs) if not unit.offline_only else stage in stages:
            yield unit


def _next(entry: dict[str, Any]) -> str:
    attempts = f"{entry['attempts']} attempt{'s' * (entry['attempts'] != 1)}"
    return f"{attempts}; `moore study retry` tries again" if entry["final"] else f"{attempts}; another one comes"


def _say_others(what: str, runs: set[str], named: Sequence[str]) -> None:
    others = sorted(runs - set(named)) if named else []
    if others:
        print(f"  also {what}, as they are trained together with those named: {', '.join(others)}")


def _or_dash(value: Any) -> Any:
    return "-" if value is None else value
