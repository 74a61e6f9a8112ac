"""A study that is stopped, killed or started twice: what is trained again, what is kept."""

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

import moore.cli.report
import moore.run.folders
import moore.run.unit
import moore.run.units
from moore.base.lock import locked
from moore.cli.main import main
from moore.run.recorder import Recorder
from moore.run.stop import STOPPED
from tests.support.resume_units import FORKS, speak_into, table_of, train, wait_for, write_study


def wait_at_gate(gate: Path) -> None:
    """While this file holds the beginning of a label, this process waits where it has told of such a label."""
    progress = Recorder.progress

    def wait(recorder: Recorder, phase: str, done: int, total: int) -> None:
        progress(recorder, phase, done, total)
        while gate.exists() and f"{phase}: {recorder.methods[0]}".startswith(gate.read_text()):
            time.sleep(0.005)

    Recorder.progress = wait  # type: ignore[method-assign, assignment]


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
            wait_at_gate(Path(command[3]).with_name("gate"))
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
    moore.cli.report.write_report = lambda *_: None
    speak_into(folder / "log")
    os.chdir(folder)
    places = ["--root", "runs", "--out", "results", "--figures", "out", "--workers", "1"]
    sys.exit(main(["reproduce", "--study", "study.yaml", "--scale", "scale.yaml", *places]))


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
        self.gate, begin = self.units / "gate", time.time()
        self.gate.write_text("offline: mopo")
        self.process = reproduce(folder)
        at = lambda: self.status().get("time", 0) > begin and self.status()["label"] == "offline: mopo"  # noqa: E731
        assert wait_for(at, self.process), self.log.read_text()

    def status(self) -> dict[str, Any]:
        files = list(self.units.glob("*.progress.json"))
        return json.loads(files[0].read_text()) if files else {}

    def send(self, number: signal.Signals) -> None:
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
    """Breaks if a signal costs work or leaves a process, or two processes on one study meet or show in rows."""
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
    pd.testing.assert_frame_equal(table_of(study, tmp_path / "runs"), table_of(study, whole), check_exact=True)
    manifest = json.loads((tmp_path / "results" / "s-tiny" / "manifest.json").read_text())
    assert manifest["command"] == "moore reproduce --study study.yaml --scale scale.yaml"


def test_a_unit_that_is_killed_is_a_failure(tmp_path: Path) -> None:
    """Breaks if a kill is taken for a stop, or is not tried again, or for ever, or not by the next call."""
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
    again = reproduce(tmp_path)
    again.join()
    assert again.exitcode == 0


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
