"""What SLURM's commands are asked and what is made of their answers, with commands that the tests put on PATH."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from moore.base.errors import UserError
from slurm import cluster
from slurm.cluster import QueuedTask
from tests.support import slurm_lab
from tests.support.slurm_lab import STAMP

Fake = Callable[[str, str], Path]  # name of a command, body of a shell script -> the file that gets its arguments

# squeue's words, 22.05.8: arrays of which one element was requeued and one is held, and jobs that are not ours
QUEUE = f"""\
1|2|PENDING|JobArrayTaskLimit||0|moore:{STAMP}:0
1|0|COMPLETING|JobArrayTaskLimit|n1|1|moore:{STAMP}:0
2|0|PENDING|PartitionTimeLimit||0|moore:{STAMP}:1
9|0|PENDING|DependencyNeverSatisfied||0|moore:{STAMP}:7
1|1|RUNNING|None|n2|0|moore:{STAMP}:0
3|N/A|RUNNING|None|n1|0|a | b
12|1|PENDING|x||0|site=a moore:{STAMP}:0 and more
10|N/A|RUNNING|None|n2|0|x
y|z
11|N/A|RUNNING|None|n2|0|
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a command on PATH, before those that the machine may have."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return partial(slurm_lab.fake, tmp_path)


def test_our_tasks(fake: Fake) -> None:
    """Breaks if a task of ours is lost, misread or mixed up with other jobs, or only a part of the queue is asked."""
    calls = fake("squeue", slurm_lab.says(QUEUE))
    assert cluster.our_tasks() == [
        QueuedTask("1", 2, "PENDING", "JobArrayTaskLimit", "", STAMP, 0, 0),
        QueuedTask("1", 0, "COMPLETING", "JobArrayTaskLimit", "n1", STAMP, 0, 1),
        QueuedTask("2", 0, "PENDING", "PartitionTimeLimit", "", STAMP, 1, 0),
        QueuedTask("9", 0, "PENDING", "DependencyNeverSatisfied", "", STAMP, 7, 0),
        QueuedTask("1", 1, "RUNNING", "None", "n2", STAMP, 0, 0),
        QueuedTask("12", 1, "PENDING", "x", "", STAMP, 0, 0),  # a plugin of the site has written beside the comment
    ]
    words = calls.read_text().split()
    assert {"--noheader", "--array", "--me", "--all"} < set(words)  # every element; hidden partitions too


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (None, "squeue cannot be asked: cannot be started here"),
        ("echo Unable to contact slurm controller >&2; exit 1", "asked: Unable to contact slurm controller; nothing"),
        ("exec sleep 9", "no answer in"),
        (f"echo '1|PENDING|moore:{STAMP}:0'", "has not the fields"),
        (f"echo '1|N/A|PENDING|x||0|moore:{STAMP}:0'", "has not the fields"),
    ],
)
def test_a_queue_that_cannot_be_read(fake: Fake, body: str | None, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if trouble with squeue is taken for an empty queue, so that everything would be submitted again."""
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    if body is None:
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        fake("squeue", body)
    with pytest.raises(UserError, match=part):
        cluster.our_tasks()


def test_has_slurm(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a machine that cannot submit is taken for a cluster, or one that can for none."""
    fake("squeue", "")
    monkeypatch.setenv("PATH", os.environ["PATH"].split(os.pathsep)[0])
    assert not cluster.has_slurm()
    fake("sbatch", "")
    assert cluster.has_slurm()


def test_filters_of_the_user(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a filter that a user has set for his own look at the queue hides tasks, or keeps them from scancel."""
    for name in ("SQUEUE_STATES", "SQUEUE_PARTITION", "SCANCEL_STATE"):
        monkeypatch.setenv(name, "PENDING")
    monkeypatch.setenv("SLURM_CONF", "/etc/elsewhere.conf")
    check = 'env | grep -q "^S[A-Z]*_STATE\\|^SQUEUE_" && exit 1; [ "$SLURM_CONF" = /etc/elsewhere.conf ] || exit 2'
    fake("squeue", check)
    fake("scancel", check)
    assert cluster.our_tasks() == []
    cluster.cancel(["1_0"])


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("MaxArraySize            = 1001\nMaxJobCount = 5\n", 1001),
        ("MaxArraySize            = 1001\nSchedulerParameters     = bf_interval=2,max_array_tasks=100\n", 100),
        ("SchedulerParameters     = max_array_tasks=5000,x\nMaxArraySize            = 6\n", 6),
        ("MaxArraySize            = 0\n", None),
    ],
)
def test_max_array_size(fake: Fake, config: str, size: int | None) -> None:
    """Breaks if an array is allowed more elements than either limit."""
    fake("scontrol", slurm_lab.says(config))
    with nullcontext() if size else pytest.raises(UserError, match="takes no job arrays"):
        assert cluster.max_array_size() == size


def test_sbatch(fake: Fake, tmp_path: Path) -> None:
    """Breaks if the script does not reach sbatch, a dry run submits, or sbatch's words are lost."""
    calls = fake("sbatch", f"cat > {tmp_path}/script; echo sbatch: Job 7 to start on n1 >&2")
    script = "#!/bin/sh\n#SBATCH --output='a b'\n#SBATCH --requeue\ntrue\n"
    assert cluster.sbatch(script, test_only=True) == "sbatch: Job 7 to start on n1"
    assert (tmp_path / "script").read_text() == script
    assert calls.read_text() == "--test-only --output=a b --requeue\n"
    fake("sbatch", "echo '7;cluster'")
    assert cluster.sbatch(script) == "7"
    fake("sbatch", "echo allocation failure: Invalid partition >&2; echo name specified >&2; exit 1")
    with pytest.raises(UserError, match="sbatch refuses this: allocation failure: Invalid partition name specified;"):
        cluster.sbatch("")


NEVER = (
    *("PartitionTimeLimit", "DependencyNeverSatisfied", "JobHeldUser", "launch_failed_requeued_held", "InvalidQOS"),
    *("QOSMaxCpuPerJobLimit", "QOSMaxGRESPerNode", "AssocMaxCpuMinutesPerJobLimit"),
)
LATER = (
    *("Priority", "Resources", "JobArrayTaskLimit", "QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit", "Dependency"),
    *("QOSMaxCpuPerUserLimit", "ReqNodeNotAvail, UnavailableNodes:n1"),
)


def test_never_starts() -> None:
    """Breaks if a job that waits for ever looks like one that waits for its turn, or the other way round."""
    for state, reasons, never in (("PENDING", NEVER, True), ("PENDING", LATER, False), ("RUNNING", NEVER, False)):
        for reason in reasons:
            assert QueuedTask("1", 0, state, reason, "", STAMP, 0, 0).never_starts == never, reason
