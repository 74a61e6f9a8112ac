"""Run folders, <root>/<study>/runs/<run id>: which are finished, and on the data that is there now."""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from moore.algorithm.config import RunConfig, to_mapping
from moore.base.errors import UserError
from moore.base.files import read_json, write_json
from moore.base.strict import dotted
from moore.data.hdf5 import Dataset, dataset_hash
from moore.data.load import data_identity, load_dataset
from moore.studies.identity import offline_stages, run_id
from moore.studies.study import Study


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run, which is written last; empty without one."""
    return read_json(folder / "manifest.json")


def is_finished(folder: Path, config: RunConfig) -> bool:
    """Tell whether a folder has this run's manifest and rows. UserError, naming the keys: it is of another run."""
    manifest = read_manifest(folder)
    if not manifest:
        return False
    check_same(f"{folder}", manifest["config"], to_mapping(config))
    rows = folder / "rows.csv"
    return rows.is_file() and manifest.get("rows_bytes", rows.stat().st_size) == rows.stat().st_size


def finished_runs(study: Study, root: Path) -> list[RunConfig]:
    """Return the runs of a study that have their rows below root. Raises UserError as `is_finished`."""
    return [run for run in study.runs if is_finished(root / study.name / "runs" / run_id(run), run)]


def check_same(where: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise UserError naming every key in which two configurations of one run id differ.

    A key that only one has is of a newer or older version: it has its default, or the id would be another.
    """
    old, new = dotted(there), dotted(here)
    changed = [key for key in old if key in new and old[key] != new[key]]
    if changed:
        words = ", ".join(f"{key} is {old[key]!r} there and {new[key]!r} here" for key in changed)
        raise UserError(f"{where}: is of another run: {words}; accepted: the same, or another folder")


def set_aside_other_data(study_folder: Path, runs: Iterable[RunConfig], root: Path) -> list[str]:
    """Move away run folders that were trained on other data than their dataset's id stands for now.

    They go to <study>/other-data/<run id>-<hash of the data>. Returns a sentence for each dataset concerned. Raises
    UserError for one that cannot be read; only those whose file or recipe looks changed are.
    """
    moved = Counter[str]()
    with_data = [run for run in runs if run.dataset is not None]
    folders = {run_id(run): run for run in with_data} | offline_stages(with_data)
    first: dict[tuple[Any, ...], RunConfig] = {}  # with a dataset of that size and physics
    identity = cache(run_data_identity)
    content = cache(lambda run: dataset_hash(run_dataset(run, root)))
    for name, run in folders.items():
        folder = study_folder / "runs" / name
        manifest = read_manifest(folder)
        if not manifest.get("dataset"):
            continue
        one = first.setdefault((run.dataset, run.dataset_transitions, run.physics), run)
        if manifest.get("data_identity") == identity(one):
            continue
        old = manifest["dataset"]["sha256"]
        if old == content(one):  # copied, touched, or made by another recipe: the same numbers
            write_json(folder / "manifest.json", manifest | {"data_identity": identity(one)})
            continue
        target = study_folder / "other-data" / f"{name}-{old[:8]}"
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        moved[str(run.dataset)] += 1
    where = f"they start again, their rows are in {study_folder / 'other-data'}"
    words = "runs and offline stages were trained on"
    return [f"{dataset} is not what {count} {words}; {where}" for dataset, count in moved.items()]


def run_dataset(config: RunConfig, root: Path) -> Dataset:
    """Load the dataset of a run; a self-made one is generated on first use. Raises as `load_dataset` does."""
    size, physics = config.dataset_transitions, config.physics
    return load_dataset(str(config.dataset), root / "data", transitions=size, physics=physics)


def run_data_identity(config: RunConfig) -> str:
    return data_identity(str(config.dataset), config.dataset_transitions, config.physics)
