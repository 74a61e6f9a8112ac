"""Facts of this machine and this copy of the code: cores, peak memory, commit."""

import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

# without the lock that it takes to write down what it saw: a process that is killed then leaves it behind
STATUS = ("git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
COMMIT_FILE = ".commit"  # beside the packages: the commit, with -dirty if there are changes


def short(commits: str) -> str:
    """Return the first ten digits of each commit, with what follows them: `-dirty` for changes that are in none."""
    return re.sub(r"([0-9a-f]{10})[0-9a-f]+", r"\1", commits)


def commit() -> str:
    """Return the commit of this code, with "-dirty" if it has changes; "unknown" if neither a copy nor git says."""
    path = Path(__file__).parents[2] / COMMIT_FILE
    if path.is_file():
        return path.read_text().strip()
    head = answer("git", "rev-parse", "HEAD") or "unknown"
    return head + ("-dirty" if answer(*STATUS) else "")


def answer(*command: str) -> str:
    """Return what a program prints; nothing where it fails or this machine does not have it."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def peak_bytes() -> int:
    """Return the most memory, in bytes, of this process's program; on Linux getrusage may say its parent's."""
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
