"""The worker: units side by side, retries, memory, and stopping."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import moore.run.failures
import moore.run.worker
from moore.algorithm.config import from_mapping
from moore.run.display import TaskLog
from moore.run.stop import STOPPED, StopRequest
from moore.run.units import UnitProcess
from moore.run.worker import Worker
from moore.studies.identity import run_id
from tests.slurm.test_plan import finish_runs, run
from tests.support.resume_units import RUN

FINISH = "finish"  # what a pretended unit does
STUBBORN = """import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("up", flush=True)
time.sleep(60)"""


class Pretended(UnitProcess):
    """A unit whose process does what `acts` says: one entry for each start, of its name's last letter or any."""

    acts: list[str]
    log: list[tuple[str, str]]  # (unit, environment's OMP_NUM_THREADS) of every start

    def start(self, submission: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        act = self.acts.pop(0) if self.acts else FINISH
        if act == FINISH:
            finish_runs(self.root, self.runs)
        code = "" if act == FINISH else act
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
        self.log.append((self.name, (environment or {}).get("OMP_NUM_THREADS", "")))

    def halves(self) -> list[UnitProcess]:
        """Pretended, too."""
        made: list[UnitProcess] = []
        for half in super().halves():
            part = Pretended(half.study, half.runs, half.root, half.device)
            part.acts, part.log = [], self.log
            made.append(part)
        return made


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    monkeypatch.setattr(moore.run.worker, "POLL_SECONDS", 0.01)
    return []


def unit(root: Path, starts: list[tuple[str, str]], seeds: list[int], *acts: str) -> Pretended:
    made = Pretended("plan-tiny", [run("a", seed) for seed in seeds], root, "cpu")
    made.acts, made.log = list(acts), starts
    return made


def worker(units: list[Pretended], slots: int = 2, attempts: int = 2) -> Worker:
    return Worker(units, [{"OMP_NUM_THREADS": "1"}] * slots, TaskLog(), attempts, "stamp")


def test_a_failing_unit_hurts_nobody(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    """Breaks if a failure ends the pack, is not tried again, is tried too often, or leaves no record."""
    bad = unit(tmp_path, starts, [0], *["raise ValueError('nan')"] * 5)
    once = unit(tmp_path, starts, [1], "raise ValueError('bad luck')")
    good = [unit(tmp_path, starts, [seed]) for seed in range(2, 6)]
    assert worker([bad, once, *good]).run(StopRequest())
    assert [u.finished() for u in (bad, once, *good)] == [False, *[True] * 5]
    assert [name for name, _ in starts].count(bad.name) == 2
    failure = bad.failure()
    assert (failure["attempts"], failure["final"], failure["kind"], failure["exit_code"]) == (2, True, "failed", 1)
    assert failure["reason"] == "ValueError: nan"
    assert not once.failed_path.exists()


def test_bad_input_is_final_and_a_full_disk_is_not(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    refuse = "import sys; print('moore: x: not accepted', file=sys.stderr); sys.exit(2)"
    wrong = unit(tmp_path, starts, [0], refuse, FINISH)
    full = unit(tmp_path, starts, [1], "import sys; sys.exit(74)")
    assert not worker([wrong, full]).run(StopRequest())
    assert (wrong.finished(), full.finished()) == (False, False)
    assert (full.failure()["attempts"], full.failure()["final"]) == (0, False)  # the next submit tries it
    assert worker([full]).run(StopRequest())
    assert not full.failed_path.exists()
    failure = wrong.failure()
    assert (failure["kind"], failure["attempts"], failure["final"]) == ("bad input", 1, True)
    assert failure["reason"] == "x: not accepted"


@pytest.mark.parametrize("how", ["text", "kernel"])
def test_memory(tmp_path: Path, starts: list[tuple[str, str]], how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a cohort that does not fit is tried whole again, runs are lost, or a single run is halved for ever."""
    kills = iter([0, *[1] * 99])
    if how == "kernel":
        monkeypatch.setattr(moore.run.worker, "oom_kills", lambda: next(kills))
    act = {"text": "raise MemoryError", "kernel": "import os; os.kill(os.getpid(), 9)"}[how]
    large = unit(tmp_path, starts, [0, 1, 2, 3], act)
    assert worker([large], slots=1).run(StopRequest())
    assert all((tmp_path / f"plan-tiny/runs/{run_id(config)}/manifest.json").exists() for config in large.runs)
    assert [name for name, _ in starts] == [large.name, *(half.name for half in large.halves())]
    assert "out of memory" in json.loads(large.split_path.read_text())["reason"]
    assert not large.failed_path.exists()
    if how == "text":
        single = unit(tmp_path, starts, [9], *[act] * 5)
        assert worker([single]).run(StopRequest())
        assert single.failure()["kind"] == "out of memory"
        assert not single.split_path.exists()


def test_a_kill_is_not_memory(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    killed = unit(tmp_path, starts, [0, 1], *["import os; os.kill(os.getpid(), 9)"] * 2)
    assert worker([killed]).run(StopRequest())
    failure = killed.failure()
    assert (failure["kind"], failure["exit_code"]) == ("failed", -9)
    assert failure["reason"].startswith("killed by SIGKILL")


def test_stop_waits_for_checkpoints(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    """Breaks if a stopped unit counts as failed, or what was waiting is started after the stop."""
    running, waiting = unit(tmp_path, starts, [0], STUBBORN), unit(tmp_path, starts, [1])
    stop = StopRequest()
    work = worker([running, waiting], slots=1)
    fill = work._fill

    def fill_and_stop() -> None:
        fill()
        while not running.log_path.exists() or not running.log_path.read_text():
            time.sleep(0.01)
        stop.tell(signal.SIGTERM)

    work._fill = fill_and_stop  # type: ignore[method-assign]
    assert not work.run(stop)
    assert running.process.returncode == STOPPED
    assert len(starts) == 1
    assert not running.failed_path.exists()
    assert not waiting.finished()


def test_units_that_share_a_stage_do_not_train_it_twice(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    """Breaks if both halves of a cohort start the same offline stage at once."""
    first, second = unit(tmp_path, starts, [0], STUBBORN), unit(tmp_path, starts, [0])
    second.runs = [from_mapping({**RUN, "method": "b", "seed": 0}, "test")]
    work = worker([first, second])
    work._fill()
    assert [name for name, _ in starts] == [first.name]
    finish_runs(tmp_path, first.runs, stage=True)
    work._fill()
    assert len(starts) == 2
    while not first.log_path.read_text():
        time.sleep(0.01)
    stop = StopRequest()
    stop.tell(signal.SIGTERM)
    assert not work.run(stop)
    assert work.running == {}
