"""Fixtures of several packages' tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Double precision for a module, so that code and its transcription agree closely or not at all."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
