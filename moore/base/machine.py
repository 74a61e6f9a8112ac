"""Facts of this machine and this copy of the code: cores, peak memory, commit."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path

COMMIT_FILE = ".commit"  # beside the packages: the commit, with -dirty if there are changes


def short(commit: str) -> str:
    """Return the first ten digits, with what follows them: `-dirty` for changes that are in no commit."""
    digits, *state = commit.split("-", 1)
    return "-".join([digits[:10], *state])


def copied_commit() -> str | None:
    """Return what the copy's COMMIT_FILE says; None where this code is no such copy."""
    path = Path(__file__).parents[2] / COMMIT_FILE
    return path.read_text().strip() if path.is_file() else None


def peak_bytes() -> int:
    """Return the most memory since the process began its program, in bytes.

    What getrusage says may be its parent's, from before (Linux).
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def threads(device: str, workers: int) -> dict[str, str]:
    """Return the environment of each of `workers` processes: one thread, or beside a GPU its share of the cores, on
    which environments step."""
    count = str(1 if device.startswith("cpu") else max(1, available_cores() // workers))
    return {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
