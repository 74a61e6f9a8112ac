"""Tasks that a real Slurm stops: at the time limit, preempted, requeued, or on a node that dies; and that go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.experiment import Experiment, same_rows
from tests.cluster.local_slurm import Cluster

REQUEUE = ("scontrol", "requeue", "TASK")
PREEMPT = ("sbatch", "--partition=main", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")


@pytest.mark.parametrize("signal", [0, 1])
def test_requeued_and_preempted(
    cluster: Callable[..., Cluster], tmp_path: Path, reference: Experiment, signal: int
) -> None:
    """Breaks if `scontrol requeue`, which comes as SIGTERM, or preemption, as SIGTERM or after the signal of the time
    limit, costs what was trained since the last checkpoint, or the task.
    """
    experiment = Experiment(tmp_path, cluster(NODES=1, PREEMPT_SIGNAL=signal), profile={"partition": "scavenge"})
    experiment.submit()
    for number, command in enumerate([PREEMPT] if signal else [REQUEUE, PREEMPT]):
        unit = experiment.interrupt(*command)
        assert experiment.element(unit).restarts == number + 1
    experiment.wait_finished()
    same_rows(experiment, reference)


def test_time_limit(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a task is not warned before its time limit, does not requeue itself, or starts from the beginning.

    Slurm looks at time limits every 30 s and warns up to a minute early, so the warning comes within half a minute.
    """
    experiment = Experiment(tmp_path, cluster(NODES=1), epochs=1000, profile={"time": "2", "signal_seconds": 59})
    experiment.submit()
    unit = experiment.interrupt()
    assert experiment.element(unit).restarts == 1


def test_node_dies(cluster: Callable[..., Cluster], tmp_path: Path, reference: Experiment) -> None:
    """Breaks if what ran on a node that lost its power is not finished on another one."""
    slurm = cluster(NODES=3, CPUS_PER_NODE=1, EXTRA_CONF="SlurmdTimeout=5")
    experiment = Experiment(tmp_path, slurm, seeds=2)
    experiment.submit()
    unit, other = experiment.wait_online(2)
    node = experiment.element(unit).node
    assert node != experiment.element(other).node
    slurm.kill_node(node)
    assert experiment.submit() == 0  # Slurm has not seen it yet, or has requeued the task
    restarted = lambda: (e := experiment.unit_file(unit, "claim")).get("restart") == 1 and e  # noqa: E731
    claim = experiment.wait(restarted, 90, "the unit starts on another node")
    assert claim["node"] != node
    experiment.wait_finished()
    same_rows(experiment, reference)


def test_controller_is_down(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a cluster that does not answer is taken for one on which nothing runs."""
    slurm = cluster(NODES=1)
    experiment = Experiment(tmp_path, slurm, epochs=1000)
    assert experiment.submit() == 1
    experiment.wait_online()
    slurm.stop_controller()
    submissions = sorted((experiment.root / experiment.study.name / "submissions").iterdir())
    for command in ("submit", "status"):
        assert "cannot be asked" in experiment.refused(command)
    assert sorted((experiment.root / experiment.study.name / "submissions").iterdir()) == submissions
    slurm.start()
    assert experiment.submit() == 0
