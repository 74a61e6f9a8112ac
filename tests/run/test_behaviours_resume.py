"""Data generation and behaviour training that are stopped or killed: no half file, the same numbers in the end."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import moore.run.behaviours
from moore.base.errors import UserError
from moore.base.lock import locked
from moore.data import commands
from moore.data.behaviours import load_behaviours
from moore.run.behaviours import BehaviourConfig, BehaviourTraining, export, main, train
from moore.run.sealed import read_seal
from moore.run.stop import STOPPED, Stopped
from tests.run.test_behaviours import CONFIG, arguments
from tests.support.harm import flip
from tests.support.resume_units import FORKS, StopAt, wait_for

WORDS = ("--medium-score=-200", "--sac.batch-size=8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ladder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(arguments(folder, *WORDS)) == 0
    return folder / "out"


def same_ladder(folder: Path, whole: Path) -> None:
    first, second = load_behaviours("pendulum", whole), load_behaviours("pendulum", folder)
    np.testing.assert_array_equal(first.params, second.params)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.provenance["curve"] == second.provenance["curve"]


def config(folder: Path) -> BehaviourConfig:
    return replace(CONFIG, checkpoint=folder / "state", out=folder / "out")


def test_training_in_pieces(tmp_path: Path, whole: Path) -> None:
    """Breaks if a checkpoint between two snapshots misses anything."""
    for point in (7, 13, 20, 1, 39):
        with pytest.raises(Stopped):
            train(config(tmp_path), StopAt(point))
    export(train(config(tmp_path)))
    same_ladder(tmp_path / "out", whole)


def test_a_damaged_checkpoint(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(moore.run.behaviours, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(config(tmp_path), StopAt(50))
    newest, other = sorted((tmp_path / "state").glob("*.pt"), key=lambda path: read_seal(path).number, reverse=True)
    flip(newest, 54321)
    capsys.readouterr()
    export(train(config(tmp_path)))
    warned = capsys.readouterr().err
    assert f"{newest}: its content is not what was written; goes on from the other checkpoint, {other.name}" in warned
    same_ladder(tmp_path / "out", whole)


def test_two_trainings_of_one_ladder(tmp_path: Path) -> None:
    """Breaks if a second process writes into the first one's checkpoints."""
    with (
        locked(tmp_path / "state" / "pendulum-seed0.lock", "the ladder"),
        pytest.raises(UserError, match=rf"pendulum-seed0\.pt is in use by process {os.getpid()} on "),
    ):
        train(config(tmp_path))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["pendulum-seed0.lock"]


def _train(folder: Path) -> None:
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    snapshot = BehaviourTraining.snapshot

    def wait(training: BehaviourTraining) -> dict[str, Any]:
        while training.step == 80 and not (folder / "go on").exists():
            time.sleep(0.005)
        return snapshot(training)

    BehaviourTraining.snapshot = wait  # type: ignore[method-assign, assignment]
    sys.exit(main(arguments(folder, *WORDS)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal(number: signal.Signals, tmp_path: Path, whole: Path) -> None:
    process = FORKS.Process(target=_train, args=(tmp_path,))
    process.start()
    log = tmp_path / "log"
    assert wait_for(lambda: log.exists() and "pendulum 40 steps" in log.read_text(), process)
    assert process.pid is not None
    os.kill(process.pid, number)
    (tmp_path / "go on").touch()
    process.join()
    assert process.exitcode == STOPPED
    assert (
        log.read_text().splitlines()[-1]
        == f"moore.run.behaviours: told to stop by {number.name}; the same command goes on"
    )
    assert not (tmp_path / "out").exists()
    assert main(arguments(tmp_path, *WORDS)) == 0
    same_ladder(tmp_path / "out", whole)


def _make(folder: Path) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    commands.make("self:pendulum-low", (20_000, 0, None), data_dir=folder)


def test_data_generation_killed(tmp_path: Path) -> None:
    """Breaks if kill -9 leaves a file that is not whole under a dataset's name, or litter once that is made."""
    commands.make("self:pendulum-low", (20_000, 0, None), data_dir=tmp_path / "whole")
    (expected,) = (tmp_path / "whole").glob("*.hdf5")
    folder, draw = tmp_path / "killed", random.Random(3)
    writing = lambda: folder.exists() and any(folder.iterdir())  # noqa: E731
    for attempt in range(6):
        process: BaseProcess = FORKS.Process(target=_make, args=(folder,))
        process.start()
        if attempt % 2:
            wait_for(writing, process)
        else:
            time.sleep(draw.uniform(0, 0.2))
        process.kill()
        process.join()
        for path in folder.iterdir() if folder.exists() else ():
            assert path.name.startswith(".") or path.read_bytes() == expected.read_bytes()
    commands.make("self:pendulum-low", (20_000, 0, None), data_dir=folder)
    (made,) = (path for path in folder.iterdir() if path.suffix != ".lock")
    assert made.name == expected.name
    assert made.read_bytes() == expected.read_bytes()
