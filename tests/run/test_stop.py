"""Being told to stop: signals, and safe points in time."""

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moore.run.stop
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
    """Breaks if a signal, or several of them, interrupt work between two safe points; a second Ctrl-C does."""
    with StopRequest().listening() as stop, stop.deferred():
        assert stop.reason is None
        signal.raise_signal(number)
        assert stop.reason == f"told to stop by {number.name}"
        for other in (other for other in SIGNALS if other != signal.SIGINT):
            signal.raise_signal(other)
        assert stop.signal == signal.SIGTERM  # whoever sent it, after a warning, wants no requeue
        if number == signal.SIGINT:
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


@pytest.mark.parametrize("orphan", [False, True])
def test_told_to_stop(orphan: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a process stops without a checkpoint, or trains on beside its successor when its parent was killed."""
    clock, stop, parent = Clock(monkeypatch, 1.0), StopRequest(), os.getppid()
    safe_point = SafePoints(clock.save, stop, 3600.0, parent)
    safe_point()
    if orphan:
        monkeypatch.setattr(os, "getppid", lambda: 1)
    else:
        stop.tell(signal.SIGUSR1)
    with pytest.raises(Stopped) as stopped:
        safe_point()
    assert stopped.value.reason == ("the parent process is gone" if orphan else "told to stop by SIGUSR1")
    assert clock.saves == [1000.0]
