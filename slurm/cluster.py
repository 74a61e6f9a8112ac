"""SLURM's own commands as functions. squeue and scontrol are asked, never sacct: it is late, and not everywhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from moore.base.errors import UserError

PATIENCE = 120.0  # seconds for an answer: squeue itself tries a controller for up to a minute
FIELDS = ("ArrayJobID", "ArrayTaskID", "State", "Reason", "NodeList", "TimeLeft", "RestartCnt", "Comment")
OURS = re.compile(r"moore:([A-Za-z0-9-]+):(\d+)")  # --comment of every submission: its stamp, number of the array
CHUNK = 500  # ids in one call of scancel

_PER_JOB = ("Cpu", "CpuMinutes", "Node", "NodeMinutes", "WallDuration")
_PER_TRES = ("BB", "Billing", "Energy", "GRES", "License", "Mem", "Memory", "Unknown")
# what squeue gives as a pending job's reason (job_state_reason in SLURM's slurm.h), where waiting does not help
NEVER_STARTS = frozenset(
    {
        *("JobHeldAdmin", "JobHeldUser", "JobHoldMaxRequeue", "launch failed requeued held"),
        *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints", "DependencyNeverSatisfied"),
        *("InvalidAccount", "InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "ReservationDeleted", "DeadLine"),
        *("QOSMinCpuNotSatisfied", "QOSMinBB", "QOSMinBilling", "QOSMinEnergy", "QOSMinGRES", "QOSMinLicense"),
        *("QOSMinMemory", "QOSMinNode", "QOSMinUnknown", "AssocMaxCpuPerNode", "QOSMaxCpuPerNode"),
        *(f"{who}Max{what}PerJobLimit" for who in ("Assoc", "QOS") for what in _PER_JOB),
        *(f"{who}Max{what}{per}" for who in ("Assoc", "QOS") for what in _PER_TRES for per in ("PerJob", "PerNode")),
        *(f"{who}Max{what}MinutesPerJob" for who in ("Assoc", "QOS") for what in _PER_TRES),
    }
)  # fmt: skip


@dataclass(frozen=True)
class QueuedTask:
    """An element of one of our arrays that SLURM has not ended yet."""

    job: str  # array job id
    task: int  # index in the array
    state: str  # PENDING, RUNNING, COMPLETING, SUSPENDED, ...
    reason: str  # why it is pending
    node: str  # "" while it has none
    stamp: str  # of the submission
    array: int  # number of the array in the submission
    time_left: str  # as squeue gives it
    restarts: int | None  # how often it was requeued

    @property
    def id(self) -> str:
        """What scancel and scontrol take."""
        return f"{self.job}_{self.task}"

    @property
    def never_starts(self) -> bool:
        """Whether it waits for something that does not come by itself."""
        reason = self.reason.split(",")[0].replace("_", " ")  # some versions write "launch_failed_requeued_held"
        return self.state == "PENDING" and reason in NEVER_STARTS


def has_slurm() -> bool:
    """Tell whether this machine can ask and submit."""
    return shutil.which("squeue") is not None and shutil.which("sbatch") is not None


def our_tasks() -> list[QueuedTask]:
    """Return every task of any submission of this user that waits or runs, in any partition.

    Raises UserError if squeue is missing, fails or says what cannot be read: that never means that nothing runs.
    """
    # a suffix without a width: no field is cut
    answer = _ask("squeue", "--noheader", "--array", "--me", "--all", "-O", ":|,".join(FIELDS) + ":")
    return [_task(line) for line in answer.splitlines() if OURS.search(line)]


def _task(line: str) -> QueuedTask:
    fields = [field.strip() for field in line.split("|")]
    ours = OURS.search(fields[-1])  # a site may add words of its own
    if len(fields) != len(FIELDS) or ours is None or not fields[1].isdecimal():
        raise UserError(
            f"squeue cannot be asked: its line {line!r} has not the fields {'|'.join(FIELDS)}; nothing was done"
        )
    job, task, state, reason, node, time_left, restarts, _ = fields
    count = int(restarts) if restarts.isdecimal() else None
    return QueuedTask(job, int(task), state, reason, node, ours[1], int(ours[2]), time_left, count)


def max_array_size() -> int:
    """Return how many elements an array may have.

    Raises UserError if scontrol cannot be asked, or arrays are switched off.
    """
    answer = _ask("scontrol", "show", "config")
    limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", answer, re.MULTILINE)
    sizes = [int(size or tasks) for size, tasks in limits]
    if not sizes or min(sizes) < 1:
        raise UserError(f"SLURM takes no job arrays here (MaxArraySize {sizes or 'unknown'}); accepted: at least 1")
    return min(sizes)


def partition_max_minutes(partition: str | None) -> float:
    """Return MaxTime of a partition, of the longest of several (`a,b`), or of the default one; inf if it has none.

    Raises UserError for a partition that is not there, and if scontrol cannot be asked.
    """
    answer = _ask("scontrol", "--all", "--oneliner", "show", "partition")
    entries = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in answer.splitlines() if "PartitionName=" in line]
    limits = {entry["PartitionName"]: _minutes(entry["MaxTime"]) for entry in entries}
    accepted = f"accepted: {', '.join(limits) or 'none, SLURM has no partition'}"
    if partition is None:
        default = next((entry["PartitionName"] for entry in entries if entry.get("Default") == "YES"), None)
        if default is None:
            raise UserError(f"partition: missing, and SLURM has no default one; {accepted}")
        return limits[default]
    for name in partition.split(","):
        if name not in limits:
            raise UserError(f"partition: {name!r} is not one of SLURM's; {accepted}")
    return max(limits[name] for name in partition.split(","))


def _minutes(text: str) -> float:
    """Read scontrol's times: UNLIMITED, or [days-]hours:minutes:seconds."""
    if text == "UNLIMITED":
        return float("inf")
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def test_only(script: str) -> str:
    """Return what `sbatch --test-only` says of a script: where and when it could start.

    Raises UserError if it is refused.
    """
    done = _sbatch(script, "--test-only")
    return " ".join((done.stdout + done.stderr).split())


def sbatch(script: str) -> str:
    """Submit a script; returns the job's number. Raises UserError with sbatch's words if it is refused."""
    return _sbatch(script, "--parsable").stdout.strip().partition(";")[0]


def options(script: str) -> list[str]:
    """Return the options in a script's #SBATCH lines: on a command line the environment cannot override them."""
    lines = script.splitlines()
    return [
        word for line in lines if line.startswith("#SBATCH ") for word in shlex.split(line.removeprefix("#SBATCH "))
    ]


def cancel(jobs: Sequence[str]) -> None:
    """End jobs or tasks, e.g. "12_3"; one that has ended already is no error. Raises UserError if scancel fails."""
    for begin in range(0, len(jobs), CHUNK):
        done = _run(["scancel", *jobs[begin : begin + CHUNK]])
        if done.returncode:
            words = " ".join(done.stderr.split())
            raise UserError(f"scancel failed: {words}; {begin} of {len(jobs)} tasks were cancelled before")


def _sbatch(script: str, flag: str) -> subprocess.CompletedProcess[str]:
    """Give sbatch a script. Its options are on the command line, too: there they count more than SBATCH_... variables.

    Raises UserError with sbatch's words if it refuses.
    """
    done = _run(["sbatch", flag, *options(script)], script)
    if done.returncode:
        words = " ".join((done.stdout + done.stderr).split())
        raise UserError(f"sbatch refuses this: {words}; nothing was submitted")
    return done


def _ask(*command: str) -> str:
    done = _run(command)
    if done.returncode:
        raise UserError(f"{command[0]} cannot be asked: {' '.join(done.stderr.split())}; nothing was done")
    return done.stdout


def _run(command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    # a user's SQUEUE_STATES, SQUEUE_PARTITION, SCANCEL_STATE, ... would hide tasks that are alive
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SQUEUE_", "SCANCEL_"))}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    except OSError as error:
        reason = f"cannot be started here ({error.strerror})"
    except subprocess.TimeoutExpired:
        reason = f"no answer in {PATIENCE:.0f} s"
    raise UserError(f"{command[0]} cannot be asked: {reason}; nothing was done")
