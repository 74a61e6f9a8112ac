"""Fixtures of several packages' tests."""

import os
from collections.abc import Iterator

import pytest
import torch

# compiling takes a minute for each kind of update, which tests/networks/test_compiled.py spends
os.environ.setdefault("MOORE_COMPILE", "0")


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Double precision for a module, so that code and its transcription agree closely or not at all."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
