"""Who trains a unit: a claim names its owner, and only the owner writes rows, checkpoints and finished runs.

The lock of a unit keeps two processes apart where file locks work. A claim also ends a process that nobody can reach:
on a node that has lost its controller but not the file system, say, while another node trains the unit already.
"""

import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

from moore.base.files import write_json
from moore.run.stop import Stopped


class Claim:
    """A unit's claim file. The last one to take it is the owner; submission: that it came with."""

    def __init__(self, path: Path, submission: str | None = None) -> None:
        self.path, self._submission, self._token = path, submission, uuid.uuid4().hex

    def take(self) -> None:
        """Become the owner; an earlier one stops when it next checks."""
        holder = {"token": self._token, "submission": self._submission, "since": time.time()}
        write_json(self.path, holder | whereabouts())

    def check(self) -> None:
        """Raise Stopped if another process has taken the claim, or it was withdrawn."""
        try:
            holder = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            holder = {}
        except OSError:  # a file server that is not there at the moment says nothing about who holds it
            return
        if holder.get("token") != self._token:
            by = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "nobody"
            raise Stopped(f"the claim {self.path.name} is held by {by} now")

    def give_back(self) -> None:
        """Remove the claim: the unit is done."""
        self.path.unlink(missing_ok=True)


def whereabouts() -> dict[str, Any]:
    """Say which process this is, on which machine, and in which task of SLURM, if in any."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME"),
        "task": slurm_task(),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
    }


def slurm_task() -> str | None:
    """Name this process's element of a job array, as scancel takes it; the job's own number may stand for all."""
    job, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return None if job is None else f"{job}_{index}"
