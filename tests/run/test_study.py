"""A study that is stopped, killed, edited, started twice, or whose data change: what is trained again, what is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pandas as pd
import pytest
import yaml

import moore.run.folders
import moore.run.unit
import moore.run.units
from moore.algorithm.config import to_mapping
from moore.base.errors import UserError
from moore.base.lock import locked
from moore.cli.main import main
from moore.data.hdf5 import write_dataset
from moore.data.make import make_self_dataset
from moore.run.collect import collect
from moore.run.folders import is_finished, read_manifest, set_aside_other_data
from moore.run.local import run_study
from moore.run.stop import STOPPED
from moore.run.unit import Unit
from moore.run.units import UnitProcess
from moore.studies.identity import run_id
from moore.studies.study import Study, load_study
from tests.support.resume_units import FORKS, RUN, gate_of, wait_at_gate, wait_for


def write_study(folder: Path, dataset: str = "self:pendulum-medium", **variants: Any) -> Study:
    """A study with one unit for all variants, on two seeds."""
    defaults = {key: value for key, value in RUN.items() if key not in ("env", "dataset")}
    scale = {"scale": "tiny", "seeds": [0, 1], "defaults": defaults, "tasks": [{"env": "pendulum", "dataset": dataset}]}
    (folder / "study.yaml").write_text(yaml.safe_dump({"study": "s", "variants": variants or {"prioritized": {}}}))
    (folder / "scale.yaml").write_text(yaml.safe_dump(scale))
    return load_study(folder / "study.yaml", folder / "scale.yaml")


def train(study: Study, root: Path) -> None:
    """The units of a study in this process."""
    for runs in study.cohorts():
        name = UnitProcess(study.name, runs, root, "cpu").name
        values = {"study": study.name, "name": name, "root": str(root), "device": "cpu"}
        Unit(values | {"runs": [to_mapping(run) for run in runs]}, root / "spec.json").run()


def rows(study: Study, root: Path) -> pd.DataFrame:
    """The table that tables and figures are made of."""
    collect(study, root, root / "results", "a test")
    return pd.read_parquet(root / "results" / study.name / "rows.parquet").drop(columns="wall_seconds")


class Forked:
    """`subprocess.Popen` for `python -m moore.run.unit`, without the seconds that Python needs to import torch."""

    def __init__(self, command: list[str], stdout: BinaryIO, env: dict[str, str], **_: Any) -> None:
        assert command[:3] == [sys.executable, "-m", "moore.run.unit"]
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.environ.update(env)
            for stream in (1, 2):
                os.dup2(stdout.fileno(), stream)
            wait_at_gate(Path(command[3]))
            os._exit(moore.run.unit.main(Path(command[3])))

    def poll(self) -> int | None:
        self.wait(os.WNOHANG)
        return self.returncode

    def wait(self, options: int = 0) -> None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _parent(folder: Path) -> None:
    """`moore reproduce` without tables and figures."""
    moore.run.units.subprocess = SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]
    sys.modules["analysis.output.report"] = SimpleNamespace(report=_nothing, print_report=_nothing)  # type: ignore[assignment]
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(folder)
    places = ["--root", "runs", "--out", "results", "--figures", "out", "--workers", "1"]
    sys.exit(main(["reproduce", "--study", "study.yaml", "--scale", "scale.yaml", *places]))


def _nothing(*_: Any) -> None:
    """Stands for what needs no training."""


def reproduce(folder: Path) -> BaseProcess:
    """`moore reproduce` as a process that starts its units as processes."""
    process = FORKS.Process(target=_parent, args=(folder,))
    process.start()
    return process


class Running:
    """`moore reproduce` on a study with one unit, which waits in its offline stage until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.units, self.log = folder / "runs" / "s-tiny" / "units", folder / "log"
        self.units.mkdir(parents=True, exist_ok=True)
        self.gate, begin = gate_of(self.units / "any"), time.time()
        self.gate.write_text("offline: mopo")
        self.process = reproduce(folder)
        at = lambda: self.status().get("time", 0) > begin and self.status()["label"] == "offline: mopo"  # noqa: E731
        assert wait_for(at, self.process), self.log.read_text()

    def status(self) -> dict[str, Any]:
        files = list(self.units.glob("*.progress.json"))
        return json.loads(files[0].read_text()) if files else {}

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def pid(self) -> int:
        (file,) = self.units.glob("*.lock")
        with suppress(ValueError, IndexError):  # it signs at this moment
            return int(file.read_text().split()[1])
        return 0

    def end(self) -> int | None:
        """Let it go and wait for its end."""
        self.gate.unlink()
        self.process.join()
        return self.process.exitcode


def test_stopped_killed_and_started_twice(tmp_path: Path) -> None:
    """Breaks if a signal to the parent or to a unit costs work or leaves a process behind, if two processes train one
    study, if a killed parent's unit and its successor meet, or if any of that shows in the rows.
    """
    study = write_study(tmp_path)
    whole = tmp_path / "whole"
    train(study, whole)
    log = tmp_path / "log"

    first = Running(tmp_path)  # a second process is refused and touches nothing
    before = {file: file.stat().st_mtime_ns for file in first.units.parent.rglob("*")}
    log.rename(tmp_path / "log of the first")
    second = reproduce(tmp_path)
    second.join()
    assert second.exitcode == 2
    (line,) = log.read_text().splitlines()
    assert line.startswith(f"moore: study s-tiny is in use by process {first.process.pid} on ")
    assert {file: file.stat().st_mtime_ns for file in first.units.parent.rglob("*")} == before
    log.unlink()
    (tmp_path / "log of the first").rename(log)
    first.send(signal.SIGTERM)
    assert wait_for(lambda: "told to stop by SIGTERM: 1 units" in log.read_text(), first.process)
    assert first.end() == STOPPED
    last = log.read_text().splitlines()[-1]
    assert last == "moore: told to stop by SIGTERM; the same command goes on"
    with locked(next(first.units.glob("*.lock")), "the unit"):  # it has ended before its parent
        pass

    third = Running(tmp_path)  # whoever stops the unit stops the study
    os.kill(third.pid(), signal.SIGUSR1)
    assert third.end() == STOPPED, log.read_text()

    fourth = Running(tmp_path)
    fourth.send(signal.SIGKILL)
    fourth.process.join()
    fifth = reproduce(tmp_path)  # while the killed one's unit is still there
    fourth.gate.unlink()
    fifth.join()
    assert fifth.exitcode == 0, log.read_text()
    pd.testing.assert_frame_equal(rows(study, tmp_path / "runs"), rows(study, whole), check_exact=True)
    manifest = json.loads((tmp_path / "results" / "s-tiny" / "manifest.json").read_text())
    assert manifest["command"] == "moore reproduce --study study.yaml --scale scale.yaml"


def test_a_unit_that_is_killed_is_a_failure(tmp_path: Path) -> None:
    """Breaks if a process that was killed for its memory is taken for one that was told to stop, is not tried again, or
    is tried for ever.
    """
    write_study(tmp_path)
    running = Running(tmp_path)
    killed = running.pid()
    os.kill(killed, signal.SIGKILL)
    assert wait_for(lambda: running.pid() not in (0, killed), running.process)  # the second attempt
    os.kill(running.pid(), signal.SIGKILL)
    assert running.end() == 2
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last.startswith("moore: 1 of 1 units failed; ")
    assert "-prioritized-" in last
    assert "killed by SIGKILL; " in last


def test_a_failing_unit_does_not_stop_the_others(tmp_path: Path) -> None:
    """Breaks if the units behind a failing one are not trained, or the next call does not try it again."""
    study, root = write_study(tmp_path, fails={"online": {"utd_ratio": 2}}, trains={}), tmp_path / "runs"
    folder = root / study.name / "runs"
    failing = next(run for run in study.runs if run.method == "fails")
    (folder / run_id(failing)).mkdir(parents=True)
    (folder / run_id(failing) / "rows.csv").mkdir()  # rows cannot be written there
    with pytest.raises(UserError, match=r"1 of 2 units failed; .*-fails-"):
        run_study(study, root, 1)
    finished = [run.method for run in study.runs if is_finished(folder / run_id(run), run)]
    assert finished == ["trains", "trains"]
    (folder / run_id(failing) / "rows.csv").rmdir()
    run_study(study, root, 1)
    assert all(is_finished(folder / run_id(run), run) for run in study.runs)


def test_ctrl_c_twice_stops_at_once(tmp_path: Path) -> None:
    """Breaks if the second Ctrl-C waits for a checkpoint, or leaves the unit behind."""
    write_study(tmp_path)
    running = Running(tmp_path)
    running.send(signal.SIGINT)
    assert wait_for(lambda: "told to stop by SIGINT: 1 units" in running.log.read_text(), running.process)
    running.send(signal.SIGINT)
    running.process.join()  # the gate is still closed
    assert running.process.exitcode == 130
    with locked(next(running.units.glob("*.lock")), "the unit"):
        pass


def test_an_edited_study_has_no_rows_of_the_old_one(tmp_path: Path) -> None:
    """Breaks if runs of settings that are no longer in the study, still in its folder, reach the table."""
    root = tmp_path / "runs"
    old = write_study(tmp_path, prioritized={}, uniform={"sampling": {"model_batches": "uniform"}})
    train(old, root)
    assert set(rows(old, root)["method"]) == {"mopo", "prioritized", "uniform"}
    new = write_study(tmp_path, prioritized={"sampling": {"decay_rate": 3.0}})
    units = [UnitProcess(new.name, runs, root, "cpu") for runs in new.cohorts()]
    assert [unit.finished() for unit in units] == [False]
    assert units[0].missing_stages() == set()  # the offline stages are the same
    train(new, root)
    table = rows(new, root)
    assert set(table["run"]) - {run_id(run) for run in new.runs} == {
        name for name in table["run"] if name.startswith("offline-")
    }
    fresh = tmp_path / "fresh"
    train(new, fresh)
    pd.testing.assert_frame_equal(table, rows(new, fresh), check_exact=True)
    assert len(list((root / new.name / "runs").iterdir())) == 2 + 4 + 2  # the old ones are still there


def test_other_data_under_finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if rows of other data stand for the data that is there, are lost, or all data is read each time."""
    file, root = tmp_path / "own.hdf5", tmp_path / "runs"
    write_dataset(file, make_self_dataset("pendulum", "random", 400))
    study = write_study(tmp_path, f"local:{file}")
    train(study, root)
    folder = root / study.name
    old = rows(study, root)

    read = moore.run.folders.run_dataset
    monkeypatch.setattr(moore.run.folders, "run_dataset", lambda *_: pytest.fail("reads a file that has not changed"))
    assert set_aside_other_data(folder, study.runs, root) == []
    monkeypatch.setattr(moore.run.folders, "run_dataset", read)
    os.utime(file, (1, 1))  # copied or touched: another time, the same content
    assert set_aside_other_data(folder, study.runs, root) == []
    monkeypatch.setattr(moore.run.folders, "run_dataset", lambda *_: pytest.fail("reads a file twice"))
    assert set_aside_other_data(folder, study.runs, root) == []
    monkeypatch.setattr(moore.run.folders, "run_dataset", read)

    write_dataset(file, make_self_dataset("pendulum", "random", 400, seed=1))
    kept = {path.name: (path / "rows.csv").read_bytes() for path in (folder / "runs").iterdir()}
    (note,) = set_aside_other_data(folder, study.runs, root)
    assert note.startswith(f"local:{file} is not what 4 runs and offline stages were trained on; they start again")
    moved = {
        path.name.rpartition("-")[0]: (path / "rows.csv").read_bytes() for path in (folder / "other-data").iterdir()
    }
    assert moved == kept
    assert not any(UnitProcess(study.name, runs, root, "cpu").finished() for runs in study.cohorts())
    train(study, root)
    fresh = tmp_path / "fresh"
    train(study, fresh)
    new = rows(study, root)
    pd.testing.assert_frame_equal(new, rows(study, fresh), check_exact=True)
    assert not new.equals(old)

    # a file that changes while units start gives the study two kinds of data
    manifest = folder / "runs" / run_id(study.runs[0]) / "manifest.json"
    values = json.loads(manifest.read_text())
    values["dataset"]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(values))
    with pytest.raises(UserError, match="changed while it was trained on; accepted: the same command again"):
        collect(study, root, root / "results", "a test")


def test_what_a_kill_left_of_finished_runs(tmp_path: Path) -> None:
    """Breaks if checkpoints stay for ever whose process was killed after its last manifest."""
    study, root = write_study(tmp_path), tmp_path / "runs"
    train(study, root)
    folder, (runs,) = root / study.name / "checkpoints", study.cohorts()
    name = UnitProcess(study.name, runs, root, "cpu").name
    (folder / f"{name}.rows").mkdir(parents=True)
    for left in (f"{name}.pt", f"{name}.rows/1.rows", f"{name}2.pt"):
        (folder / left).write_text("")
    run_study(study, root, 1)
    assert [path.name for path in folder.iterdir()] == [f"{name}2.pt"]


def test_finished_means_manifest_and_rows_of_this_run(tmp_path: Path) -> None:
    """Breaks if a run without its rows counts as finished, or one of other settings as this one."""
    study, root = write_study(tmp_path), tmp_path / "runs"
    train(study, root)
    run = study.runs[0]
    folder = root / study.name / "runs" / run_id(run)
    content = (folder / "rows.csv").read_bytes()
    assert is_finished(folder, run)
    for harmed in (content[:-1], content + b"x", b""):
        (folder / "rows.csv").write_bytes(harmed)
        assert not is_finished(folder, run)
    (folder / "rows.csv").unlink()
    assert not is_finished(folder, run)
    (folder / "rows.csv").write_bytes(content)
    manifest = read_manifest(folder)
    assert manifest is not None
    (folder / "manifest.json").write_text(json.dumps(manifest)[:-1])
    assert not is_finished(folder, run)
    manifest["config"]["agent"]["gamma"] = 0.5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"is of another run: agent\.gamma is 0\.5 there and 0\.99 here; accepted"):
        is_finished(folder, run)
