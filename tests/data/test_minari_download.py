"""Fetching Minari's datasets: with its own downloader, and never taken for complete when it broke off."""

import shutil
import sys
from pathlib import Path

import pytest
from minari.storage import remotes

from moore.cli.main import main
from moore.data.load import load_dataset
from moore.data.minari import download
from tests.support.minari_store import ID, NAME, Remote, one_line

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def remote(entry: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Remote]:
    """A server with one dataset, and an empty store."""
    store.rename(tmp_path / "server")
    monkeypatch.setattr(Remote, "folder", tmp_path / "server", raising=False)
    monkeypatch.setattr(Remote, "fail", None, raising=False)
    monkeypatch.setitem(remotes._registry, "folder", lambda: Remote)
    monkeypatch.setenv("MINARI_REMOTE", "folder://server")
    return Remote


def test_download(remote: type[Remote], store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "download", ID]) == 0
    assert f"{ID}: in {store / NAME} (downloaded)" in capsys.readouterr().out
    assert load_dataset(ID, tmp_path).env == "hopper"
    shutil.rmtree(remote.folder)  # complete: no server is asked
    assert main(["data", "download", ID]) == 0
    assert "complete already" in capsys.readouterr().out


@pytest.mark.usefixtures("remote")
def test_download_that_breaks_off(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Remote, "fail", ConnectionError("the line is dead\nand more"))
    assert main(["data", "download", ID]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"moore: {ID}: cannot be downloaded (the line is dead); accepted: an id that")
    assert error.count("\n") == 1
    monkeypatch.setattr(Remote, "fail", None)
    for call in (lambda: load_dataset(ID, tmp_path), lambda: download(ID)):  # what came is not taken for complete
        one_line(call, str(store / NAME), "is damaged", "deleting that folder")
    shutil.rmtree(store / NAME)
    assert main(["data", "download", ID]) == 0
    assert load_dataset(ID, tmp_path).env == "hopper"


def test_downloader_without_its_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MINARI_REMOTE", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "minari.storage.remotes.huggingface", raising=False)
    assert main(["data", "download", ID]) == 2
    error = capsys.readouterr().err
    assert "pip install 'minari[hf]'" in error
    assert error.count("\n") == 1
