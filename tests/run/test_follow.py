"""`--log`: what the real packages keep is what the rows say, whatever ends in between; a logger never ends training."""

import csv
import importlib.util
import json
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moore.base.errors import UserError
from moore.base.rows import COLUMNS
from moore.run.follow import FollowedRun, TensorBoard, Wandb, followed

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


def finish(path: Path) -> None:
    path.with_name("manifest.json").write_text(json.dumps({"config": {"seed": 3}}))


def of_tensorboard(folder: Path, name: str) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / name))
    events.Reload()
    found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert all(len({one.step for one in scalars}) == len(scalars) for scalars in found.values())  # no point twice
    return {tag: {one.step: one.value for one in scalars} for tag, scalars in found.items()}


def of_wandb(folder: Path, name: str) -> Curves:
    """The last process's file: each has the whole run. The x-axis is the one that was declared for all metrics.

    A file is a header of 7 bytes and records of LevelDB's log: checksum (4), length (2), kind (1; 1: whole), content.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data = sorted(folder.glob(f"wandb/offline-run-*-{name}/*.wandb"))[-1].read_bytes()
    assert len(data) < 2**15  # a block, which no record crosses
    at, axis, curves = 7, "", Curves()
    while at < len(data):
        size, kind = struct.unpack_from("<HB", data, at + 4)
        assert kind == 1
        record = Record.FromString(data[at + 7 : at + 7 + size])
        at += 7 + size
        axis = record.metric.step_metric or axis
        values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for metric in {metric for _, metric in POINTS} & set(values):
            assert values[axis] not in curves.setdefault(metric, {})
            curves[metric][values[axis]] = values[metric]
    return curves


@pytest.mark.parametrize("phase", ["online", "offline"])
@pytest.mark.parametrize(("kind", "read"), [(TensorBoard, of_tensorboard), (Wandb, of_wandb)])
def test_curves_are_the_rows(
    kind: type[TensorBoard] | type[Wandb],
    read: Callable[[Path, str], Curves],
    phase: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Breaks if a point is lost, doubled, under another name or step: after a cut back to a checkpoint, half a row,
    and another process that goes on.
    """
    pytest.importorskip(kind.__name__.lower(), reason=f"the extra {kind.__name__.lower()} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    rows, logs = tmp_path / "runs" / "moore-s3-abc" / "rows.csv", tmp_path / "logs"
    first = FollowedRun(rows, logs, kind)
    for count in (1, 5, 8, 2, 11):
        write(rows, count, phase)
        first.update()
    assert not first.done
    assert first._curve is not None
    first._curve.close({})
    second = FollowedRun(rows, logs, kind)  # after a stop: the run goes on from a checkpoint
    for count in (4, 13, len(POINTS)):
        write(rows, count, phase)
        second.update()
    finish(rows)
    second.update()
    assert second.done
    found = read(logs, "moore-s3-abc")
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
