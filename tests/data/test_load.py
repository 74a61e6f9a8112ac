"""What tells, without reading a dataset, that it may not be the one that was trained on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import moore.data.load
from moore.data.d4rl import FILES
from moore.data.load import data_identity


def changes(identity: Callable[[], str], file: Path) -> None:
    """Another size, another time, each is another identity; reading the file is not."""
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 10**18))
    first = identity()
    file.read_bytes()
    assert identity() == first
    file.write_bytes(b"more")
    os.utime(file, ns=(1, 10**18))
    second = identity()
    os.utime(file, ns=(1, 10**18 + 1))
    assert len({first, second, identity()}) == 3


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    id = "d4rl:hopper-medium-v2"
    for text, file in ((f"local:hopper:{tmp_path / 'own.hdf5'}", "own.hdf5"), (id, FILES[id].name)):
        changes(lambda text=text: data_identity(text), tmp_path / file)  # type: ignore[misc]


def test_minaris_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a change of any of its files goes unseen."""
    folder = tmp_path / "store" / "some" / "set-v0"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "data" / "other").write_text("")
    monkeypatch.setattr(moore.data.load, "store_entry", lambda text: folder)
    identity = lambda: data_identity("minari:some/set-v0")  # noqa: E731
    changes(identity, folder / "data" / "deep" / "main.hdf5")
    before = identity()
    (folder / "data" / "other").rename(folder / "data" / "another")
    assert identity() != before


def test_a_self_made_set_is_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if other arguments or another version of the recipe go unseen, or the file has to be there."""
    id = "self:hopper-medium"
    seen = {
        data_identity(id, 500, "d4rl"),
        data_identity(id, 501, "d4rl"),
        data_identity(id, 500, "gymnasium"),
        data_identity("self:hopper-random", 500, "d4rl"),
    }
    monkeypatch.setattr("moore.data.make.RECIPE_VERSION", 99)
    seen.add(data_identity(id, 500, "d4rl"))
    assert len(seen) == 5
