"""States as files that end in a seal, their size and checksum: one that was cut off or changed is noticed."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import torch
from torch.serialization import get_crc32_options, set_crc32_options

from moore.base.errors import Unavailable, UserError
from moore.base.files import GOES_ON, replacing

FORMAT = 1  # raise it when a change of the code changes what the files of older code mean
SEAL = struct.Struct("<8sIIQI")  # magic, format, number, bytes before the seal, their CRC32
MAGIC = b"moorechk"
CHUNK = 2**22  # bytes read at once


class Damaged(Exception):
    """A file that cannot be used; the text says why."""


class Seal(NamedTuple):
    """What a file says of itself."""

    number: int  # the writer's
    size: int  # bytes before the seal
    crc: int  # CRC32 of these


class Content:
    """Counts and sums up what is written into a sealed file. Nothing is compressed: that costs more than it saves.

    CRC32: against accidents, and several times faster than a hash that withstands intent.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size, self.crc = file, 0, 0
        self.error: OSError | None = None  # of the file, where a writer has no words for it

    def write(self, content: bytes | memoryview) -> int:
        """Write to the file below; the interface that torch.save asks for."""
        try:
            self._file.write(content)
        except OSError as error:
            self.error = error
            raise
        self.size, self.crc = self.size + len(content), zlib.crc32(content, self.crc)
        return len(content)

    def flush(self) -> None:
        """Flush the file below."""
        self._file.flush()


@contextmanager
def sealing(path: Path, number: int = 0) -> Iterator[Content]:
    """Open `path` for writing; at any moment it is the old or the whole new file.

    Raises UserError where there is no room or no right to write.
    """
    with replacing(path, GOES_ON) as file:
        content = Content(file)
        yield content
        file.write(SEAL.pack(MAGIC, FORMAT, number, content.size, content.crc))


def read_seal(path: Path) -> Seal:
    """Read a file's seal, if it fits the file's size; the content is not read. Raises as `check_seal`."""
    with _readable(path), path.open("rb") as file:
        return _seal(path, file)


def check_seal(path: Path) -> Seal:
    """Read a file's content and return its seal.

    Raises Damaged for a file of which a byte is missing or a bit has changed; UserError for one that another version of
    the code wrote in another format, or that may not be read now.
    """
    with _readable(path), path.open("rb") as file:
        seal = _seal(path, file)
        file.seek(0)
        crc, left = 0, seal.size
        while left and (chunk := file.read(min(CHUNK, left))):
            crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    if left or crc != seal.crc:
        raise Damaged("its content is not what was written")
    return seal


def _seal(path: Path, file: BinaryIO) -> Seal:
    size = file.seek(0, 2) - SEAL.size
    file.seek(max(0, size))
    end = file.read()
    if len(end) < SEAL.size or not end.startswith(MAGIC):
        raise Damaged("its end is missing")
    _, version, *seal = SEAL.unpack(end)
    if version != FORMAT:
        raise UserError(
            f"{path}: has format {version}, this version of moore reads {FORMAT}; accepted: the version that wrote it,"
            " or deleting the file to start that stage again"
        )
    if seal[1] != size:
        raise Damaged(f"it has {size} bytes of {seal[1]}")
    return Seal(*seal)


def save(path: Path, state: Any, number: int = 0) -> None:
    """Write tensors, numbers, texts and containers of them as a sealed file, which torch.load reads too.

    Raises UserError where there is no room or no right to write; the old file stays.
    """
    with sealing(path, number) as content:
        zip_crc = get_crc32_options()
        set_crc32_options(False)  # torch's own CRC32 takes longer than all the rest, and its reader never looks at it
        try:
            torch.save(state, cast(BinaryIO, content))
        except RuntimeError:  # torch's words for an error of the file, which says more itself
            if content.error is None:
                raise
            raise content.error from None
        finally:
            set_crc32_options(zip_crc)


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read what `save` wrote; what was on an accelerator comes to `device`. Raises as `check_seal` does."""
    check_seal(path)
    place = lambda storage, where: storage if where == "cpu" else storage.to(device=torch.device(device))  # noqa: E731
    return torch.load(path, map_location=place, weights_only=True)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn a bad disk or a lost file into Damaged; what may pass, such as a missing permission, into Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOENT):
            raise Damaged(str(error.strerror)) from None
        raise Unavailable(f"{path}: cannot be read ({error.strerror}); accepted: a file that you may read") from None
