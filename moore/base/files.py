"""Files that are the old or the new ones, never half, wherever a process or the machine stops."""

import errno
import glob
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from moore.base.errors import Unavailable

DATA_DIR = Path("runs/data")  # of self-made sets and converted ones, unless another folder is given
GOES_ON = "; the same command goes on from the last checkpoint"


@contextmanager
def replacing(path: Path, hint: str = "", sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` at the end of the block; until then `path` stays as it is.

    With `sync` the content is on the disk before it gets its name, and the name before this returns. Folders are made.
    Raises Unavailable, ending in `hint`, where the place cannot be written or is full. A killed process leaves a hidden
    file, which goes with the next attempt.
    """
    prefix = f".{path.name}.{socket.gethostname()}."
    temporary = path.with_name(f"{prefix}{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _discard_leftovers(path.parent, prefix)
        with temporary.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # the reason to be here may be that the folder does not exist
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error, hint) from None
        raise


def cannot_write(path: Path, error: OSError, hint: str = "") -> Unavailable:
    """Say that a file has no room or no permission."""
    reason = f"{path}: cannot be written ({error.strerror}); accepted: a place where you may write, and room for it"
    return Unavailable(reason + hint)


def is_alive(pid: int) -> bool:
    """Tell whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # someone else's
    return True


def _discard_leftovers(folder: Path, prefix: str) -> None:
    """Remove half files that dead processes of this machine left in a folder."""
    for file in folder.glob(f"{glob.escape(prefix)}*.tmp"):
        pid = file.name[len(prefix) : -len(".tmp")]
        if pid.isdecimal() and not is_alive(int(pid)):
            file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Put the folder's entries on the disk: without it a renamed file can have its old name after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some file systems have no such thing
            raise
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file; an empty one where it is not there or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def write_json(path: Path, value: Any, sync: bool = True) -> None:
    """Write a JSON file atomically. Raises UserError where it cannot be written; sync: as in `replacing`."""
    with replacing(path, sync=sync) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())
