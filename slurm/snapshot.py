"""The code as it is when a study is submitted: jobs that start hours later do not see what is edited meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from moore.base.errors import UserError
from moore.base.files import replacing
from moore.base.machine import COMMIT_FILE

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("moore", "analysis", "slurm")


@dataclass(frozen=True)
class CodeState:
    """The commit that the code was copied at ("unknown" without git), and whether it had changes beyond it."""

    commit: str
    dirty: bool


def snapshot(target: Path, checkout: Path = CHECKOUT) -> CodeState:
    """Copy the code to `target`, a folder that is not there yet, with its commit in the file .commit.

    Copied are the tracked files as they are now and the packages' new .py files, which count as changes. With changes
    there is target/../diff.patch, too: `git apply` of it at the commit gives the copy. Of code that is no git checkout
    the packages and studies are copied. Raises UserError where git refuses to answer or the copy cannot be written;
    no half copy is left then.
    """
    if target.exists():
        raise UserError(f"{target}: is there already; accepted: a new folder for every submission")
    commit = _commit(checkout)
    patch = target.parent / "diff.patch"
    try:
        target.mkdir(parents=True)
        if commit is None:
            _copy_folders(checkout, target)
            state = CodeState("unknown", False)
        else:
            state = _copy_tracked(checkout, commit, target, patch)
        with replacing(target / COMMIT_FILE) as file:
            file.write(f"{state.commit}{'-dirty' if state.dirty else ''}\n".encode())
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError | shutil.Error):
            raise UserError(
                f"{target}: the code cannot be copied ({error}); accepted: a place with room for it"
            ) from None
        raise
    return state


def _commit(checkout: Path) -> str | None:
    """The commit that is checked out; None where there is no git, or the code is not tracked by it."""
    try:
        _git(checkout, "ls-files", "--error-unmatch", "moore/__init__.py")
        return _git(checkout, "rev-parse", "--verify", "HEAD").decode().strip()
    except FileNotFoundError:
        return None
    except UserError:
        if (checkout / ".git").exists():  # a checkout of another owner, say: git has the words for it
            raise
        return None


def _copy_tracked(checkout: Path, commit: str, target: Path, patch: Path) -> CodeState:
    new = _names(checkout, "--others", "--exclude-standard", "--", *(f"{package}/*.py" for package in PACKAGES))
    for name in [*_names(checkout, "--cached"), *new]:
        if os.path.lexists(checkout / name):  # else deleted, which the patch says
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, target / name, follow_symlinks=False)
    changes = _changes(checkout, new)
    if changes:
        with replacing(patch) as file:
            file.write(changes)
    return CodeState(commit, bool(changes))


def _changes(checkout: Path, new: list[str]) -> bytes:
    """What to apply to the commit to get the files as they are, new ones included; the user's index is not touched."""
    index = checkout / _git(checkout, "rev-parse", "--git-path", "index").decode().rstrip("\n")
    with tempfile.TemporaryDirectory() as folder:
        own = shutil.copy2(index, folder)  # with its time, by which git finds edits in the moment of `git add`
        if new:
            _git(checkout, "add", "--intent-to-add", "--", *new, index=own)
        form = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
        return _git(checkout, "diff", *form, "HEAD", "--", ".", index=own)


def _copy_folders(checkout: Path, target: Path) -> None:
    for name in (*PACKAGES, "ablations"):
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))


def _names(checkout: Path, *arguments: str) -> list[str]:
    return [os.fsdecode(name) for name in _git(checkout, "ls-files", "-z", *arguments).split(b"\0") if name]


def _git(checkout: Path, *arguments: str, index: str | None = None) -> bytes:
    """git's answer; UserError with its words where it has none. index: in place of the checkout's."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"} | ({"GIT_INDEX_FILE": index} if index else {})
    done = subprocess.run(["git", *arguments], capture_output=True, check=False, cwd=checkout, env=environment)
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(
            f"{checkout}: git {arguments[0]} fails ({words}); accepted: a checkout with a commit, which git can read"
        )
    return done.stdout
