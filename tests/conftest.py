"""Fixtures of several packages' tests."""

import os
from collections.abc import Iterator

import pytest

# compiling takes a minute for each kind of update, which tests/networks/test_compiled.py spends
os.environ.setdefault("MOORE_COMPILE", "0")


# files of a minute: the first to be given to a process, or the last one would hold up the end
LONG = {"compiled", "graphs", "learning", "readme", "kill", "local", "study", "state", "unit_resume", "coverage"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, in the order in which they are; `make test` keeps it."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Double precision for a module, so that code and its transcription agree closely or not at all."""
    import torch  # here: some tests run where it is not installed (.ci/run)

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
