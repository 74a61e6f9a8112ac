"""Reading and making a dataset must not need its memory twice."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import pytest

from moore.data.hdf5 import Dataset, read_dataset, write_dataset

ROWS = 100_000
LIMIT = 1.5  # times the bytes of the arrays kept

T = TypeVar("T")


def peak_of(call: Callable[[], T]) -> tuple[T, int]:
    """The result of a call and the highest number of bytes that Python and NumPy held meanwhile (HDF5's are few)."""
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def kept(dataset: Dataset) -> int:
    """Bytes of its arrays."""
    return sum(value.nbytes for value in vars(dataset).values() if isinstance(value, np.ndarray))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of hopper's shape that compress well."""
    path = tmp_path_factory.mktemp("memory") / "set.hdf5"
    ramp = np.arange(ROWS, dtype=np.float64)
    columns = lambda width: np.tile(ramp[:, None], width)  # noqa: E731
    obs, flags = columns(11).astype(np.float32), np.zeros(ROWS, bool)
    action, reward = np.clip(columns(3), -1, 1).astype(np.float32), ramp.astype(np.float32)
    dataset = Dataset("hopper", obs, action, reward, ramp % 100 == 99, flags, obs + 1, columns(6), columns(6))
    write_dataset(path, dataset)
    return path


@pytest.mark.parametrize("double", [False, True])
def test_reading(double: bool, path: Path, tmp_path: Path) -> None:
    """In doubles, as D4RL's v1 replay files: an array in the file's precision beside the rest is over the limit."""
    if double:
        source, path = path, tmp_path / "double.hdf5"
        with h5py.File(source) as old, h5py.File(path, "w") as file:
            for key in ("observations", "next_observations", "actions", "rewards"):
                file.create_dataset(key, data=old[key][()].astype(np.float64), compression="gzip")
            for key in ("terminals", "timeouts"):
                file.create_dataset(key, data=old[key][()])
    dataset, peak = peak_of(lambda: read_dataset(path, "hopper"))
    assert kept(dataset) == ROWS * (2 * 44 + 12 + 4 + 2 + (0 if double else 2 * 48))
    assert peak <= LIMIT * kept(dataset)
