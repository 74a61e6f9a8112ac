"""The parts that stopping and resuming are made of: signals, safe points in time, locks."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moore.run.stop
from moore.base.errors import UserError
from moore.base.lock import locked
from moore.run.stop import MOST_SHARE, SIGNALS, STOPPED, SafePoints, Stopped, StopRequest


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_where_nothing_would_be_lost(number: signal.Signals) -> None:
    """Breaks if reading data or drawing figures is waited for, or the exit code is not 75."""
    before = {other: signal.getsignal(other) for other in SIGNALS}
    with StopRequest().listening(), pytest.raises(Stopped) as stopped:
        signal.raise_signal(number)
    assert stopped.value.code == STOPPED == 75
    assert stopped.value.reason == f"told to stop by {number.name}"
    assert {other: signal.getsignal(other) for other in SIGNALS} == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_where_safe_points_are(number: signal.Signals) -> None:
    """Breaks if a signal, or several of them, interrupt work between two safe points."""
    with StopRequest().listening() as stop, stop.deferred():
        assert stop.reason is None
        signal.raise_signal(number)
        for other in SIGNALS:
            if other != signal.SIGINT:
                signal.raise_signal(other)
        assert stop.reason == f"told to stop by {number.name}"  # the first


def test_ctrl_c_twice() -> None:
    with StopRequest().listening() as stop, stop.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


class Clock:
    """time.monotonic in the hands of a test; saving takes `cost`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
        self.now, self.cost, self.saves = 1000.0, cost, list[float]()
        monkeypatch.setattr(moore.run.stop.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(moore.run.stop.time, "time", lambda: 0.0)

    def save(self) -> None:
        self.saves.append(self.now)
        self.now += self.cost


@given(cost=st.floats(0, 50), seconds=st.floats(0, 60), between=st.lists(st.floats(0.001, 20), max_size=300))
def test_time_in_checkpoints_is_bounded(cost: float, seconds: float, between: list[float]) -> None:
    """Breaks if checkpoints come more often than `seconds`, take more than their share, or do not come."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch, cost)
        safe_point = SafePoints(clock.save, StopRequest(), seconds)
        start, wait = clock.now, seconds
        last = start
        for pause in between:
            clock.now += pause
            due, saves = clock.now >= last + wait, len(clock.saves)
            safe_point()
            assert len(clock.saves) - saves == due
            if due:
                last, wait = clock.now, max(seconds, cost / MOST_SHARE)
        spent = cost * max(0, len(clock.saves) - 1)  # what the last one costs is earned after it
        assert spent <= MOST_SHARE * (clock.now - start) + 1e-9


def test_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the process stops without a checkpoint, or writes one after each signal at leisure."""
    clock, stop = Clock(monkeypatch, 1.0), StopRequest()
    safe_point = SafePoints(clock.save, stop, 3600.0)
    safe_point()
    stop.tell(signal.SIGUSR1)
    with pytest.raises(Stopped, match="75"):
        safe_point()
    assert clock.saves == [1000.0]


def test_an_orphan_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a unit trains on, without a display and beside its successor, when its parent was killed."""
    clock = Clock(monkeypatch, 1.0)
    SafePoints(clock.save, StopRequest(), 3600.0, parent=os.getppid())()
    with pytest.raises(Stopped) as stopped:
        SafePoints(clock.save, StopRequest(), 3600.0, parent=os.getpid())()
    assert stopped.value.reason == "the parent process is gone"
    assert clock.saves == [1000.0]


HOLD = """
import sys, time
from pathlib import Path
from moore.base.lock import locked
with locked(Path(sys.argv[1]), "the study"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_holder_is_named_and_its_end_frees(tmp_path: Path) -> None:
    """Breaks if two processes get in, the second touches anything, or a killed holder keeps the others out."""
    path = tmp_path / "study" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        content = path.read_bytes()
        with pytest.raises(UserError) as error, locked(path, "the study"):
            raise AssertionError("two processes are in")
        who = f"the study is in use by process {holder.pid} on {socket.gethostname()} since "
        assert str(error.value).startswith(who)
        assert path.read_bytes() == content
        begin = time.monotonic()
        with pytest.raises(UserError), locked(path, "the study", patience=0.5):
            raise AssertionError("two processes are in")
        assert time.monotonic() - begin >= 0.5
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with locked(path, "the study"):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    with locked(path, "the study"):
        pass


def test_a_holder_that_could_not_sign(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, "x"):
        path.write_bytes(b"")
        with pytest.raises(UserError, match="x is in use by another process"), locked(path, "x"):
            raise AssertionError("two are in")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if nothing can be trained there, or nobody is told that a second process is not kept out."""

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "lock", "x"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"moore: warning: {tmp_path / 'lock'}: no file locks here ({os.strerror(number)})")


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(UserError, match=r"taken/lock: cannot be written \(File exists\)"),
        locked(tmp_path / "taken" / "lock", "x"),
    ):
        raise AssertionError("in")
