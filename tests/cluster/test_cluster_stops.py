"""Tasks that a real Slurm stops: at the time limit, preempted, requeued, or on a node that dies; and that go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.experiment import Experiment, same_rows
from tests.cluster.local_slurm import Cluster

ONE_UNIT: dict[str, Any] = {"seeds": 2, "epochs": 40}


def test_requeued_from_outside(
    cluster: Callable[..., Cluster], tmp_path: Path, quiet: Callable[..., Experiment]
) -> None:
    """Breaks if `scontrol requeue`, which comes as SIGTERM, costs what was trained since the last checkpoint."""
    experiment = Experiment(tmp_path, cluster(NODES=2), **ONE_UNIT)
    experiment.submit()
    (unit,) = experiment.wait_online()
    claim = experiment.unit_file(unit, "claim")
    experiment.slurm.run("scontrol", "requeue", experiment.element(unit).name)
    assert experiment.submit() == 0  # it waits, and is still its task's
    saved = experiment.stopped_at(unit)
    assert experiment.first_epoch(unit, claim) >= saved > 0
    assert experiment.element(unit).restarts == 1
    experiment.wait_finished()
    same_rows(experiment, quiet(experiment.slurm, **ONE_UNIT))


@pytest.mark.parametrize("signal", [0, 1])
def test_preempted(
    cluster: Callable[..., Cluster], tmp_path: Path, quiet: Callable[..., Experiment], signal: int
) -> None:
    """Breaks if preemption, as SIGTERM or after the signal of the time limit, loses work or the task."""
    experiment = Experiment(tmp_path, cluster(NODES=1, PREEMPT_SIGNAL=signal), **ONE_UNIT)
    experiment.set_profile(partition="scavenge")
    experiment.submit()
    (unit,) = experiment.wait_online()
    claim = experiment.unit_file(unit, "claim")
    experiment.slurm.run("sbatch", "--partition=main", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    saved = experiment.stopped_at(unit)
    assert experiment.submit() == 0
    assert experiment.first_epoch(unit, claim) >= saved > 0
    experiment.wait_finished()
    same_rows(experiment, quiet(experiment.slurm, **ONE_UNIT))


def test_time_limit(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a task is not warned before its time limit, does not requeue itself, or starts from the beginning.

    Slurm looks at time limits every 30 s and warns up to a minute early, so the warning comes within half a minute.
    """
    experiment = Experiment(tmp_path, cluster(NODES=2), seeds=1, epochs=1000)
    experiment.set_profile(time="2", signal_seconds=59)
    experiment.submit()
    (unit,) = experiment.wait_online(epochs=1)
    claim = experiment.unit_file(unit, "claim")
    saved = experiment.stopped_at(unit)
    assert experiment.first_epoch(unit, claim) >= saved > 0
    assert experiment.element(unit).restarts == 1


def test_node_dies(cluster: Callable[..., Cluster], tmp_path: Path, quiet: Callable[..., Experiment]) -> None:
    """Breaks if what ran on a node that lost its power is not finished on another one."""
    settings = ONE_UNIT | {"profile": {"unit_runs": 1}}
    slurm = cluster(fresh=True, NODES=3, CPUS_PER_NODE=1, EXTRA_CONF="SlurmdTimeout=5")
    experiment = Experiment(tmp_path, slurm, **settings)
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
    same_rows(experiment, quiet(experiment.slurm, **settings))


def test_controller_is_down(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a cluster that does not answer is taken for one on which nothing runs."""
    slurm = cluster(fresh=True, NODES=1, EXTRA_CONF="SlurmctldTimeout=5")
    experiment = Experiment(tmp_path, slurm, epochs=200)
    assert experiment.submit() == 2
    experiment.wait_online()
    slurm.stop_controller()
    submissions = sorted((experiment.root / experiment.study.name / "submissions").iterdir())
    for command in ("submit", "status", "cancel"):
        line = experiment.refused(command)
        assert "cannot be asked" in line
    assert sorted((experiment.root / experiment.study.name / "submissions").iterdir()) == submissions
    slurm.start()
    assert experiment.submit() == 0
