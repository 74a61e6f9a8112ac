"""A Slurm of several nodes on this machine for tests: start.sh and stop.sh, and what happens to clusters."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

HERE = Path(__file__).parent
PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
ACCOUNTING = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core", "mariadb": "mariadb-client-core"}
POLL_SECONDS = 0.1


def missing_packages(accounting: bool = False) -> list[str]:
    """Debian's packages whose programs are not on this machine."""
    needed = PACKAGES | (ACCOUNTING if accounting else {})
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [package for program, package in needed.items() if shutil.which(program, path=path) is None]


class Element(NamedTuple):
    """One line of squeue: an array element, or a job."""

    name: str  # "12_3", or "12"
    state: str
    reason: str
    node: str
    restarts: int


class Cluster:
    """A cluster below a folder; knobs are start.sh's."""

    def __init__(self, folder: Path, **knobs: Any) -> None:
        self.folder = folder
        self.knobs = {"PORT_BASE": free_ports(int(knobs.get("NODES", 4)))} | knobs
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Start what does not run: everything, a killed node, a stopped controller."""
        self._script("start.sh")

    def stop(self) -> None:
        """Cancel its jobs, end its daemons, remove its folder."""
        self._script("stop.sh", "--wipe")

    def run(self, *command: str, text: str | None = None) -> str:
        """Output of a Slurm command on this cluster. Raises CalledProcessError if it fails."""
        environment = os.environ | self.environment
        return subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def queue(self) -> list[Element]:
        """What waits or runs, one entry for each array element."""
        text = self.run("squeue", "-hr", "-O", "JobArrayID:|,State:|,Reason:|,NodeList:|,RestartCnt:")
        rows = [[word.strip() for word in line.split("|")] for line in text.splitlines()]
        return [Element(name, state, reason, node, int(restarts)) for name, state, reason, node, restarts in rows]

    def running(self) -> list[Element]:
        """Elements that run."""
        return [element for element in self.queue() if element.state == "RUNNING"]

    def kill_node(self, node: str) -> None:
        """The power of a node fails: SIGKILL for slurmd, slurmstepd and all that runs there."""
        daemon = self.folder / "run" / f"slurmd.{node}.pid"
        kill(int(daemon.read_text()))
        daemon.unlink()
        while pids := self.processes(node):
            steps = set()
            for pid in pids:
                with suppress(psutil.NoSuchProcess):
                    parent = psutil.Process(pid).parent()
                    steps |= {parent.pid} if parent and parent.name() == "slurmstepd" else set()
            for pid in (*steps, *pids):  # slurmstepd first, or it tells how the others ended
                kill(pid)
            time.sleep(POLL_SECONDS)

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on, nobody can ask."""
        pid = int((self.folder / "run" / "slurmctld.pid").read_text())
        kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_alive(pid), 20, "slurmctld ended")

    def processes(self, node: str | None = None, command: str = "") -> list[int]:
        """Processes of this cluster's jobs, by node and a part of the command."""
        here = self.environment | ({"SLURMD_NODENAME": node} if node else {})
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # ended, or of another user
                environment = process.environ()
                ours = "SLURM_JOB_ID" in environment and here.items() <= environment.items()
                if ours and command in " ".join(process.cmdline()) and is_alive(process.pid):
                    found.append(process.pid)
        return found

    def _script(self, name: str, *arguments: str) -> None:
        # what start.sh reads is said here alone; the daemons keep this environment and hand it to jobs
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "CLUSTER_DIR": str(self.folder)}
        done = subprocess.run(
            [HERE / name, *arguments],
            env=environment | {key: str(value) for key, value in self.knobs.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def wait_until(condition: Callable[[], Any], seconds: float, what: str, poll: float = POLL_SECONDS) -> Any:
    """The condition's value once it is true; AssertionError saying what did not happen after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not after {seconds:.0f} s: {what}"
        time.sleep(poll)
    return value


def free_ports(nodes: int) -> int:
    """A PORT_BASE whose ports are free now."""
    # not the same for two test processes that start at once; below the ports that the kernel gives to clients
    start = os.getpid() * 37 % 90
    for base in ((10000 + 200 * ((start + step) % 90)) for step in range(90)):
        try:
            for port in (*range(base + 1, base + 5), *range(base + 101, base + 101 + nodes)):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one in TIME_WAIT is free
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise AssertionError("no free ports between 10000 and 28000")


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
