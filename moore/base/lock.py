"""One process at a time: a lock file that names its holder and dies with it."""

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from moore.base.errors import Unavailable
from moore.base.files import cannot_write

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # of some network file systems


@contextmanager
def locked(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` during the block. Raises Unavailable naming who holds it, after `patience` seconds.

    The lock is the kernel's (flock), so it ends with its process however that ends; the file stays and means nothing.
    On a file system without locks a warning says that nothing keeps a second process out. On NFS the lock holds between
    machines where the server supports it.
    """
    lock = FileLock(path, patience, poll_interval=0.2, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        with suppress(OSError):  # a full disk: the lock holds without its holder's name
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
    except Timeout:
        holder = path.read_text().strip() or "another process"  # which has not signed yet
        accepted = "accepted: one process at a time, or another --root"
        raise Unavailable(f"{what} is in use by {holder} ({path}); {accepted}") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise cannot_write(path, error) from None
        lacking = f"no file locks here ({error.strerror}): a second process is not kept out"
        print(f"moore: warning: {path}: {lacking}", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        lock.release()
