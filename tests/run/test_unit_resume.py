"""A unit that is stopped, or finds its files harmed, ends with the rows of an uninterrupted one, or says why not."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import moore.run.unit
from moore.base.errors import UserError
from moore.data.hdf5 import write_dataset
from moore.data.make import find_recipe
from moore.run.offline_cache import OfflineCache
from moore.run.recorder import Recorder
from moore.run.stop import STOPPED
from moore.run.unit import main
from tests.support.harm import flip, no_room
from tests.support.resume_units import rows, run_to_end, run_until, status, write_spec

OFFLINE_POINTS = 61  # safe points of the offline stage: 20 ensemble updates, their end, 40 policy updates


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an uninterrupted unit."""
    root = tmp_path_factory.mktemp("whole")
    run_to_end(write_spec(root))
    return root


@pytest.fixture
def path(tmp_path: Path, whole: Path) -> Path:
    """The spec of the same unit in another root, whose data is there."""
    (tmp_path / "data").symlink_to(whole / "data")
    return write_spec(tmp_path)


def ends_like(whole: Path, path: Path) -> list[str]:
    """Run a unit to its end, with the rows of another root's and nothing left behind; returns its warnings."""
    root = path.parents[2]
    run_to_end(path)
    pd.testing.assert_frame_equal(rows(root), rows(whole), check_exact=True)
    assert not list((root / "tiny" / "checkpoints").glob("*"))
    return status(root)["warnings"]


def checkpoints(path: Path, stage: str) -> list[Path]:
    """The checkpoints of a stage, the newest first."""
    files = (path.parents[1] / "checkpoints" / f"unit.{stage}").glob("*.pt")
    return sorted(files, key=lambda file: int(file.stem), reverse=True)


@pytest.mark.parametrize("phase", ["offline", "online"])
def test_a_signal_leaves_a_checkpoint(phase: str, path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a signal between two safe points ends the unit on the spot, and its work is lost."""
    told = lambda _, now, *rest: signal.raise_signal(signal.SIGUSR2) if now == phase else None  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "progress", told)
        assert main(path) == STOPPED
    assert checkpoints(path, phase)
    assert ends_like(whole, path) == []


@pytest.mark.parametrize("point", [1, 20, 21, 41, OFFLINE_POINTS, OFFLINE_POINTS + 1])
def test_stopped_at_a_safe_point(point: int, path: Path, whole: Path) -> None:
    """Breaks if a checkpoint misses something at one of the points where stages begin, change what they do, or end."""
    run_until(path, point)
    assert checkpoints(path, "offline" if point <= OFFLINE_POINTS else "online")
    assert ends_like(whole, path) == []


@pytest.mark.parametrize(("stage", "point"), [("offline", 40), ("online", OFFLINE_POINTS + 20)])
@pytest.mark.parametrize("harm", ["damage", "damage both", "cut rows", "lose rows"])
def test_what_is_harmed(
    harm: str, stage: str, point: int, path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if a damaged checkpoint is used, or one whose rows are lost, or nobody is told."""
    monkeypatch.setattr(moore.run.unit, "CHECKPOINT_SECONDS", 0.0 if "damage" in harm else 3600.0)
    run_until(path, point)
    newest, *others = checkpoints(path, stage)
    file = next(path.parents[1].rglob("moore-*/rows.csv" if stage == "online" else "rows.csv"))
    match harm:
        case "damage":
            flip(newest, 54321)
            told = f"content is not what was written; goes on from the checkpoint before, {others[0].name}"
        case "damage both":
            for one in (newest, *others):
                flip(one, 54321)
            told = "that stage starts again"
        case "cut rows":
            file.write_bytes(file.read_bytes()[:-1])
            told = f"rows are missing in {file}; that stage starts again"
        case _:
            file.unlink()
            told = f"rows are missing in {file}; that stage starts again"
    (text,) = ends_like(whole, path)
    assert text.endswith(told)


def test_a_damaged_offline_stage_is_trained_again(path: Path, whole: Path) -> None:
    run_until(path, OFFLINE_POINTS + 1)
    files = sorted((path.parents[2] / "cache" / "offline").glob("*.pt"))
    assert len(files) == 2
    for file in (*files, *checkpoints(path, "online")):  # with one of these, the offline stages are needed no more
        flip(file, 4321)
    first, *texts = ends_like(whole, path)
    assert first.endswith("that stage starts again")
    assert len(texts) == 2
    assert all(text.endswith("that offline stage is trained again") for text in texts)


def test_killed_between_two_offline_stages_of_a_cohort(
    path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if the stages that are left are trained alone: rounding depends on the size of a cohort."""
    fill, filled = OfflineCache.fill, list[int]()

    def half(cache: OfflineCache, keys: list[str], *rest: Any) -> None:
        filled.append(len(keys))
        if len(filled) == 1:
            fill(cache, keys[:1], *rest)
            raise KeyboardInterrupt
        fill(cache, keys, *rest)

    monkeypatch.setattr(OfflineCache, "fill", half)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(path)
    assert len(list((path.parents[2] / "cache" / "offline").glob("*.pt"))) == 1
    assert ends_like(whole, path) == []
    assert filled == [2, 2]


@pytest.mark.parametrize("limit", [2000, 20_000])
def test_disk_full(limit: int, path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a full disk, met by rows or by a checkpoint, costs more than the time since the last checkpoint."""
    run_until(path, 30)
    with no_room(limit):
        assert main(path) == 74
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("moore: ")
    assert line.endswith("the same command goes on from the last checkpoint")
    assert "cannot be written (File too large)" in line
    assert ("rows.csv" in line) == (limit == 2000)
    assert not list(path.parents[1].rglob("*.tmp"))
    ends_like(whole, path)


@pytest.mark.parametrize("place", ["runs", "checkpoints"])
def test_a_place_that_cannot_be_written(place: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a file where a folder should be is a traceback."""
    taken = path.parents[1] / place
    taken.write_text("")
    assert main(path) == 74
    (line,) = capsys.readouterr().err.splitlines()
    assert str(taken) in line


def test_other_data_under_a_checkpoint(tmp_path: Path) -> None:
    """Breaks if a stage goes on with other transitions than it was begun with, or its rows keep some of the old."""
    file, paths = tmp_path / "own.hdf5", {}
    for name, point in (("offline", 40), ("online", OFFLINE_POINTS + 20), ("whole", 0)):
        paths[name] = write_spec(tmp_path / name, dataset=f"local:{file}")
        write_dataset(file, find_recipe("pendulum", "random", 400).make())
        if point:
            run_until(paths[name], point)
    write_dataset(file, find_recipe("pendulum", "random", 400, seed=1).make())
    run_to_end(paths["whole"])
    for name, reason in (("offline", "it is of other data or other stages"), ("online", "its dataset has changed")):
        (text,) = ends_like(tmp_path / "whole", paths[name])
        assert text.endswith(f"{reason}; that stage starts again")


def test_another_device_under_a_checkpoint(path: Path) -> None:
    """Breaks if a stage goes on with other random numbers, or its checkpoint is lost when that is refused."""
    run_until(path, OFFLINE_POINTS + 5)
    before = checkpoints(path, "online")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "meta"}))
    with pytest.raises(UserError, match=r"was begun on cpu, --device is meta; accepted: the same, or another --root"):
        run_to_end(path)
    assert checkpoints(path, "online") == before


def test_commits_of_all_code_that_trained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a manifest names the code of the last process only."""
    facts = moore.run.unit.environment_facts()
    for commit, point in (("aaa", 30), ("bbb", OFFLINE_POINTS + 10), ("ccc", 0)):
        monkeypatch.setattr(moore.run.unit, "environment_facts", lambda commit=commit: facts | {"git_commit": commit})
        run_until(path, point) if point else run_to_end(path)
    manifests = [json.loads(file.read_text()) for file in path.parents[1].glob("runs/*/manifest.json")]
    found = {manifest["run"].startswith("offline-"): manifest["git_commit"] for manifest in manifests}
    assert found == {True: "aaa, bbb", False: "bbb, ccc"}


def test_a_clock_that_is_set(path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if checkpoints or durations follow the wall clock, which somebody sets back by a day every second."""
    start, monotonic = time.time(), time.monotonic
    first = monotonic()
    monkeypatch.setattr(time, "time", lambda: start - 86_400 * (monotonic() - first))
    monkeypatch.setattr(moore.run.unit, "CHECKPOINT_SECONDS", 0.0)
    run_until(path, OFFLINE_POINTS + 30)
    assert len(checkpoints(path, "online")) == 2
    ends_like(whole, path)
    for folder in (path.parents[1] / "runs").iterdir():
        seconds = pd.read_csv(folder / "rows.csv")["wall_seconds"]
        assert seconds.is_monotonic_increasing
        assert 0 <= seconds.iloc[0] <= seconds.iloc[-1] < 3600
        assert 0 <= json.loads((folder / "manifest.json").read_text())["wall_seconds"] < 3600
