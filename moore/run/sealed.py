"""States as files whose checksums, those of the zip archives that torch writes, tell what was cut off or changed."""

import errno
import zipfile
from pathlib import Path
from typing import Any

import torch

from moore.base.errors import Unavailable
from moore.base.files import GOES_ON, replacing

LOST = (errno.EIO, errno.ENOENT, errno.EINVAL)  # errors of a file that no later attempt reads; EINVAL: a wild offset


class Damaged(Exception):
    """A file that cannot be used; the text says why."""


def save(path: Path, state: Any) -> None:
    """Write tensors, numbers, texts and containers of them, whole or not at all. UserError: no room or no right."""
    with replacing(path, GOES_ON) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's words for an error of the file, which says more itself
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def check(path: Path) -> None:
    """Compare a file with its checksums. Raises Damaged: lost, cut off or changed; UserError: not readable now."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            file.seek(0)
            whole = file.read(4) == b"PK\3\4"  # bytes before an archive trouble torch, not zipfile
            damaged = archive.testzip() if whole else "the beginning"
    except OSError as error:
        if error.errno in LOST:
            raise Damaged(str(error.strerror)) from None
        raise Unavailable(f"{path}: cannot be read ({error.strerror}); accepted: a file that you may read") from None
    except Exception as error:  # zipfile's for what is no archive, and what unlucky bytes lead it to
        raise Damaged(f"it is not whole ({error})") from None
    if damaged is not None:
        raise Damaged("its content is not what was written")


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read what `save` wrote; what was on an accelerator comes to `device`. Raises as `check` does."""
    check(path)
    place = lambda storage, where: storage if where == "cpu" else storage.to(device=torch.device(device))  # noqa: E731
    try:
        return torch.load(path, map_location=place, weights_only=True)
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):  # for want of memory, say
            raise
        raise Damaged(str(error).splitlines()[0]) from None  # the archive's index, which has no checksum
