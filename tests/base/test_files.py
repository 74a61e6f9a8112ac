"""Files that are whole or not there, and locks that end with their process."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from moore.base.errors import UserError
from moore.base.files import replacing
from moore.base.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from moore.base.lock import locked
with locked(Path(sys.argv[1]), "the study"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_content_and_name_reach_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a power cut could leave a name without its content, or half a file under the name."""
    events, fsync, replace = list[str](), os.fsync, os.replace

    def spied_fsync(descriptor: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def spied_replace(source: Path, target: Path) -> None:
        events.append(f"rename {Path(source).name} to {Path(target).name}")
        assert Path(source).read_bytes() == b"all of it"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "replace", spied_replace)
    with replacing(tmp_path / "a") as file:
        file.write(b"all of it")
    temporary = f".a.{socket.gethostname()}.{os.getpid()}.tmp"
    assert events == [f"sync {temporary}", f"rename {temporary} to a", f"sync {tmp_path.name}"]


def test_a_killed_writer_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Breaks if half files pile up, or the half file of a process that still writes is taken away."""
    path = tmp_path / "a[1].json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [f".a[1].json.{socket.gethostname()}.{os.getppid()}.tmp", f".a[1].json.elsewhere.{dead.pid}.tmp"]
    for name in [*kept, f".a[1].json.{socket.gethostname()}.{dead.pid}.tmp"]:
        (tmp_path / name).write_text("half")
    with replacing(path) as file:
        file.write(b"{}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["a[1].json", *kept])


def test_the_holder_is_named_and_its_end_frees(tmp_path: Path) -> None:
    """Breaks if two processes get in, the second touches anything, or a killed holder keeps the others out."""
    path = tmp_path / "study" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        content, begin = path.read_bytes(), time.monotonic()
        who = f"^the study is in use by process {holder.pid} on {socket.gethostname()} since "
        with pytest.raises(UserError, match=who), locked(path, "the study", patience=0.5):
            raise AssertionError("two processes are in")
        assert time.monotonic() - begin >= 0.5
        assert path.read_bytes() == content
        holder.kill()
    for _ in range(2):
        with locked(path, "the study"):
            assert path.read_text().startswith(f"process {os.getpid()} on ")


def test_a_holder_that_could_not_sign(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, "x"):
        path.write_bytes(b"")
        with pytest.raises(UserError, match="x is in use by another process"), locked(path, "x"):
            raise AssertionError("two are in")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if nothing can be trained there, or nobody is told that a second process is not kept out."""

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "lock", "x"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"moore: warning: {tmp_path / 'lock'}: no file locks here ({os.strerror(number)})")


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    cannot = pytest.raises(UserError, match=r"taken/lock: cannot be written \(File exists\)")
    with cannot, locked(tmp_path / "taken" / "lock", "x"):
        raise AssertionError("in")
