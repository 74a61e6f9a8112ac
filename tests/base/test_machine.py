"""Facts about machine and code."""

import os
import subprocess
from pathlib import Path

from moore.base.machine import STATUS


def test_a_look_at_the_commit_writes_nothing(tmp_path: Path) -> None:
    """Breaks if git's index is locked meanwhile: who is killed then stops the user's own git commands."""
    git = lambda *words: subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)  # noqa: E731
    git("init")
    (tmp_path / "file").write_text("x")
    git("add", "file")
    os.utime(tmp_path / "file", (1, 1))  # as after a checkout: git would write the new time down
    before = (tmp_path / ".git" / "index").read_bytes()
    subprocess.run(STATUS, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / ".git" / "index").read_bytes() == before
    git("status")
    assert (tmp_path / ".git" / "index").read_bytes() != before
