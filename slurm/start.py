"""Starts submitit on a node, `python -m slurm.start FOLDER`, with SLURM's signals blocked until a task hears them.

Importing torch takes seconds, in which SIGTERM and the warning signal would simply kill the process, and SLURM would
take that for the task's own failure. Blocked signals wait, and a program that takes this one's place inherits that.
"""

import os
import signal
import sys

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def hear() -> None:
    """Let the signals come that have waited; their handlers are in place."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    os.execv(sys.executable, [sys.executable, "-u", "-m", "submitit.core._submit", *sys.argv[1:]])
