"""Units of a second for the tests of stopping and resuming: their spec, their rows, and runs that end on the way."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import moore.run.unit
from moore.algorithm.config import RunConfig, from_mapping
from moore.run.collect import collect
from moore.run.stop import Stopped, StopRequest
from moore.run.unit import Unit
from moore.run.units import UnitProcess
from moore.studies.axes import merge
from moore.studies.study import Study, load_study
from tests.support.core import TINY

RUN: dict[str, Any] = merge(
    TINY,
    {
        "dataset": "self:pendulum-medium",
        "dataset_transitions": 300,
        "agent": {"normalize_obs": True},
        "dynamics": {"epoch_updates": 5, "offline_max_updates": 20, "online_max_updates": 5},
        "offline": {"updates": 40, "eval_interval": 20},
    },
)

FORKS = multiprocessing.get_context("forkserver")  # it has torch already, which takes seconds to import
FORKS.set_forkserver_preload(["tests.support.resume_warm", "tests.support.resume_units"])


def write_spec(root: Path, **changes: Any) -> Path:
    """The spec of a unit with two seeds below root; changes are laid over RUN's keys."""
    return write_unit(root, [from_mapping(merge(RUN, changes | {"seed": seed}), "test") for seed in (0, 1)])


def write_unit(root: Path, runs: list[RunConfig]) -> Path:
    """The spec of a unit of these runs below root."""
    unit = UnitProcess("tiny", runs, root, "cpu", name="unit")
    unit.write_spec()
    return unit.spec_path


def rows(root: Path) -> pd.DataFrame:
    """All rows of a root's runs and offline stages, without the time they took."""
    frames = [pd.read_csv(path) for path in sorted((root / "tiny" / "runs").glob("*/rows.csv"))]
    return pd.concat(frames, ignore_index=True).drop(columns="wall_seconds")


def write_study(folder: Path, dataset: str = "self:pendulum-medium", **variants: Any) -> Study:
    """The files of a study with one unit for all variants, on two seeds."""
    task = {"env": "pendulum", "dataset": dataset, "dataset_transitions": 300}
    defaults = {key: value for key, value in RUN.items() if key not in task}
    scale = {"scale": "tiny", "seeds": [0, 1], "defaults": defaults, "tasks": [task]}
    (folder / "study.yaml").write_text(yaml.safe_dump({"study": "s", "variants": variants or {"prioritized": {}}}))
    (folder / "scale.yaml").write_text(yaml.safe_dump(scale))
    return load_study(folder / "study.yaml", folder / "scale.yaml")


def train(study: Study, root: Path) -> None:
    """The units of a study in this process."""
    for runs in study.cohorts():
        unit = UnitProcess(study.name, runs, root, "cpu")
        unit.write_spec()
        Unit(unit.spec_path).run()


def table_of(study: Study, root: Path) -> pd.DataFrame:
    """The table that tables and figures are made of."""
    collect(study, root, root / "results", "a test")
    return pd.read_parquet(root / "results" / study.name / "rows.parquet").drop(columns="wall_seconds")


def status(root: Path) -> dict[str, Any]:
    """What the unit last said about itself."""
    try:
        return json.loads((root / "tiny" / "units" / "unit.progress.json").read_text())
    except FileNotFoundError:
        return {}


class StopAt(StopRequest):
    """Tells to stop at the n-th safe point of the process: 61 are in RUN's offline stage, then the online stage's."""

    def __init__(self, point: int) -> None:
        super().__init__()
        self.left = point

    @property
    def reason(self) -> str | None:
        """Asked once at every safe point."""
        self.left -= 1
        return None if self.left > 0 else "the test stops here"


def run_until(path: Path, point: int) -> None:
    """Run a unit in this process until it is told to stop at a safe point."""
    with pytest.raises(Stopped):
        Unit(path, StopAt(point)).run()


def run_to_end(path: Path) -> None:
    """Run a unit in this process to its end."""
    Unit(path).run()


def fork(path: Path, seconds: float) -> BaseProcess:
    """A process for a unit, its log beside the spec."""
    process = FORKS.Process(target=_main, args=(path, seconds), daemon=True)
    process.start()
    return process


def wait_for(what: Callable[[], bool], process: BaseProcess) -> bool:
    """Wait until something is so; False: the process has ended before."""
    while not what():
        if not process.is_alive():
            return False
        time.sleep(0.002)
    return True


def speak_into(log: Path) -> None:
    """Write what this process prints into a file, from now on."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)


def _main(path: Path, seconds: float) -> None:
    moore.run.unit.CHECKPOINT_SECONDS = seconds
    speak_into(path.with_suffix(".log"))
    sys.exit(moore.run.unit.main(path))
