"""A Minari store of the test's own."""

from pathlib import Path

import pytest

from tests.support.minari_store import NAME, Episode, create, roll_out


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Minari store, and a working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="module")
def hopper() -> list[Episode]:
    """Three falls, and an episode cut after five steps."""
    return roll_out("Hopper-v5", [1000, 1000, 1000, 5])


@pytest.fixture
def entry(hopper: list[Episode], store: Path) -> Path:
    create(NAME, "Hopper-v5", [episode.buffer() for episode in hopper], algorithm_name="uniform")
    return store / NAME
