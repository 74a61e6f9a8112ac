"""What is shown while units run: a line a minute in a log, a time left that is measured."""

from typing import Any

import pytest
from rich.console import Console

import moore.run.display as shown
from moore.algorithm.config import RunConfig
from moore.run.display import Clock, Display


class Drawn:
    """A unit of `cost` seconds, drawn as far as `share`."""

    def __init__(self, name: str, cost: float, share: float = 0.0, running: bool = False, **scores: float) -> None:
        self.name, self.cost, self.share, self.running, self.scores = name, cost, share, running, scores
        self.runs = [RunConfig("pendulum", f"self:pendulum-{name}", method=method) for method in ("moore", "awac")]

    def progress(self) -> float:
        return self.share

    def finished(self) -> bool:
        return self.share == 1.0

    def status(self) -> dict[str, Any]:
        return {"label": "online: moore, awac", "scores": self.scores, "warnings": ["odd data"]} if self.scores else {}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_time_left_is_that_of_the_schedule(workers: int) -> None:
    """Units whose cost takes twice as many seconds, begun longest first: right to 1 % once something is measured."""
    costs = [100.0, 90.0, 50.0, 40.0, 30.0]
    units: list[Any] = [Drawn(f"u{number}", cost) for number, cost in enumerate(costs)]
    # the schedule, second by second: slot -> unit
    clock, waiting, running, said = Clock(workers), list(units), list[Any](), []
    for second in range(2000):
        running = [unit for unit in running if not unit.finished()]
        for unit in running:
            unit.running = True
        while waiting and len(running) < workers:
            unit = waiting.pop(0)
            unit.running = True
            running.append(unit)
        clock.look(units, second)
        said.append(clock.left(units))
        if not running:
            break
        for unit in running:
            unit.share = min(1.0, unit.share + 1 / (2 * unit.cost))
            unit.running = not unit.finished()
    end = len(said) - 1
    assert said[0] is None  # nothing is measured yet
    known = [(second, value) for second, value in enumerate(said) if value is not None]
    assert len(known) > 0.9 * end
    assert [(s, round(v), end - s) for s, v in known if abs(v - end + s) > 7] == []


def test_a_log_has_one_line_a_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a log is filled with tables, or a line lacks what runs, how far it is or its scores."""
    now = [0.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    units: list[Any] = [Drawn("low", 100, 0.5, True, moore=40.0, awac=60.0), Drawn("medium", 50)]
    made = Display(units, 2)
    monkeypatch.setattr(made, "_console", Console(stderr=True, force_terminal=False, force_jupyter=False))
    for second in range(0, 200):
        now[0] = float(second)
        made.show(units)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "moore: warning: odd data"
    assert len(lines) == 1 + 3
    for words in ("33 % done", "pendulum-low online: moore, awac 50%", "moore 40 awac 60"):
        assert words in lines[1]
    assert "medium" not in lines[1]
