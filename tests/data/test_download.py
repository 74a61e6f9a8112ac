"""Downloads from a server on this machine that breaks off, stalls and lies: the right file in the end, or none."""

import fcntl
import gc
import hashlib
import io
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.cli.main import main
from moore.data import download
from moore.data.d4rl import FILES, PublishedFile, d4rl_path
from moore.data.download import download_d4rl
from moore.data.load import load_dataset

ID, OTHER = "d4rl:hopper-medium-v2", "d4rl:hopper-expert-v2"
BODY = random.Random(0).randbytes(5000)
GARBAGE = random.Random(1).randbytes(5000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers a request with the next reply of the server's script, and as a good server when that is used up."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        reply = self.server.script.pop(0) if self.server.script else send()
        reply(self)

    def start(self) -> int:
        """First byte asked for."""
        return int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """script: replies to come; ranges: the Range header of every request so far."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/files"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of this server."""


Reply = Callable[[Handler], None]


def send(body: bytes = BODY, until: int | None = None, ranges: bool = True) -> Reply:
    """The bytes asked for, breaking off at position `until` of the file; all bytes, if `ranges` are not known."""

    def reply(request: Handler) -> None:
        start = request.start() if ranges else 0
        length = len(body) - start
        if start:
            request.head(206, Content_Length=length, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.head(200, Content_Length=length)
        request.wfile.write(body[start:until])

    return reply


def stall(at: int) -> Reply:
    """Breaks off as `send` does, but keeps the connection."""

    def reply(request: Handler) -> None:
        send(until=at)(request)
        request.wfile.flush()
        request.server.released.wait(60)

    return reply


def reset(at: int) -> Reply:
    """Breaks off as `send` does, but without the handshake that ends a connection."""

    def reply(request: Handler) -> None:
        send(until=at)(request)
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    return reply


def answer(status: int, body: bytes = b"", **headers: object) -> Reply:
    """Any answer; no length is announced unless it is in `headers`."""

    def reply(request: Handler) -> None:
        request.head(status, **headers)
        request.wfile.write(body)

    return reply


def greet(request: Handler) -> None:
    """Not HTTP."""
    request.wfile.write(b"hello\n")


def hang_up(request: Handler) -> None:
    """No answer at all."""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A good server; the published file is BODY, and waiting is short."""
    running.script.clear()
    running.ranges.clear()
    monkeypatch.setenv("D4RL_DATASET_URL", running.url)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(FILES, ID, PublishedFile("hopper_medium-v2.hdf5", len(BODY), SHA256))
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    monkeypatch.setattr(download, "CHUNK", 512)
    return running


@pytest.fixture
def path(server: Server, tmp_path: Path) -> Path:
    return tmp_path / "d4rl" / "hopper_medium-v2.hdf5"


@pytest.fixture
def part(path: Path) -> Path:
    return path.with_name("hopper_medium-v2.hdf5.part")


def failure() -> str:
    with pytest.raises(UserError) as caught:
        download_d4rl(ID)
    assert "\n" not in str(caught.value)
    assert "accepted: " in str(caught.value)
    return str(caught.value)


def assert_complete(path: Path, part: Path) -> None:
    assert path.read_bytes() == BODY
    assert not part.exists()


def test_whole_file_and_no_network_after_it(server: Server, path: Path, part: Path) -> None:
    told: list[int] = []
    assert download_d4rl(ID, lambda done, trouble: told.append(done))
    assert_complete(path, part)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.sha256.json"]
    assert d4rl_path(ID) == path
    assert told[-1] == len(BODY)
    assert told == sorted(told)
    assert server.ranges == [None]
    assert not download_d4rl(ID)
    assert server.ranges == [None]


TAIL = "bytes=2000-"
RECOVERED: dict[str, tuple[list[Reply], list[str | None]]] = {
    "breaks off": ([send(until=2000)], [None, TAIL]),
    "breaks off twice": ([send(until=700), send(until=2000)], [None, "bytes=700-", TAIL]),
    "breaks off before the first byte": ([send(until=0)], [None, None]),
    "busy": ([answer(503), answer(500), answer(502)], [None] * 4),
    "busy in between": ([send(until=2000), answer(503)], [None, TAIL, TAIL]),
    "hangs up": ([hang_up], [None, None]),
    "not HTTP": ([greet], [None, None]),
    "ignores ranges": ([send(until=2000), send(ranges=False)], [None, TAIL]),
    "sends another range": (
        [send(until=2000), answer(206, BODY[1000:1100], Content_Range="bytes 1000-4999/5000")],
        [None, TAIL, None],
    ),
    "does not say which range": ([send(until=2000), answer(206, BODY[2000:])], [None, TAIL, None]),
    "changed in between": ([send(GARBAGE, until=2000)], [None, TAIL, None]),
    "changed twice in between": (
        [send(GARBAGE, until=2000), send(), send(until=3000)],
        [None, TAIL, None, "bytes=3000-"],
    ),
    "redirects": ([send(until=2000), answer(302, Location="elsewhere")], [None, TAIL, TAIL]),
    "does not say how long": ([answer(200, BODY)], [None]),
    "does not say how long and breaks off": ([answer(200, BODY[:2000])], [None, TAIL]),
    "does not say how long and goes on": ([answer(200, BODY + b"more")], [None]),
    "does not say the whole length": (
        [send(until=2000), answer(206, BODY[2000:], Content_Range="bytes 2000-4999/*")],
        [None, TAIL],
    ),
}


@pytest.mark.parametrize("case", RECOVERED)
def test_recovers(server: Server, path: Path, part: Path, case: str) -> None:
    script, ranges = RECOVERED[case]
    server.script[:] = script
    assert download_d4rl(ID)
    assert_complete(path, part)
    assert server.ranges == ranges


def test_recovers_from_a_stall(server: Server, path: Path, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    server.script[:] = [stall(2000)]
    troubles: list[str] = []
    assert download_d4rl(ID, lambda done, trouble: troubles.append(trouble))
    assert_complete(path, part)
    assert server.ranges[:2] == [None, TAIL]
    assert "timed out, trying again" in troubles


def test_recovers_from_a_reset(server: Server, path: Path, part: Path) -> None:
    server.script[:] = [reset(2000)]
    troubles: list[str] = []
    assert download_d4rl(ID, lambda done, trouble: troubles.append(trouble))
    assert_complete(path, part)
    assert "Connection reset by peer, trying again" in troubles


FATAL: dict[str, tuple[Reply, list[str], int, int | None]] = {
    # what comes each time; what the message says; requests; bytes that are kept (None: no part)
    "absent": (answer(404), ["404 Not Found"], 1, 0),
    "forbidden": (answer(403), ["403"], 1, 0),
    "down": (answer(503), ["503 Service Unavailable, 5 times in a row", "0 of 5000 bytes"], 5, 0),
    "never beyond": (send(until=2000), ["after 2000 of 5000 bytes, 5 times in a row", "D4RL_DATASET_URL"], 6, 2000),
    "drops": (hang_up, ["5 times in a row"], 5, 0),
    "garbage": (send(GARBAGE), [hashlib.sha256(GARBAGE).hexdigest(), SHA256], 1, None),
    "web page": (answer(200, b"<p>Log in", Content_Type="text/html; charset=utf-8"), ["web page"], 1, 0),
    "web page of that length": (answer(200, b"<" * 5000, Content_Type="text/html", Content_Length=5000), ["web"], 1, 0),
    "longer": (send(BODY + b"x"), ["announces 5001 bytes", "5000"], 1, 0),
    "shorter": (send(BODY[:-1]), ["announces 4999 bytes", "5000"], 1, 0),
    "length of a lie": (answer(200, BODY, Content_Length=10**12), ["announces 1000000000000 bytes"], 1, 0),
    "length of nonsense": (answer(200, BODY, Content_Length="many"), ["announces many bytes"], 1, 0),
    "empty": (answer(204), ["204"], 1, 0),
    "round in circles": (answer(302, Location="/files/hopper_medium-v2.hdf5"), ["302"], 5, 0),
    "to a local file": (answer(302, Location="file:///etc/hostname"), ["302", "not allowed"], 1, 0),
}


@pytest.mark.parametrize("case", FATAL)
def test_fails_in_one_line_and_goes_on_later(server: Server, path: Path, part: Path, case: str) -> None:
    reply, fragments, requests, kept = FATAL[case]
    server.script[:] = [reply] * 20
    message = failure()
    for fragment in [server.url, path.name, *fragments]:
        assert fragment in message
    assert not path.exists()
    assert (part.stat().st_size if part.exists() else None) == kept
    if case != "round in circles":  # urllib's own limit
        assert len(server.ranges) == requests

    server.script.clear()
    server.ranges.clear()
    assert download_d4rl(ID)
    assert_complete(path, part)
    assert server.ranges == [f"bytes={kept}-" if kept else None]


def test_redirect_to_nonsense(server: Server, path: Path) -> None:
    server.script[:] = [answer(302, Location="http://[nowhere")] * 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # urllib leaves this answer to the garbage collector
        assert "5 times in a row" in failure()
        gc.collect()
    assert not path.exists()


@pytest.mark.parametrize(
    ("reply", "fragment"),
    [
        (answer(416, Content_Range="bytes */1500"), "at most the 2000 bytes"),
        (answer(206, b"x" * 3001, Content_Range="bytes 2000-5000/5001"), "a file of 5001 bytes"),
        (send(GARBAGE[:1500], ranges=False), "announces 1500 bytes"),
    ],
)
def test_another_file_on_the_server_does_not_cost_the_part(
    server: Server, path: Path, part: Path, reply: Reply, fragment: str
) -> None:
    part.parent.mkdir()
    part.write_bytes(BODY[:2000])
    server.script[:] = [reply]
    assert fragment in failure()
    assert part.read_bytes() == BODY[:2000]
    assert not path.exists()
    assert download_d4rl(ID)
    assert_complete(path, part)


@pytest.mark.parametrize(
    ("left", "ranges"),
    [
        (BODY[:3000], ["bytes=3000-"]),
        (GARBAGE[:3000], ["bytes=3000-", None]),
        (BODY, []),  # interrupted between the last byte and the check
        (GARBAGE, [None]),
        (BODY + b"more", [None]),
        (b"", [None]),
    ],
)
def test_part_of_an_earlier_call(server: Server, path: Path, part: Path, left: bytes, ranges: list[str | None]) -> None:
    part.parent.mkdir()
    part.write_bytes(left)
    assert download_d4rl(ID)
    assert_complete(path, part)
    assert server.ranges == ranges


def test_progress_is_waited_for(server: Server, path: Path, part: Path) -> None:
    server.script[:] = [send(until=position) for position in range(600, 5000, 600)]  # eight breaks, each beyond CHUNK
    assert download_d4rl(ID)
    assert_complete(path, part)
    server.ranges.clear()
    path.unlink()
    server.script[:] = [send(until=position) for position in range(1, 100)]  # a byte each time
    assert "5 times in a row; 5 of 5000 bytes" in failure()


def test_waits_longer_each_time(server: Server, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(download, "BACKOFF", 0.5)
    monkeypatch.setattr(time, "sleep", waited.append)
    server.script[:] = [answer(503)] * 5
    failure()
    assert waited == [0.5, 1.0, 2.0, 4.0]


def test_no_server(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        monkeypatch.setenv("D4RL_DATASET_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "Connection refused, 5 times in a row" in failure()
    assert not path.exists()


@pytest.mark.parametrize(
    "base", ["nonsense", "ftp://host/x", "file:///etc", "http://", "http://[x", "http://h:p", "http://a b"]
)
def test_bad_mirror(server: Server, part: Path, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("D4RL_DATASET_URL", base)
    assert f"D4RL_DATASET_URL: {base!r}" in failure()
    assert not part.parent.exists()


POSITIONS = st.integers(0, len(BODY))
FAULTS = st.one_of(
    st.builds(lambda at: send(until=at), POSITIONS),
    st.builds(lambda at: send(until=at, ranges=False), POSITIONS),
    st.builds(lambda at: send(GARBAGE, until=at), POSITIONS),
    st.builds(reset, POSITIONS),
    st.sampled_from([answer(503), answer(404), send(GARBAGE), answer(200, BODY[:99]), answer(206, BODY[:99])]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(FAULTS, max_size=6), left=st.one_of(st.none(), POSITIONS))
def test_any_faults_end_in_the_file_or_in_none(
    server: Server, path: Path, part: Path, script: list[Reply], left: int | None
) -> None:
    path.unlink(missing_ok=True)
    part.unlink(missing_ok=True)
    if left is not None:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(BODY[:left])
    server.script[:] = script
    while server.script:  # each call uses up at least one reply or is done
        try:
            download_d4rl(ID)
            break
        except UserError:
            assert not path.exists()
    assert path.exists() or download_d4rl(ID)
    assert_complete(path, part)


CHILD = """
import resource, sys
from moore.data.d4rl import FILES, PublishedFile
from moore.data.download import download_d4rl
from moore.base.errors import UserError
FILES[sys.argv[1]] = PublishedFile("hopper_medium-v2.hdf5", int(sys.argv[2]), sys.argv[3])
if len(sys.argv) > 4:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
try:
    download_d4rl(sys.argv[1])
except UserError as error:
    sys.exit(str(error))
"""


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, ID, str(len(BODY)), SHA256, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle(server: Server, path: Path, part: Path) -> None:
    server.script[:] = [stall(2000)]
    process = child()
    try:
        for _ in range(1000):
            assert process.poll() is None
            if part.exists() and part.stat().st_size == 2000:
                break
            time.sleep(0.02)  # 20 s together, which is less than TIMEOUT
        else:
            pytest.fail("what has arrived is not in the part")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not path.exists()
    assert download_d4rl(ID)
    assert_complete(path, part)
    assert server.ranges == [None, TAIL]


def test_no_room_for_the_rest(server: Server, path: Path, part: Path) -> None:
    process = child("3000")  # the largest file that this process may write
    _, message = process.communicate()
    assert process.returncode == 1
    assert f"{part}: cannot be written" in message
    assert message.count("\n") == 1
    assert not path.exists()
    assert part.read_bytes() == BODY[: part.stat().st_size]
    assert download_d4rl(ID)
    assert_complete(path, part)


def test_full_disk(server: Server, path: Path, part: Path) -> None:
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    message = failure()
    assert f"{part}: cannot be written (No space left on device)" in message
    assert "5000 bytes" in message
    assert "D4RL_DATASET_DIR" in message
    assert not path.exists()


def test_unwritable_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "d4rl").write_text("a file where the folder should be")
    assert "cannot be written" in failure()
    assert server.ranges == []


def test_folder_that_cannot_be_looked_into(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4RL_DATASET_DIR", "x" * 300)  # no name that a file system takes
    assert "cannot be written (File name too long)" in failure()
    with pytest.raises(UserError, match="no file x"):
        d4rl_path(ID)
    assert server.ranges == []


def test_two_downloads_at_once(server: Server, path: Path, part: Path) -> None:
    part.parent.mkdir()
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert f"{part}: another process" in failure()
        assert server.ranges == []
    assert download_d4rl(ID)
    assert_complete(path, part)


def test_a_file_of_that_name_stays(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(GARBAGE)
    message = failure()
    assert SHA256 in message
    assert hashlib.sha256(GARBAGE).hexdigest() in message
    assert path.read_bytes() == GARBAGE
    assert server.ranges == []


def test_loading_never_downloads(server: Server, path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_dataset(ID)
    assert f"`moore data download {ID}`" in str(caught.value)
    assert str(path) in str(caught.value)
    assert server.ranges == []


def test_command(
    server: Server, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, OTHER, PublishedFile("hopper_expert-v2.hdf5", len(GARBAGE), "0" * 64))
    assert main(["data", "download", ID]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{ID}: 0.0 MB in {path} (downloaded, sha256 {SHA256[:16]})")
    assert err == ""
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
        (["local:x.hdf5"], "local:x.hdf5 is not a download"),
    ],
)
def test_bad_command(server: Server, capsys: pytest.CaptureFixture[str], ids: list[str], fragment: str) -> None:
    assert main(["data", "download", *ids]) == 2
    out, err = capsys.readouterr()
    assert fragment in err
    assert err.count("\n") == 1
    assert (out, server.ranges) == ("", [])  # nothing is fetched where one id is wrong


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    server.script[:] = [send(until=2000)]
    assert main(["data", "download", ID]) == 0
    assert "hopper_medium-v2.hdf5" in shown.getvalue()
