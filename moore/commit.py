"""The commit of a copy of the code that is no git checkout."""

from __future__ import annotations

from pathlib import Path

COMMIT_FILE = ".commit"  # beside the packages: the commit, with -dirty if there are changes


def short(commit: str) -> str:
    """The first ten digits, with what follows them: `-dirty` for changes that are in no commit."""
    digits, *state = commit.split("-", 1)
    return "-".join([digits[:10], *state])


def copied_commit() -> str | None:
    """What the copy's COMMIT_FILE says; None where this code is no such copy."""
    path = Path(__file__).parents[1] / COMMIT_FILE
    return path.read_text().strip() if path.is_file() else None
