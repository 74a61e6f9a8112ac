"""Runs a study on this machine: units side by side, live display, resumable."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from moore.base.errors import UserError
from moore.base.lock import locked
from moore.data.d4rl import d4rl_path
from moore.data.hdf5 import keys
from moore.data.ids import resolve
from moore.run.display import Display
from moore.run.folders import run_data_identity, set_aside_other_data
from moore.run.stop import Stopped, StopRequest
from moore.run.units import UnitProcess, study_units
from moore.run.worker import ATTEMPTS, Worker
from moore.studies.study import Study


def check_datasets(study: Study) -> None:
    """Raise UserError, before anything is trained, if a dataset of the study cannot be made, found or read as asked."""
    ids: dict[str, str] = {}  # identity of the data -> its id
    for run in {run.dataset: run for run in study.runs}.values():
        if run.dataset is None:
            continue
        dataset = resolve(run.dataset)
        if dataset.source == "d4rl":
            d4rl_path(dataset.text)
        elif dataset.path is not None and not dataset.path.is_file():
            raise UserError(f"{run.dataset}: {dataset.path} is not a file; accepted: a file in the D4RL v2 HDF5 schema")
        else:
            twin = ids.setdefault(run_data_identity(run), run.dataset)
            if twin != run.dataset:
                raise UserError(f"{run.dataset}: is {twin} again, and would count as another task; accepted: one id")
        if dataset.path is not None and run.keep_timeouts and "next_observations" not in keys(dataset.path):
            raise UserError(f"{run.dataset}: has no 'next_observations'; accepted: keep_timeouts: false")


def use_all(units: list[UnitProcess], slots: int) -> list[UnitProcess]:
    """Halve the longest units, between their seeds, until no slot stays empty; those that have begun stay whole."""
    while sum(not unit.finished() for unit in units) < slots:
        new = [unit for unit in units if not (unit.finished() or unit.checkpoint_folders())]
        whole = [unit for unit in new if len({run.seed for run in unit.runs}) > 1]
        if not whole:
            break
        longest = max(whole, key=lambda unit: unit.cost)
        at = units.index(longest)
        units = [*units[:at], *longest.split("idle cores"), *units[at + 1 :]]
    return units


def run_study(
    study: Study,
    root: Path,
    slots: Sequence[Mapping[str, str]],
    device: str = "cpu",
    stop: StopRequest | None = None,
    attempts: int = ATTEMPTS,
) -> None:
    """Train every run of the study that has no finished rows yet, on the data that is there now.

    slots, attempts: see `Worker`. Units that failed in an earlier call are tried again. Raises UserError naming those
    that failed, once all others are done, or if another process trains this study. Raises Stopped, once all units have
    reached a checkpoint, when `stop` was told or somebody else has stopped a unit.
    """
    check_datasets(study)
    stop = stop or StopRequest()
    with locked(root / study.name / "lock", f"study {study.name}"):
        for note in set_aside_other_data(root / study.name, study.runs, root):
            print(f"moore: warning: {note}", file=sys.stderr, flush=True)
        units = use_all(study_units(study, root, device), len(slots))
        waiting = sorted((unit for unit in units if not unit.finished()), key=lambda unit: -unit.cost)
        for unit in units:
            unit.failed_path.unlink(missing_ok=True)
            if unit.finished():
                unit.forget_checkpoints()
        if waiting:
            with stop.deferred(), Display(units, len(slots)) as display:
                worker = Worker(waiting, slots, display, attempts)
                worker.run(stop)
            worker.raise_for_failures()
            stop.check()
            if worker.left:
                raise Stopped("some units were told to stop")
