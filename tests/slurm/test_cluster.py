"""What SLURM's commands are asked and what is made of their answers, with commands that the tests put on PATH."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from moore.base.errors import UserError
from slurm import cluster
from slurm.cluster import QueuedTask

STAMP = "20261123-014512-3f2a"
Fake = Callable[[str, str], Path]  # name of a command, body of a shell script -> the file that gets its arguments

# squeue's words, 22.05.8: arrays of which one element was requeued and one is held, and jobs that are not ours
QUEUE = f"""\
1|2|PENDING|JobArrayTaskLimit||10:00|0|moore:{STAMP}:0
1|0|COMPLETING|JobArrayTaskLimit|n1|10:00|1|moore:{STAMP}:0
2|0|PENDING|PartitionTimeLimit||10:00:00|0|moore:{STAMP}:1
9|0|PENDING|DependencyNeverSatisfied||3:00|0|moore:{STAMP}:7
1|1|RUNNING|None|n2|1-09:52:00|0|moore:{STAMP}:0
3|N/A|RUNNING|None|n1|9:24|0|a | b
10|N/A|RUNNING|None|n2|10:00|0|x
y|z
11|N/A|RUNNING|None|n2|10:00|0|
"""
PARTITIONS = """\
PartitionName=main AllowGroups=ALL Default=YES QoS=N/A DefaultTime=00:10:00 MaxNodes=UNLIMITED MaxTime=01:00:30 State=UP
PartitionName=long AllowGroups=ALL Default=NO QoS=N/A DefaultTime=00:10:00 MaxTime=2-12:30:00 State=UP TotalCPUs=4
PartitionName=any AllowGroups=ALL Default=NO QoS=N/A DefaultTime=NONE MaxTime=UNLIMITED State=UP TotalCPUs=4
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a command on PATH, before those that the machine may have."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def make(name: str, body: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        (folder / name).write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{body}\n')
        (folder / name).chmod(0o755)
        return calls

    return make


def says(text: str) -> str:
    """A script that prints a text."""
    return f"cat <<'END'\n{text}END"


def test_our_tasks(fake: Fake) -> None:
    """Breaks if a task of ours is lost, misread or mixed up with other jobs, or only a part of the queue is asked."""
    calls = fake("squeue", says(QUEUE))
    assert cluster.our_tasks() == [
        QueuedTask("1", 2, "PENDING", "JobArrayTaskLimit", "", STAMP, 0, "10:00", 0),
        QueuedTask("1", 0, "COMPLETING", "JobArrayTaskLimit", "n1", STAMP, 0, "10:00", 1),
        QueuedTask("2", 0, "PENDING", "PartitionTimeLimit", "", STAMP, 1, "10:00:00", 0),
        QueuedTask("9", 0, "PENDING", "DependencyNeverSatisfied", "", STAMP, 7, "3:00", 0),
        QueuedTask("1", 1, "RUNNING", "None", "n2", STAMP, 0, "1-09:52:00", 0),
    ]
    words = calls.read_text().split()
    assert {"--noheader", "--array", "--me", "--all"} < set(words)  # every element; hidden partitions too


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (
            "echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1",
            "Unable to contact slurm contro",
        ),
        ("exec sleep 9", "no answer in"),
        (f"echo '1|PENDING|moore:{STAMP}:0'", "has not the fields"),
        (f"echo '1|N/A|PENDING|x||1:00|0|moore:{STAMP}:0'", "has not the fields"),
    ],
)
def test_a_queue_that_cannot_be_read(fake: Fake, body: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if trouble with squeue is taken for an empty queue, so that everything would be submitted again."""
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    fake("squeue", body)
    with pytest.raises(UserError, match=r"squeue cannot be asked: .*; nothing was done") as error:
        cluster.our_tasks()
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_no_slurm(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a machine without squeue is taken for an empty queue, or one that cannot submit for a cluster."""
    fake("squeue", says(QUEUE))
    fake("sbatch", "")
    assert cluster.has_slurm()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not cluster.has_slurm()
    with pytest.raises(UserError, match=r"squeue cannot be asked: cannot be started here \(No such file"):
        cluster.our_tasks()


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
    ],
)
def test_max_array_size(fake: Fake, config: str, size: int) -> None:
    """Breaks if an array is allowed more elements than either limit."""
    calls = fake("scontrol", says(config))
    assert cluster.max_array_size() == size
    assert calls.read_text() == "show config\n"
    fake("scontrol", says("MaxArraySize            = 0\n"))
    with pytest.raises(UserError, match="takes no job arrays"):
        cluster.max_array_size()


@pytest.mark.parametrize(
    ("partition", "minutes"),
    [(None, 60.5), ("main", 60.5), ("long", 2 * 1440 + 12 * 60 + 30), ("any", math.inf), ("main,long", 3630)],
)
def test_partition_max_minutes(fake: Fake, partition: str | None, minutes: float) -> None:
    """Breaks if a MaxTime is misread, is another partition's, or the default partition is not the one marked so."""
    fake("scontrol", says(PARTITIONS))
    assert cluster.partition_max_minutes(partition) == minutes


def test_unknown_partition(fake: Fake) -> None:
    """Breaks if a partition that is not there passes, or the error does not name those that are."""
    fake("scontrol", says(PARTITIONS))
    with pytest.raises(UserError, match="partition: 'lang' is not one of SLURM's; accepted: main, long, any"):
        cluster.partition_max_minutes("main,lang")
    fake("scontrol", says(PARTITIONS.replace("YES", "NO")))
    with pytest.raises(UserError, match="no default one; accepted: main, long, any"):
        cluster.partition_max_minutes(None)


def test_test_only(fake: Fake, tmp_path: Path) -> None:
    """Breaks if the script does not reach sbatch, sbatch would submit, or its words are lost."""
    calls = fake("sbatch", f"cat > {tmp_path}/script; echo sbatch: Job 7 to start on n1 >&2")
    assert cluster.test_only("#!/bin/sh\ntrue\n") == "sbatch: Job 7 to start on n1"
    assert (tmp_path / "script").read_text() == "#!/bin/sh\ntrue\n"
    assert calls.read_text() == "--test-only\n"
    fake("sbatch", "echo allocation failure: Invalid partition >&2; echo name specified >&2; exit 1")
    with pytest.raises(UserError, match="sbatch refuses this: allocation failure: Invalid partition name specified;"):
        cluster.test_only("")


def test_cancel(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a task is not cancelled, scancel is called without ids, or its failure is not told."""
    monkeypatch.setattr(cluster, "CHUNK", 2)
    calls = fake("scancel", "")
    cluster.cancel([])
    assert not calls.exists()
    cluster.cancel(["12_3", "12_4", "13"])
    assert calls.read_text() == "12_3 12_4\n13\n"
    fake("scancel", '[ "$1" = 13 ] && echo scancel: error: Access denied >&2 && exit 1; exit 0')
    with pytest.raises(UserError, match="scancel failed: scancel: error: Access denied; 2 of 3 tasks were cancelled"):
        cluster.cancel(["12_3", "12_4", "13"])


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        *((reason, True) for reason in (
            "PartitionTimeLimit", "DependencyNeverSatisfied", "JobHeldUser", "launch_failed_requeued_held",
            "QOSMaxCpuPerJobLimit", "QOSMaxGRESPerNode", "AssocMaxCpuMinutesPerJobLimit", "InvalidQOS",
        )),
        *((reason, False) for reason in (
            "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit",
            "ReqNodeNotAvail, UnavailableNodes:n1", "QOSMaxCpuPerUserLimit",
        )),
    ],
)  # fmt: skip
def test_never_starts(reason: str, never: bool) -> None:
    """Breaks if a job that waits for ever looks like one that waits for its turn, or the other way round."""
    task = QueuedTask("1", 0, "PENDING", reason, "", STAMP, 0, "1:00", 0)
    assert task.never_starts is never
    assert not QueuedTask("1", 0, "RUNNING", reason, "n1", STAMP, 0, "1:00", 0).never_starts


def test_a_site_that_adds_to_comments(fake: Fake) -> None:
    """Breaks if a task is not seen any more because a plugin of the site has written beside its comment."""
    fake("squeue", f"echo '1|1|PENDING|x||1:00|0|site=a moore:{STAMP}:0 and more'")
    assert [(task.stamp, task.array) for task in cluster.our_tasks()] == [(STAMP, 0)]
