"""Fixtures of the launcher's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.slurm_lab import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lab]:
    """Makes the test's study, in a folder as submissions leave it, and a SLURM of shell scripts."""
    return lambda variants="a": Lab(tmp_path, monkeypatch, variants)
