"""Downloads from a server on this machine that breaks off, stalls and lies: the right file in the end, or none."""

import hashlib
import time
from pathlib import Path

import pytest

from moore.base.errors import UserError
from moore.base.lock import locked
from moore.cli.main import main
from moore.data import download
from moore.data.d4rl import FILES, PublishedFile, d4rl_path
from moore.data.download import download_d4rl
from moore.data.load import load_dataset
from tests.support.bad_server import BODY, GARBAGE, Reply, Server, answer, send, stall
from tests.support.errors import one_line

ID, OTHER = "d4rl:hopper-medium-v2", "d4rl:hopper-expert-v2"
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module")
def running() -> Server:
    server = Server()
    server.start()
    return server


@pytest.fixture
def server(running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A good server; the published file is BODY, and waiting is short."""
    running.script.clear()
    running.ranges.clear()
    running.path = tmp_path / "d4rl" / "hopper_medium-v2.hdf5"
    running.part = running.path.with_name("hopper_medium-v2.hdf5.part")
    monkeypatch.setenv("D4RL_DATASET_URL", running.url)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(FILES, ID, PublishedFile(running.path.name, len(BODY), SHA256))
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    return running


def failure() -> str:
    return one_line(lambda: download_d4rl(ID), "accepted: ")


def completes(server: Server, ranges: list[str | None] | None = None) -> None:
    """The download ends in the whole file, with these requests."""
    assert download_d4rl(ID)
    assert server.path.read_bytes() == BODY
    assert not server.part.exists()
    assert ranges is None or server.ranges == ranges


def test_whole_file_and_no_network_after_it(server: Server) -> None:
    completes(server)
    assert d4rl_path(ID) == server.path
    assert not download_d4rl(ID)
    assert server.ranges == [None]


TAIL = "bytes=2000-"
RECOVERED: dict[str, tuple[list[Reply], list[str | None]]] = {
    "breaks off": ([send(until=2000)], [None, TAIL]),
    "busy": ([answer(503), answer(500), answer(502)], [None] * 4),
    "hangs up": ([lambda *_: None], [None, None]),
    "ignores ranges": ([send(until=2000), send(ranges=False)], [None, TAIL, None]),
    "redirects": ([send(until=2000), answer(302, Location="elsewhere")], [None, TAIL, TAIL]),
    "does not say how long and breaks off": ([answer(200, BODY[:2000])], [None, TAIL]),
    "stalls": ([stall(2000)], [None, TAIL]),
}


@pytest.mark.parametrize("case", RECOVERED)
def test_recovers(server: Server, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "stalls":
        monkeypatch.setattr(download, "TIMEOUT", 1)
    server.script[:], ranges = RECOVERED[case]
    completes(server, ranges)


FATAL: dict[str, tuple[list[Reply], list[str], int | None]] = {
    # what comes; what the message says; bytes that are kept (None: no part)
    "absent": ([answer(404)] * 5, ["404", "5 times; 0 of 5000 bytes"], None),
    "never beyond": ([send(until=2000)] * 5, ["5 times; 2000 of 5000 bytes"], 2000),
    "longer": ([answer(200, BODY + b"more")], [SHA256], None),
    "garbage": ([send(GARBAGE)], [hashlib.sha256(GARBAGE).hexdigest(), SHA256], None),
    "changed in between": ([send(GARBAGE, until=2000)], [SHA256], None),
    "web page": ([answer(200, b"<" * 5000, Content_Type="text/html", Content_Length=5000)], [SHA256], None),
    "to a local file": ([answer(302, Location="file:///etc/hostname")] * 5, ["5 times", "file"], None),
}


@pytest.mark.parametrize("case", FATAL)
def test_fails_in_one_line_and_goes_on_later(server: Server, case: str) -> None:
    server.script[:], fragments, kept = FATAL[case]
    message = failure()
    for fragment in [server.url, server.path.name, *fragments]:
        assert fragment in message
    assert not server.path.exists()
    assert (server.part.stat().st_size if server.part.exists() else None) == kept
    server.script.clear()
    server.ranges.clear()
    completes(server, [f"bytes={kept}-" if kept else None])


def test_killed_before_the_file_got_its_name(server: Server) -> None:
    """Breaks if a part that is complete is asked for beyond its end, which servers refuse."""
    server.part.parent.mkdir(exist_ok=True)
    server.part.write_bytes(BODY)
    completes(server, [])


def test_attempts_wait_longer_each_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(download, "BACKOFF", 0.5)
    monkeypatch.setattr(time, "sleep", waited.append)
    server.script[:] = [answer(503)] * 5
    assert "503" in failure()
    assert waited == [0, 0.5, 1.0, 2.0, 4.0]


def test_a_machine_without_curl(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "curl is not installed" in failure()


def test_bad_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("ftp://host/x", "host/x"):
        monkeypatch.setenv("D4RL_DATASET_URL", base)
        assert f"D4RL_DATASET_URL: {base!r}" in failure()
    assert not server.part.parent.exists()


def test_a_place_that_cannot_be_written(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.part.parent.mkdir()
    server.part.symlink_to("/dev/full")
    assert "curl: (23)" in failure()  # failure writing
    monkeypatch.setenv("D4RL_DATASET_DIR", "x" * 300)  # no name that a file system takes
    assert "cannot be written (File name too long)" in failure()
    with pytest.raises(UserError, match="no file x"):
        d4rl_path(ID)


def test_two_downloads_at_once(server: Server) -> None:
    with locked(server.path.with_name(f".{server.path.name}.lock"), "other"):
        assert f"{server.part} is in use by process" in failure()
    completes(server, [None])


def test_a_file_of_that_name_stays(server: Server) -> None:
    with pytest.raises(UserError, match=f"no file {server.path}.*`moore data download {ID}`"):
        load_dataset(ID)  # which never downloads
    server.path.parent.mkdir()
    server.path.write_bytes(GARBAGE)
    assert hashlib.sha256(GARBAGE).hexdigest() in failure()
    assert server.path.read_bytes() == GARBAGE
    assert server.ranges == []


def test_command(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, OTHER, PublishedFile("hopper_expert-v2.hdf5", len(GARBAGE), "0" * 64))
    assert main(["data", "download", ID]) == 0
    assert capsys.readouterr() == (f"{ID}: in {server.path} (downloaded)\n", "")
    assert main(["data", "download", ID, OTHER]) == 2
    out, err = capsys.readouterr()
    assert "complete already" in out
    assert err.startswith("moore: http://127.0.0.1")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("ids", "fragment"),
    [
        ([], "no dataset id given"),
        ([ID, "d4rl:hoper-medium-v2"], "did you mean 'd4rl:hopper-medium-v2'"),
        ([ID, "self:hopper-medium"], "self:hopper-medium is not a download"),
    ],
)
def test_bad_command(server: Server, capsys: pytest.CaptureFixture[str], ids: list[str], fragment: str) -> None:
    assert main(["data", "download", *ids]) == 2
    out, err = capsys.readouterr()
    assert fragment in err
    assert (out, err.count("\n"), server.ranges) == ("", 1, [])  # nothing is fetched where one id is wrong
