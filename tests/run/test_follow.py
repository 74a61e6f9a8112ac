"""`--log`: what the real packages keep is what the rows say, whatever ends in between; a logger never ends training."""

import csv
import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moore.base.errors import UserError
from moore.base.rows import COLUMNS
from moore.run.follow import FollowedRun, TensorBoard, followed

POINTS = [(step, metric) for step in range(0, 50, 10) for metric in ("eval/return", "eval/score", "train/q")]
Curves = dict[str, dict[int, float]]


def value(step: int, metric: str) -> float:
    return 100.0 * step + len(metric)


def write(path: Path, count: int, phase: str = "online") -> None:
    """The first `count` rows of a run, and half of the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for step, metric in POINTS[:count]:
            steps = (step, 2 * step) if phase == "online" else (0, step)
            owner = ("s", "moore", "self:pendulum-low", 3, path.parent.name)
            writer.writerow((*owner, phase, *steps, 0.5 * step, metric, value(step, metric)))
        file.write("s,moore,self:pend" if count < len(POINTS) else "")


class Noted:
    """A logger that keeps its points in memory, by metric and step."""

    def __init__(self, folder: Path, name: str, row: Mapping[str, Any], axis: str) -> None:
        self.curves = Curves()

    def point(self, index: int, x: int, row: Mapping[str, Any], values: Mapping[str, float]) -> None:
        for metric, value in values.items():
            assert x not in self.curves.setdefault(metric, {})
            self.curves[metric][x] = value

    def close(self, config: Mapping[str, Any]) -> None:
        assert config in ({}, {"seed": 3})


def tensorboard(folder: Path) -> Curves:
    """What TensorBoard itself reads of a run's files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "moore-s3-abc"))
    events.Reload()
    found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert all(len({one.step for one in scalars}) == len(scalars) for scalars in found.values())  # no point twice
    return {tag: {one.step: one.value for one in scalars} for tag, scalars in found.items()}


@pytest.mark.parametrize("words", [("nowhere", "wandb"), (".", "nobody"), ()])
def test_bad_words_by_hand(words: tuple[str, ...], tmp_path: Path) -> None:
    """Breaks if one ends in a traceback, or waits for rows that will never come."""
    command = [sys.executable, "-m", "moore.run.follow", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("phase", ["online", "offline"])
@pytest.mark.parametrize("kind", [Noted, TensorBoard])
def test_curves_are_the_rows(kind: Any, phase: str, tmp_path: Path) -> None:
    """Breaks if a point is lost or doubled after a cut back to a checkpoint, half a row, or another process."""
    if kind is TensorBoard:
        pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    rows, logs = tmp_path / "runs" / "moore-s3-abc" / "rows.csv", tmp_path / "logs"
    first = FollowedRun(rows, logs, kind)
    for count in (1, 5, 8, 2, 11):
        write(rows, count, phase)
        first.update()
    assert not first.done
    first._curve.close({})
    second = FollowedRun(rows, logs, kind)  # after a stop: the run goes on from a checkpoint
    for count in (4, 13, len(POINTS)):
        write(rows, count, phase)
        second.update()
    rows.with_name("manifest.json").write_text(json.dumps({"config": {"seed": 3}}))
    second.update()
    assert second.done
    found = second._curve.curves if isinstance(second._curve, Noted) else tensorboard(logs)
    assert found == {
        metric: {step: value(step, name) for step, name in POINTS if name == metric} for _, metric in POINTS
    }


def test_a_logger_that_is_killed_or_fails_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if the end of a logger ends what it follows, or passes unnoticed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    started: list[Any] = []
    real = subprocess.Popen

    def noted(*args: Any, **more: Any) -> Any:
        started.append(real(*args, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with followed(tmp_path, "wandb"):
        started[-1].send_signal(signal.SIGKILL)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "rows.csv").write_text("no rows\n")
    with followed(tmp_path, "tensorboard"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        f"moore: warning: --log {name} ended early" for name in ("wandb", "tensorboard")
    ]
    assert "not rows of a run" in (tmp_path / "logs" / "tensorboard.log").read_text()


def test_no_logger_and_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a missing package shows up after training, or a process is started unasked."""
    monkeypatch.setattr(subprocess, "Popen", None)
    with followed(tmp_path, None):
        pass
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--log: wandb is not installed; accepted: pip install -e '\.\[wandb\]'"):
        followed(tmp_path, "wandb").__enter__()
