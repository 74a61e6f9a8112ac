"""What disks do to files, and what people write into them."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

Edit = Callable[[h5py.Group], object]  # of an HDF5 file, or of a group in it


@contextmanager
def no_room(limit: int) -> Iterator[None]:
    """Files of this process stop growing at `limit` bytes, as on a full disk, but that the error has another name."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def put(key: str, values: object) -> Edit:
    """Another array, text or link under `key`; None: nothing."""

    def edit(file: h5py.Group) -> None:
        del file[key]
        if values is not None:
            file[key] = values

    return edit


def set_value(key: str, row: int, value: float) -> Edit:
    return lambda file: file[key].__setitem__(row, value)
