"""Why a unit has failed: the record beside its spec, and what its log and the kernel say."""

import re
import time
from contextlib import suppress
from pathlib import Path

from moore.base.files import write_json
from moore.run.claim import whereabouts
from moore.run.units import UnitProcess

LOG_LINES = 10  # of a failed unit that are looked at and kept
OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|MemoryError|Cannot allocate memory|bad_alloc", re.IGNORECASE
)
CGROUP_COUNTERS = ("memory/{0}/memory.oom_control", "{0}/memory.events")  # version 1 and 2


def record_failure(
    unit: UnitProcess, kind: str, reason: str, attempts: int, code: int | None = None, final: bool = True
) -> None:
    """Write <unit>.failed.json; final: not tried again before `moore study retry`. Raises Unavailable."""
    said = {"attempts": attempts, "kind": kind, "exit_code": code, "reason": reason, "time": time.time()}
    write_json(unit.failed_path, said | {"final": final} | whereabouts())


def tail(path: Path, lines: int, start: int = 0) -> list[str]:
    """Return the last lines of a file after its first `start` bytes; none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - 2**16))
            return file.read().decode(errors="replace").strip().splitlines()[-lines:]
    except OSError:
        return []


def oom_kills() -> int:
    """Count the processes of this one's memory group that the kernel has killed for memory; 0 where it does not say."""
    try:
        groups = [line.rstrip().split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return 0
    count = 0
    for group in (group for _, controllers, group in groups if controllers in ("", "memory")):
        for pattern in CGROUP_COUNTERS:
            with suppress(OSError):
                text = Path("/sys/fs/cgroup", pattern.format(group.lstrip("/"))).read_text()
                count += sum(map(int, re.findall(r"^oom_kill (\d+)", text, re.MULTILINE)))
    return count
