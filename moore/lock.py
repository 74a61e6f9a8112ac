"""One process at a time: a lock file that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from moore.errors import UserError
from moore.files import cannot_write

POLL_SECONDS = 0.2


@contextmanager
def locked(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` during the block. Raises UserError naming who holds it, after `patience` seconds.

    The lock is the kernel's (flock), so it ends with its process however that ends; the file stays and means nothing.
    On a file system without locks a warning says that nothing keeps a second process out. On NFS the lock holds between
    machines where the server supports it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from None
    with file:
        _acquire(file, path, what, patience)
        _sign(file)
        yield


def _acquire(file: FileIO, path: Path, what: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise UserError(
                    f"{what} is in use by {_holder(path)} ({path}); accepted: one process at a time, or another --root"
                ) from None
            time.sleep(POLL_SECONDS)
        except OSError as error:  # ENOLCK, ENOTSUP, ENOSYS: some network file systems
            print(
                f"moore: warning: {path}: no file locks here ({error.strerror}); nothing keeps a second process out",
                file=sys.stderr,
                flush=True,
            )
            return


def _sign(file: FileIO) -> None:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with suppress(OSError):  # a full disk: the lock holds without its holder's name, and the next write says why not
        file.truncate(0)
        file.write(json.dumps(holder).encode() + b"\n")


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has not signed yet, or could not
        return "another process"
