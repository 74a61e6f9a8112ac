"""kill -9 at random moments of data generation, offline stage, evaluation, online stage and writing of checkpoints.

`make test-slow` kills 50 times.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd

from tests.support.resume_units import fork, rows, run_to_end, status, wait_for, write_spec

KILLS = int(os.environ.get("KILLS", "20"))
MOMENTS = ("data", "offline", "online", "evaluation", "checkpoint")
LONGER = {"dataset_transitions": 2000, "online": {"epochs": 4}}  # so that there is something to hit


def moment(name: str, root: Path, started: float) -> Callable[[], bool]:
    """Whether a unit that was started at this time is where it is to be killed."""
    study = root / "tiny"

    def labelled() -> bool:
        now = status(root)
        return now.get("time", 0.0) >= started and str(now.get("label", "")).startswith(name)

    def evaluated() -> bool:
        return any(file.stat().st_size > sizes.get(file, 1000) for file in study.rglob("rows.csv"))

    def writes() -> bool:
        return any((study / "checkpoints").rglob(".*.tmp"))

    sizes = {file: file.stat().st_size for file in study.rglob("rows.csv")}
    return {"evaluation": evaluated, "checkpoint": writes}.get(name, labelled)


def kill(process: BaseProcess, name: str, root: Path, draw: random.Random) -> bool:
    """Kill a process soon after a moment; False: it ended before that."""
    there = wait_for(moment(name, root, time.time()), process)
    if there and name in ("offline", "online"):
        time.sleep(draw.uniform(0, 0.3))
    elif there and name == "data":
        time.sleep(draw.uniform(0, 0.05))
    if not process.is_alive():
        return False
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Breaks if a row is missing, doubled or another than without kills, after any kill -9."""
    whole = tmp_path / "whole"
    run_to_end(write_spec(whole, **LONGER))
    expected = rows(whole)
    draw, killed, roots = random.Random(11), Counter[str](), 0
    while killed.total() < KILLS:
        roots += 1
        root = tmp_path / str(roots)
        path = write_spec(root, **LONGER)
        done = False
        while not done:
            process = fork(path, 0.0)
            possible = MOMENTS[1:] if (root / "data").exists() else MOMENTS  # data are made once in a root
            name = min(possible, key=lambda name: (killed[name], draw.random()))
            if killed.total() < KILLS and kill(process, name, root, draw):
                killed[name] += 1
                continue
            process.join()
            assert process.exitcode == 0, path.with_suffix(".log").read_text()
            done = True
        pd.testing.assert_frame_equal(rows(root), expected, check_exact=True)
        left = [file for file in root.rglob("*") if file.name.endswith(".tmp") or file.parent.name == "checkpoints"]
        assert not left
    assert min(killed[name] for name in MOMENTS) >= KILLS // 10, killed
