"""SLURM's own commands as functions. squeue and scontrol are asked, never sacct: it is late, and not everywhere."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from moore.base.errors import UserError

PATIENCE = 120.0  # seconds for an answer: squeue itself tries a controller for up to a minute
FIELDS = ("ArrayJobID", "ArrayTaskID", "State", "Reason", "NodeList", "RestartCnt", "Comment")
OURS = re.compile(r"moore:([A-Za-z0-9-]+):(\d+)")  # --comment of every submission: its stamp, number of the array
# what squeue gives as a pending job's reason (job_state_reason in SLURM's slurm.h), where waiting does not help
NEVER_STARTS = re.compile(
    r"JobHeld(Admin|User)|JobHoldMaxRequeue|launch failed requeued held|Partition(Config|NodeLimit|TimeLimit)"
    r"|BadConstraints|DependencyNeverSatisfied|ReservationDeleted|DeadLine|Invalid(Account|QOS)"
    r"|(Account|QOS)NotAllowed|QOSMin\w+|(Assoc|QOS)Max\w+Per(Job|Node)(Limit)?"
)


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
    restarts: int | None  # how often it was requeued

    @property
    def id(self) -> str:
        """What scancel and scontrol take."""
        return f"{self.job}_{self.task}"

    @property
    def never_starts(self) -> bool:
        """Whether it waits for something that does not come by itself."""
        reason = self.reason.split(",")[0].replace("_", " ")  # some versions write "launch_failed_requeued_held"
        return self.state == "PENDING" and NEVER_STARTS.fullmatch(reason) is not None


def has_slurm() -> bool:
    """Tell whether this machine can ask and submit."""
    return shutil.which("squeue") is not None and shutil.which("sbatch") is not None


def our_tasks() -> list[QueuedTask]:
    """Return every task of any submission of this user that waits or runs, in any partition.

    Raises UserError if squeue is missing, fails or says what cannot be read: that never means that nothing runs.
    """
    # a suffix without a width: no field is cut
    done = _run("squeue", "--noheader", "--array", "--me", "--all", "-O", ":|,".join(FIELDS) + ":")
    return [_task(line) for line in done.stdout.splitlines() if OURS.search(line)]


def _task(line: str) -> QueuedTask:
    fields = [field.strip() for field in line.split("|")]
    ours = OURS.search(fields[-1])  # a site may add words of its own
    if len(fields) != len(FIELDS) or ours is None or not fields[1].isdecimal():
        raise UserError(f"squeue's line {line!r} has not the fields {'|'.join(FIELDS)}; nothing was done")
    job, task, state, reason, node, restarts, _ = fields
    count = int(restarts) if restarts.isdecimal() else None
    return QueuedTask(job, int(task), state, reason, node, ours[1], int(ours[2]), count)


def max_array_size() -> int:
    """Return how many elements an array may have. UserError: scontrol does not answer, or arrays are off."""
    answer = _run("scontrol", "show", "config").stdout
    limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", answer, re.MULTILINE)
    sizes = [int(size or tasks) for size, tasks in limits]
    if not sizes or min(sizes) < 1:
        raise UserError(f"SLURM takes no job arrays here (MaxArraySize {sizes or 'unknown'}); accepted: at least 1")
    return min(sizes)


def sbatch(script: str, test_only: bool = False) -> str:
    """Submit a script; returns the job's number, or with `test_only` where and when it could start.

    Its options are on the command line, too: SBATCH_... variables count less there. Raises UserError with sbatch's
    words if it is refused.
    """
    lines = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]
    words = ("sbatch", "--test-only" if test_only else "--parsable", *shlex.split(" ".join(lines)))
    done = _run(*words, stdin=script, failure="refuses this: {}; nothing was submitted")
    return _words(done) if test_only else done.stdout.strip().partition(";")[0]


def cancel(jobs: Sequence[str]) -> None:
    """End jobs or tasks, e.g. "12_3"; one that has ended already is no error. Raises UserError if scancel fails."""
    if jobs:
        _run("scancel", *jobs, failure="failed: {}")


def _run(
    *command: str, stdin: str = "", failure: str = "cannot be asked: {}; nothing was done"
) -> subprocess.CompletedProcess[str]:
    """Run a command of SLURM. Raises UserError with the command's words in `failure` where it fails."""
    # a user's SQUEUE_STATES, SQUEUE_PARTITION, SCANCEL_STATE, ... would hide tasks that are alive
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SQUEUE_", "SCANCEL_"))}
    try:
        done = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
    except OSError as error:
        words = f"cannot be started here ({error.strerror})"
    except subprocess.TimeoutExpired:
        words = f"no answer in {PATIENCE:.0f} s"
    else:
        if done.returncode == 0:
            return done
        words = _words(done)
    raise UserError(f"{command[0]} {failure.format(words)}")


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())
