"""A tiny study, given to a cluster by the commands that a user types, and what can be seen of it."""

import io
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import yaml

from moore.cli.main import main
from moore.run.collect import collect
from moore.studies.axes import merge
from moore.studies.identity import offline_run_id, run_id
from moore.studies.study import Study, load_study
from tests.cluster.local_slurm import POLL_SECONDS, Cluster, Element, is_alive, wait_until
from tests.support.resume_units import RUN

PROFILE = {"time": "10", "cpus": 1, "memory": "1500M", "unit_runs": 1}  # two tasks on a node
END_SECONDS = 240.0  # patience until all runs are finished, on a busy machine
START_SECONDS = 240.0  # until a first online epoch: Slurm, two processes that import torch, data, the offline stage


class Experiment:
    """A study with its scale, profile and root folder; every run is a unit unless the profile says otherwise.

    cluster: none for a study that is trained with --local. epochs: of the online stage, about 0.15 s each. changes:
    over the scale's defaults, section by section.
    """

    def __init__(
        self,
        folder: Path,
        cluster: Cluster | None = None,
        seeds: int = 1,
        epochs: int = 40,
        variants: Mapping[str, Any] | None = None,
        datasets: tuple[str, ...] = ("self:pendulum-medium",),
        profile: Mapping[str, Any] | None = None,
        **changes: Mapping[str, Any],
    ) -> None:
        self.folder, self.slurm, self.root = folder, cluster, folder / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {key: value for key, value in RUN.items() if key not in ("env", "dataset")}
        defaults = merge(defaults, {"online": {"epochs": epochs, "utd_ratio": 6}} | changes)
        self._write("study.yaml", {"study": "s", "variants": dict(variants or {"prioritized": {}})})
        tasks = [{"env": "pendulum", "dataset": name} for name in datasets]
        scale = {"scale": "tiny", "seeds": list(range(seeds)), "defaults": defaults, "tasks": tasks}
        self._write("scale.yaml", scale)
        self._write("profile.yaml", PROFILE | dict(profile or {}))
        self.study: Study = load_study(folder / "study.yaml", folder / "scale.yaml")
        self.units = self.root / self.study.name / "units"

    def moore(self, command: str, *words: str) -> tuple[int, str, str]:
        """`moore study COMMAND` on this study in this process: exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        arguments = ["study", command, str(self.folder / "study.yaml"), "--scale", str(self.folder / "scale.yaml")]
        environment = self.slurm.environment if self.slurm else {}
        with patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(err):
            code = main([*arguments, "--root", str(self.root), *words])
        return code, out.getvalue(), err.getvalue()

    def submit(self, *words: str) -> int:
        """`moore study submit`; how many runs it took."""
        code, out, err = self.moore("submit", "--profile", str(self.folder / "profile.yaml"), *words)
        assert code == 0, out + err
        found = re.search(r"(\d+) to submit", out)
        assert found, out + err
        return int(found[1])

    def refused(self, command: str, *words: str) -> str:
        """A command that must exit with 2; its one line on stderr."""
        profile = ("--profile", str(self.folder / "profile.yaml")) if command == "submit" else ()
        code, out, err = self.moore(command, *profile, *words)
        lines = err.splitlines()
        assert (code, len(lines)) == (2, 1), out + err
        return lines[0]

    def unit_file(self, unit: str, ending: str) -> dict[str, Any]:
        """units/<unit>.<ending>.json; empty while it is not there."""
        try:
            return json.loads((self.units / f"{unit}.{ending}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def claimed(self) -> list[str]:
        """Units that somebody trains now."""
        return [path.name.removesuffix(".claim.json") for path in self.units.glob("*.claim.json")]

    def online(self, unit: str) -> int:
        """Online epochs that a unit has done, as its present process says; 0 while it is not that far."""
        claim, progress = self.unit_file(unit, "claim"), self.unit_file(unit, "progress")
        fresh = progress.get("time", 0) > claim.get("since", float("inf"))
        return int(progress["done"]) if fresh and progress["label"].startswith("online") else 0

    def wait_online(self, count: int = 1, epochs: int = 3, method: str = "") -> list[str]:
        """Wait until so many units have done so many online epochs; their names."""
        here = lambda: [unit for unit in self.claimed() if method in unit and self.online(unit) >= epochs]  # noqa: E731
        return self.wait(lambda: len(here()) >= count and here(), START_SECONDS, f"{count} units are online")

    def first_epoch(self, unit: str, claim: Mapping[str, Any]) -> int:
        """Online epochs that the process after the one of `claim` has done when it is first seen online."""
        there = lambda: self.unit_file(unit, "claim").get("token") not in (None, claim["token"]) and self.online(unit)  # noqa: E731
        return self.wait(there, START_SECONDS, f"{unit} goes on", poll=0.02)

    def stopped_at(self, unit: str) -> int:
        """Wait until a unit's process has ended before its time; the online epochs that it has done."""
        pid = self.unit_file(unit, "claim")["pid"]
        self.wait(lambda: not is_alive(pid), 90, f"process {pid} of {unit} ends")
        assert unit in self.claimed(), f"{unit} is done"
        return int(self.unit_file(unit, "progress")["done"])

    def interrupt(self, *command: str) -> str:
        """Let a command of Slurm, or time, stop the only unit. It has to go on where it stopped; returns its name.

        A word "TASK" of the command stands for the unit's task.
        """
        (unit,) = self.wait_online()
        claim, task = self.unit_file(unit, "claim"), self.element(unit).name
        if command:
            self.slurm.run(*(task if word == "TASK" else word for word in command))
        saved = self.stopped_at(unit)
        assert self.submit() == 0  # it waits, and is still its task's
        assert self.first_epoch(unit, claim) >= saved > 0
        return unit

    def element(self, unit: str) -> Element:
        """The array element that trains a unit."""
        claim = self.unit_file(unit, "claim")
        (found,) = [e for e in self.slurm.queue() if e.name == claim["task"]]
        return found

    def wait_finished(self) -> None:
        """Wait until every run is finished and no task is left."""
        self.wait(lambda: not self.slurm.queue(), END_SECONDS, "the queue is empty")
        assert self.missing() == [], self.told()

    def missing(self) -> list[str]:
        """Runs that are not finished, as `moore study status --json` has them."""
        code, out, err = self.moore("status", "--json")
        assert code == 0, out + err
        return [entry["run"] for entry in json.loads(out)["runs"]]

    def rows(self) -> pd.DataFrame:
        """The study's table, without the time that it took."""
        folder = collect(self.study, self.root, self.folder / "results", "a test")
        return pd.read_parquet(folder / "rows.parquet").drop(columns="wall_seconds")

    def wait(self, condition: Callable[[], Any], seconds: float, what: str, poll: float = POLL_SECONDS) -> Any:
        """`wait_until`, whose message ends with the queue and all logs."""
        try:
            return wait_until(condition, seconds, what, poll)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def told(self) -> str:
        """The last lines of every log, for the message of a test that fails."""
        logs = [*self.units.glob("*.log"), *self.root.glob("*/submissions/*/jobs/*.err")]
        tails = [f"== {path}\n" + "\n".join(path.read_text().splitlines()[-6:]) for path in sorted(logs)]
        queue = f"{self.slurm.queue()}\n" if self.slurm else ""
        return queue + "\n".join(tails)

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(dict(values), sort_keys=False))


def same_rows(experiment: Experiment, reference: Experiment) -> None:
    """Check that the runs of the reference's methods have its rows, bit for bit; the message says where not."""
    methods = {run.method for run in reference.study.runs}
    compared = [run for run in experiment.study.runs if run.method in methods]
    ids = [name for run in compared for name in (run_id(run), offline_run_id(run))]
    tables = (one.rows() for one in (experiment, reference))
    here, there = (rows[rows["run"].isin(ids)].reset_index(drop=True) for rows in tables)
    assert set(here["run"]) == set(ids)
    if len(here) == len(there):
        differs = (here != there) & ~(here.isna() & there.isna())
        other = here[differs.any(axis=1)]
        assert other.empty, other.groupby("run").head(1).to_string()
    pd.testing.assert_frame_equal(here, there, check_exact=True)
