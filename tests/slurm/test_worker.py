"""A task's worker: units side by side, retries, memory, stopping, and what it was promised."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import slurm.task
import slurm.worker
from moore.algorithm.config import from_mapping
from moore.base.files import write_json
from moore.run.claim import Claim
from moore.run.stop import STOPPED, StopRequest
from moore.run.work import Work
from moore.studies.identity import run_id
from slurm.profile import Profile
from slurm.task import Task, missing_resources, slot_environments
from slurm.worker import Worker, read_failure
from tests.slurm.test_plan import finish_run, finish_stage, run
from tests.support.resume_units import RUN

FINISH = "finish"  # what a pretended unit does
STUBBORN = """import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("up", flush=True)
time.sleep(60)"""


class Pretended(Work):
    """A unit whose process does what `acts` says: one entry for each start, of its name's last letter or any."""

    acts: list[str]
    log: list[tuple[str, str]]  # (unit, environment's OMP_NUM_THREADS) of every start

    def start(self, submission: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        act = self.acts.pop(0) if self.acts else FINISH
        if act == FINISH:
            for config in self.runs:
                finish_run(self.root, config)
        code = "" if act == FINISH else act
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
        self.log.append((self.name, (environment or {}).get("OMP_NUM_THREADS", "")))

    def halves(self) -> list[Work]:
        """Pretended, too."""
        made: list[Work] = []
        for half in super().halves():
            part = Pretended(half.study, half.runs, half.root, half.device)
            part.acts, part.log = [], self.log
            made.append(part)
        return made


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    monkeypatch.setattr(slurm.worker, "POLL_SECONDS", 0.01)
    return []


def unit(root: Path, starts: list[tuple[str, str]], seeds: list[int], *acts: str) -> Pretended:
    made = Pretended("plan-tiny", [run("a", seed) for seed in seeds], root, "cpu")
    made.acts, made.log = list(acts), starts
    return made


def worker(units: list[Pretended], slots: int = 2, attempts: int = 2, **more: Any) -> Worker:
    return Worker(units, [{"OMP_NUM_THREADS": "1"}] * slots, attempts, "stamp", **more)


def test_a_failing_unit_hurts_nobody(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    """Breaks if a failure ends the pack, is not tried again, is tried too often, or leaves no record."""
    bad = unit(tmp_path, starts, [0], *["raise ValueError('nan')"] * 5)
    once = unit(tmp_path, starts, [1], "raise ValueError('bad luck')")
    good = [unit(tmp_path, starts, [seed]) for seed in range(2, 6)]
    assert worker([bad, once, *good]).run()
    assert [u.finished() for u in (bad, once, *good)] == [False, *[True] * 5]
    assert [name for name, _ in starts].count(bad.name) == 2
    failure = read_failure(bad)
    assert (failure["attempts"], failure["final"], failure["kind"], failure["exit_code"]) == (2, True, "failed", 1)
    assert failure["reason"] == "ValueError: nan"
    assert not once.failed_path.exists()


def test_bad_input_is_final_and_a_full_disk_is_not(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    wrong = unit(tmp_path, starts, [0], "import sys; sys.exit('moore: x: not accepted')", FINISH)
    wrong.acts[0] = "import sys; print('moore: x: not accepted', file=sys.stderr); sys.exit(2)"
    full = unit(tmp_path, starts, [1], "import sys; sys.exit(74)")
    assert not worker([wrong, full]).run()
    assert (wrong.finished(), full.finished()) == (False, False)
    assert (read_failure(full)["attempts"], read_failure(full)["final"]) == (0, False)  # the next submit tries it
    assert worker([full]).run()
    assert not full.failed_path.exists()
    failure = read_failure(wrong)
    assert (failure["kind"], failure["attempts"], failure["final"]) == ("bad input", 1, True)
    assert failure["reason"] == "x: not accepted"


@pytest.mark.parametrize("how", ["text", "kernel"])
def test_memory(tmp_path: Path, starts: list[tuple[str, str]], how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a cohort that does not fit is tried whole again, runs are lost, or a single run is halved for ever."""
    kills = iter([0, *[1] * 99])
    if how == "kernel":
        monkeypatch.setattr(slurm.worker, "_oom_kills", lambda: next(kills))
    act = {"text": "raise MemoryError", "kernel": "import os; os.kill(os.getpid(), 9)"}[how]
    large = unit(tmp_path, starts, [0, 1, 2, 3], act)
    assert worker([large], slots=1).run()
    assert all(
        json.loads((tmp_path / f"plan-tiny/runs/{run_id(config)}/manifest.json").read_text()) for config in large.runs
    )
    assert [name for name, _ in starts] == [large.name, *(half.name for half in large.halves())]
    assert "out of memory" in json.loads(large.split_path.read_text())["reason"]
    assert not large.failed_path.exists()
    if how == "text":
        single = unit(tmp_path, starts, [9], *[act] * 5)
        assert worker([single]).run()
        assert read_failure(single)["kind"] == "out of memory"
        assert not single.split_path.exists()


def test_a_kill_is_not_memory(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    killed = unit(tmp_path, starts, [0, 1], "import os; os.kill(os.getpid(), 9)", "import os; os.kill(os.getpid(), 9)")
    assert worker([killed]).run()
    failure = read_failure(killed)
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
    assert running.process is not None
    assert running.process.returncode == STOPPED
    assert len(starts) == 1
    assert not running.failed_path.exists()
    assert not waiting.finished()


def test_a_unit_waits_for_its_offline_stage(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    """Breaks if a unit trains a stage itself that another one was to train, which may be training it at this moment."""
    made = unit(tmp_path, starts, [0])
    needs = {made.name: sorted(made.missing_stages())}
    assert not worker([made], needs=needs).run()
    assert starts == []
    finish_stage(tmp_path, made.runs[0])
    assert worker([made], needs=needs).run()
    assert made.finished()


def test_units_that_share_a_stage_do_not_train_it_twice(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    """Breaks if both halves of a cohort start the same offline stage at once."""
    first, second = unit(tmp_path, starts, [0], STUBBORN), unit(tmp_path, starts, [0])
    second.runs = [from_mapping({**RUN, "method": "b", "seed": 0}, "test")]
    work = worker([first, second])
    work._fill()
    assert [name for name, _ in starts] == [first.name]
    finish_stage(tmp_path, first.runs[0])
    work._fill()
    assert len(starts) == 2
    while not first.log_path.read_text():
        time.sleep(0.01)
    work.stop(signal.SIGTERM)
    work.stop(signal.SIGTERM)
    assert (work.running, work.left) == ({}, True)


def test_finished_units_are_not_started(tmp_path: Path, starts: list[tuple[str, str]]) -> None:
    done = unit(tmp_path, starts, [0])
    finish_run(tmp_path, done.runs[0])
    assert worker([done]).run()
    assert starts == []


# ---- what a task was promised ----


def promised(monkeypatch: pytest.MonkeyPatch, profile: Profile, **environment: str) -> str | None:
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return missing_resources(profile)


def test_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a run that was to have a GPU would train on the processor."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    gpu = Profile(time="60", gpus=2, device="cpu")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert promised(monkeypatch, gpu) == "promised 2 GPUs, 0 are visible"
    assert promised(monkeypatch, gpu, CUDA_VISIBLE_DEVICES="3") == "promised 2 GPUs, 1 are visible"
    assert promised(monkeypatch, gpu, CUDA_VISIBLE_DEVICES="0,3") is None
    cuda = Profile(time="60", gpus=1)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert promised(monkeypatch, cuda, CUDA_VISIBLE_DEVICES="0") == "promised 1 GPUs, torch finds 0"
    cpu = Profile(time="60", cpus=3, memory="2G")
    assert promised(monkeypatch, cpu) is None
    assert promised(monkeypatch, cpu, SLURM_CPUS_PER_TASK="2") == "promised 3 CPUs, has 2"
    assert promised(monkeypatch, cpu, SLURM_MEM_PER_NODE="2048") is None
    assert promised(monkeypatch, cpu, SLURM_MEM_PER_NODE="1000") == "promised 2G of memory, has 1000 MB"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert promised(monkeypatch, cpu) == "promised 3 CPUs, has 1"


def test_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert slot_environments(Profile(time="60", cpus=6)) == [{"OMP_NUM_THREADS": "1"}] * 6
    assert slot_environments(Profile(time="60", cpus=6, slots=2)) == [{"OMP_NUM_THREADS": "3"}] * 2
    dealt = slot_environments(Profile(time="60", gpus=2, cohorts_per_gpu=2, cpus=4))
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in dealt] == ["2", "5", "2", "5"]


# ---- requeues ----


@pytest.fixture
def task(tmp_path: Path, starts: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task with one unit, and a folder with a pretended scontrol at the head of PATH."""
    made = unit(tmp_path, starts, [0])
    made.write_spec()
    folder = tmp_path / "plan-tiny" / "submissions" / "stamp"
    manifest = {"stamp": "stamp", "arrays": [{"tasks": [[made.name]]}], "needs": {}, "profile": {"stalled_requeues": 2}}
    write_json(folder / "manifest.json", manifest)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(slurm.task, "_worker", None)
    return Task(str(folder), 0, 0)


def test_requeues_that_bring_nothing_on_end(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a task comes back for ever, or is given up although its checkpoints go on."""
    made = Work.read(next((tmp_path / "plan-tiny" / "units").glob("*.json")))
    for now in ([0, 0], [0, 0], [0, 3], [0, 3]):
        monkeypatch.setattr(slurm.task, "progress", lambda _, now=now: now)
        assert task.checkpoint().function == task
    assert not made.failed_path.exists()
    with pytest.raises(SystemExit) as left:
        task.checkpoint()
    assert left.value.code == 1
    assert not read_failure(made)["final"]  # it has not had its turn
    Claim(made.claim_path, "stamp").take()
    with pytest.raises(SystemExit):
        task.checkpoint()
    failure = read_failure(made)
    assert (failure["kind"], failure["final"], failure["reason"]) == ("no progress", True, "the time limit came")


def test_what_has_failed_for_good_stays_so(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a requeued task tries it again, or another reason is written over its own."""
    made = Work.read(next((tmp_path / "plan-tiny" / "units").glob("*.json")))
    slurm.worker.record_failure(made, "bad input", "it is wrong", 1)
    monkeypatch.setattr(slurm.task, "Profile", lambda **_: Profile(time="60"))
    monkeypatch.setattr(Work, "start", lambda *_: pytest.fail("tried again"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    task()
    with pytest.raises(SystemExit) as left:
        task.checkpoint()
    assert left.value.code == 0
    task._count_requeue("the time limit came", [made], 1)
    with pytest.raises(SystemExit):
        task._count_requeue("the time limit came", [made], 1)
    assert read_failure(made)["kind"] == "bad input"


def test_nothing_left_is_not_requeued(task: Task, tmp_path: Path) -> None:
    made = Work.read(next((tmp_path / "plan-tiny" / "units").glob("*.json")))
    finish_run(tmp_path, made.runs[0])
    with pytest.raises(SystemExit) as left:
        task.checkpoint()
    assert left.value.code == 0


def test_a_cancelled_task_does_not_come_back(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the warning signal, during a cancellation's wait for checkpoints, requeues the task."""
    monkeypatch.setattr(slurm.task, "_terminated", False)
    with pytest.raises(SystemExit) as left:
        task._terminated(signal.SIGTERM, None)
    assert left.value.code == STOPPED
    with pytest.raises(SystemExit) as left:
        task.checkpoint()
    assert left.value.code == STOPPED


def test_a_preempted_task_stays_until_slurm_takes_it(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if it leaves by itself within its grace time: SLURM does not requeue such a task."""
    script = tmp_path / "bin" / "scontrol"
    monkeypatch.setattr(slurm.task, "_terminated", False)

    class Killed(BaseException):
        pass

    def pause() -> None:
        raise Killed

    monkeypatch.setattr(signal, "pause", pause)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    says = "#!/bin/sh\n[ $3 = 7_0 ] && echo 'JobState={} PreemptEligibleTime=2026-11-23T02:43:57 PreemptTime={}'\n"
    script.write_text(says.format("RUNNING", "2026-11-23T02:48:52"))
    for leave in (lambda: task._terminated(signal.SIGTERM, None), task.checkpoint):
        with pytest.raises(Killed):
            leave()
    for state, time_ in (("RUNNING", "None"), ("CANCELLED", "2026-11-23T02:48:52")):
        script.write_text(says.format(state, time_))
        with pytest.raises(SystemExit) as left:
            task.checkpoint()
        assert left.value.code == STOPPED


def test_half_written_files_of_this_task_alone_go(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Path(task.submission) / "jobs"
    jobs.mkdir()
    names = [
        "7_0_submitted.pkl.save_tmp",
        "7_0_0_result.pkl.save_tmp",
        "7_01_submitted.pkl.save_tmp",
        "7_0_submitted.pkl",
    ]
    for name in names:
        (jobs / name).write_text("")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    task._forget_half_written()
    assert sorted(path.name for path in jobs.iterdir()) == sorted(names[2:])


def test_no_scontrol_on_the_node(task: Task, tmp_path: Path) -> None:
    (tmp_path / "bin" / "scontrol").unlink()
    with pytest.raises(SystemExit) as left:
        task.checkpoint()
    assert left.value.code == STOPPED
    assert not list((tmp_path / "plan-tiny" / "units").glob("*.failed.json"))
