"""A study folder as submissions leave it, and a SLURM of shell scripts, for the tests of what is said about both."""

import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from moore.algorithm.config import RunConfig, to_mapping
from moore.base.files import write_json
from moore.run.units import UnitProcess
from moore.studies.identity import run_id
from tests.support.resume_units import write_study

STAMP = "20261123-014512-3f2a"


def says(text: str) -> str:
    """A script that prints a text."""
    return f"cat <<'END'\n{text}END"


def fake(folder: Path, name: str, body: str) -> Path:
    """A command of SLURM, in a folder on PATH; its arguments go to the file that this returns."""
    calls = folder / f"{name}.calls"
    calls.unlink(missing_ok=True)
    (folder / name).write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{body}\n')
    (folder / name).chmod(0o755)
    return calls


def finish(study: Path, name: str, config: RunConfig, **more: Any) -> None:
    """A finished run, or offline stage, in the folder of a study."""
    folder = study / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text("x")
    write_json(folder / "manifest.json", {"config": to_mapping(config), "rows_bytes": 1} | more)


class Lab:
    """Variants a, b, ... of a study from scratch, each a unit of its own on two seeds."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, variants: str = "a") -> None:
        self.patch, self.bin, self.root = patch, folder / "bin", folder / "root"
        changes: dict[str, Any] = {}
        for number, name in enumerate(variants, start=1):
            changes[name] = {"dataset": None, "online": {"utd_ratio": number}}
        self.study = write_study(folder, **changes)
        self.folder = self.root / "s-tiny"
        study, scale = folder / "study.yaml", folder / "scale.yaml"
        self.arguments = [str(study), "--scale", str(scale), "--root", str(self.root)]  # for a command line
        self.units = [UnitProcess(self.study.name, runs, self.root, "cpu") for runs in self.study.cohorts()]
        self.bin.mkdir()
        patch.setenv("PATH", f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
        self.fake("sbatch", "exit 1")
        self.queue()

    def fake(self, name: str, body: str) -> Path:
        return fake(self.bin, name, body)

    def without_slurm(self) -> None:
        """A machine that has no SLURM."""
        self.patch.setenv("PATH", "/nowhere")

    def queue(self, *tasks: str) -> None:
        """What squeue prints: `<job>|<index>|<state>|<reason>|<node>|<restarts>`, and `|<stamp>` if not of `submit`."""
        lines = []
        for task in tasks:
            job, index, state, reason, node, restarts, stamp = (*task.split("|"), STAMP)[:7]
            lines.append(f"{job}|{index}|{state}|{reason}|{node}|{restarts}|moore:{stamp}:{int(job) - 1}\n")
        self.fake("squeue", says("".join(lines)))

    def submit(self, *arrays: Sequence[Sequence[UnitProcess]], **more: Any) -> Path:
        """A submission whose arrays have the jobs 1, 2, ...; returns its folder."""
        folder = self.folder / "submissions" / STAMP
        manifest = {"stamp": STAMP, "arrays": [[[unit.name for unit in task] for task in array] for array in arrays]}
        for unit in (unit for array in arrays for task in array for unit in task):
            unit.write_spec()
        write_json(folder / "manifest.json", manifest | more)
        return folder

    def claim(self, unit: UnitProcess, task: str | None = None, **more: Any) -> None:
        """The claim of a process that began an hour ago."""
        host = {"host": socket.gethostname(), "node": None} if task is None else {"host": "h1", "node": "n1"}
        claim = {"token": "x", "task": task, "restart": 0, "pid": os.getpid()}
        unit.write_spec()
        write_json(unit.claim_path, claim | host | {"since": time.time() - 3600, "submission": STAMP} | more)

    def told(self, unit: UnitProcess, percent: int, label: str = "online: a") -> None:
        """How far a unit says that it is."""
        write_json(unit.progress_path, {"label": label, "done": percent, "total": 100, "time": time.time()})

    def fail(self, unit: UnitProcess, final: bool = True, **more: Any) -> None:
        """A failed attempt, after the claim."""
        values = {"attempts": 2, "kind": "failed", "exit_code": 1, "reason": "ValueError: x", "final": final}
        unit.write_spec()
        write_json(unit.failed_path, values | {"host": "h1", "node": "n1", "task": "1_0", "time": time.time()} | more)

    def finish(self, runs: Sequence[RunConfig], diverged: bool = False) -> None:
        """Finished runs."""
        for run in runs:
            finish(self.folder, run_id(run), run, diverged=diverged)

    def run_ids(self, *units: UnitProcess) -> list[str]:
        """Of all runs of these units."""
        return [run_id(run) for unit in units for run in unit.runs]


def read(text: str) -> dict[str, Any]:
    """The one JSON object of a command's output."""
    assert text.count("\n") == 1
    return json.loads(text)
