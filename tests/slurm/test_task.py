"""A task of a cluster: what it was promised, requeues, preemption."""

import os
import signal
from collections.abc import Callable

import pytest

import slurm.task
from moore.run.claim import Claim
from moore.run.failures import record_failure
from moore.run.stop import STOPPED, StopRequest
from moore.run.units import UnitProcess
from slurm.profile import Profile
from slurm.task import ArrayTask, missing_resources, slot_environments
from tests.support.slurm_lab import STAMP, Lab


def test_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a run that was to have a GPU would train on the processor."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert missing_resources(Profile(time="60", gpus=1)) is None
    assert missing_resources(Profile(time="60", gpus=2)) == "promised 2 GPUs, torch finds 1"
    assert missing_resources(Profile(time="60", cpus=4)) is None
    assert missing_resources(Profile(time="60", cpus=5)) == "promised 5 CPUs, has 4"


def test_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert slot_environments(Profile(time="60", cpus=6)) == [{"OMP_NUM_THREADS": "1"}] * 6
    assert slot_environments(Profile(time="60", cpus=6, slots=2)) == [{"OMP_NUM_THREADS": "3"}] * 2
    dealt = slot_environments(Profile(time="60", gpus=2, units_per_gpu=2, cpus=4))
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in dealt] == ["2", "5", "2", "5"]


@pytest.fixture
def one(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A study of one unit, submitted to a SLURM whose scontrol does nothing."""
    made = lab()
    made.submit([made.units], profile={"time": "60", "stalled_requeues": 2})
    made.fake("scontrol", "")
    monkeypatch.setattr(slurm.task, "REQUEUE_SECONDS", 0.0)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    return made


@pytest.fixture
def task(one: Lab) -> ArrayTask:
    return ArrayTask(str(one.folder / "submissions" / STAMP), 0, 0)


def exit_code(leave: Callable[[], object]) -> object:
    """How a task ends."""
    with pytest.raises(SystemExit) as left:
        leave()
    return left.value.code


def told(monkeypatch: pytest.MonkeyPatch, *numbers: signal.Signals) -> None:
    """A worker that gets these signals while it runs, and leaves its units for later."""

    class Told:
        def __init__(self, *_: object) -> None:
            pass

        def run(self, stop: StopRequest) -> bool:
            for number in numbers:
                signal.raise_signal(number)
            return not numbers

    monkeypatch.setattr(slurm.task, "Worker", Told)


def requeues(one: Lab) -> list[str]:
    """What scontrol was asked to requeue."""
    calls = one.bin / "scontrol.calls"
    return [line for line in calls.read_text().splitlines() if line.startswith("requeue")] if calls.exists() else []


WARNED = signal.SIGUSR2


def test_requeues_that_bring_nothing_on_end(task: ArrayTask, one: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a task comes back for ever, or is given up although its checkpoints go on."""
    (made,) = one.units
    told(monkeypatch, WARNED)
    for now in ([0, 0], [0, 0], [0, 3], [0, 3]):
        monkeypatch.setattr(slurm.task, "progress", lambda _, now=now: now)
        assert exit_code(task) == STOPPED
    assert requeues(one) == ["requeue 7_0"] * 4
    assert not made.failed_path.exists()
    assert exit_code(task) == 1
    assert not made.failure()["final"]  # it has not had its turn
    Claim(made.claim_path, STAMP).take()
    exit_code(task)
    failure = made.failure()
    assert (failure["kind"], failure["final"], failure["reason"]) == ("no progress", True, "the time limit came")
    assert len(requeues(one)) == 4


def test_what_has_failed_for_good_stays_so(task: ArrayTask, one: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a requeued task tries it again, or another reason is written over its own."""
    (made,) = one.units
    record_failure(made, "bad input", "it is wrong", 1)
    monkeypatch.setattr(UnitProcess, "start", lambda *_: pytest.fail("tried again"))
    task()
    for _ in range(3):
        exit_code(lambda: task._requeue("the time limit came", [made], 1))
    assert made.failure()["kind"] == "bad input"


def test_nothing_left_is_not_requeued(task: ArrayTask, one: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    one.finish(one.study.runs)
    told(monkeypatch, WARNED)
    assert exit_code(task) == STOPPED
    assert requeues(one) == []


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (WARNED, signal.SIGTERM), (signal.SIGTERM, WARNED)])
def test_a_cancelled_task_does_not_come_back(
    task: ArrayTask, one: Lab, monkeypatch: pytest.MonkeyPatch, numbers: tuple[signal.Signals, ...]
) -> None:
    """Breaks if a warning before or during a cancellation's wait for checkpoints requeues the task."""
    told(monkeypatch, *numbers)
    assert exit_code(task) == STOPPED
    assert requeues(one) == []


def test_a_preempted_task_stays_until_slurm_takes_it(
    task: ArrayTask, one: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if it leaves by itself within its grace time: SLURM does not requeue such a task."""

    class Killed(BaseException):
        pass

    def pause() -> None:
        raise Killed

    told(monkeypatch, signal.SIGTERM)
    monkeypatch.setattr(signal, "pause", pause)
    says = "[ $3 = 7_0 ] && echo 'JobState={} PreemptEligibleTime=2026-11-23T02:43:57 PreemptTime={}'"
    one.fake("scontrol", says.format("RUNNING", "2026-11-23T02:48:52"))
    with pytest.raises(Killed):
        task()
    for state, time_ in (("RUNNING", "None"), ("CANCELLED", "2026-11-23T02:48:52")):
        one.fake("scontrol", says.format(state, time_))
        assert exit_code(task) == STOPPED


def test_no_scontrol_on_the_node(task: ArrayTask, one: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    one.without_slurm()
    told(monkeypatch, WARNED)
    assert exit_code(task) == STOPPED
    assert not one.units[0].failed_path.exists()
