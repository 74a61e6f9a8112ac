"""One process at a time: a lock file that names its holder and dies with it."""

from __future__ import annotations

import errno
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

from moore.base.errors import Unavailable
from moore.base.files import cannot_write

POLL_SECONDS = 0.2
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # of some network file systems


@contextmanager
def locked(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` during the block. Raises Unavailable naming who holds it, after `patience` seconds.

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
        except OSError as error:
            if error.errno in NO_LOCKS:
                print(
                    f"moore: warning: {path}: no file locks here ({error.strerror}): a second process is not kept out",
                    file=sys.stderr,
                    flush=True,
                )
                return
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # EACCES: how some servers say that it is held
                raise cannot_write(path, error) from None
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"{what} is in use by {_holder(path)} ({path}); accepted: one process at a time, or another --root"
                ) from None
            time.sleep(POLL_SECONDS)


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
