"""States as files that end in a seal, their size and checksum: one that was cut off or changed is noticed."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch.serialization import get_crc32_options, set_crc32_options

from moore.base.errors import Unavailable, UserError
from moore.base.files import GOES_ON, replacing

FORMAT = 1  # raise it when a change of the code changes what the files of older code mean
SEAL = struct.Struct("<8sQQI")  # magic, format, bytes before the seal, their CRC32
MAGIC = b"moorechk"
CHUNK = 2**22  # bytes read at once


class Damaged(Exception):
    """A file that cannot be used; the text says why."""


class _Content:
    """Counts and sums up what torch writes into a file. Nothing is compressed: that costs more than it saves.

    CRC32: against accidents, and several times faster than a hash that withstands intent.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size, self.crc = file, 0, 0
        self.flush = file.flush
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            self._file.write(content)
        except OSError as error:
            self.error = error
            raise
        self.size, self.crc = self.size + len(content), zlib.crc32(content, self.crc)
        return len(content)


def save(path: Path, state: Any) -> None:
    """Write tensors, numbers, texts and containers of them as a sealed file, which torch.load reads too.

    At any moment `path` is the old or the whole new file. Raises UserError where there is no room or no right to write.
    """
    zip_crc = get_crc32_options()
    set_crc32_options(False)  # torch's own CRC32 takes longer than all the rest, and its reader never looks at it
    try:
        with replacing(path, GOES_ON) as file:
            content = _Content(file)
            try:
                torch.save(state, cast(BinaryIO, content))
            except RuntimeError:  # torch's words for an error of the file, which says more itself
                if content.error is None:
                    raise
                raise content.error from None
            file.write(SEAL.pack(MAGIC, FORMAT, content.size, content.crc))
    finally:
        set_crc32_options(zip_crc)


def check(path: Path) -> None:
    """Read a file and compare it with its seal.

    Raises Damaged for a file that is lost, or of which a byte is missing or a bit has changed; UserError for one that
    another version of the code wrote in another format, or that may not be read now.
    """
    try:
        with path.open("rb") as file:
            size = max(0, file.seek(0, os.SEEK_END) - SEAL.size)
            file.seek(size)
            end = file.read()
            if len(end) < SEAL.size or not end.startswith(MAGIC):
                raise Damaged("its end is missing")
            _, version, written, crc = SEAL.unpack(end)
            if version != FORMAT:
                raise UserError(
                    f"{path}: has format {version}, this version of moore reads {FORMAT}; accepted: the version that"
                    " wrote it, or deleting the file to start that stage again"
                )
            if written != size:
                raise Damaged(f"it has {size} bytes of {written}")
            file.seek(0)
            found, left = 0, size
            while chunk := file.read(min(CHUNK, left)):
                found, left = zlib.crc32(chunk, found), left - len(chunk)
            if left or found != crc:
                raise Damaged("its content is not what was written")
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOENT):
            raise Damaged(str(error.strerror)) from None
        raise Unavailable(f"{path}: cannot be read ({error.strerror}); accepted: a file that you may read") from None


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read what `save` wrote; what was on an accelerator comes to `device`. Raises as `check` does."""
    check(path)
    place = lambda storage, where: storage if where == "cpu" else storage.to(device=torch.device(device))  # noqa: E731
    return torch.load(path, map_location=place, weights_only=True)
