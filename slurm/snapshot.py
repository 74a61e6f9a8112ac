"""The code as it is when a study is submitted: jobs that start hours later do not see what is edited meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from moore.base.errors import UserError
from moore.base.files import cannot_write
from moore.base.machine import COMMIT_FILE

CHECKOUT = Path(__file__).parents[1]
FOLDERS = ("moore", "analysis", "slurm", "ablations")  # copied where there is no git
DIFF = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")


def snapshot(target: Path, plugins: Iterable[str] = (), checkout: Path = CHECKOUT) -> str:
    """Copy the code to `target`, a new folder; returns its commit, which is also in the file .commit there.

    The commit ends in -dirty where there are changes beyond it, and is "unknown" without git. Copied are the tracked
    files as they are now and the packages' new .py files. With changes there is target/../diff.patch, too: `git apply`
    of it at the commit gives the copy. Of code that is no git checkout the packages and studies are copied. plugins:
    names `package.module:name`, whose source is copied from the working directory if it is there. Raises UserError
    where git refuses to answer or the copy cannot be written.
    """
    try:
        target.mkdir(parents=True)
        commit = _copy_checkout(checkout, target) if _is_tracked(checkout) else _copy_packages(checkout, target)
        for module in {name.partition(":")[0] for name in plugins}:
            _copy_plugin(module, target)
        (target / COMMIT_FILE).write_text(f"{commit}\n")
    except OSError as error:
        raise cannot_write(target, error) from None
    return commit


def _copy_packages(checkout: Path, target: Path) -> str:
    for name in (name for name in FOLDERS if (checkout / name).is_dir()):
        shutil.copytree(checkout / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return "unknown"


def _copy_checkout(checkout: Path, target: Path) -> str:
    """Copy what git tracks, and new .py files, which a copy of the user's index is told of."""
    commit, index = os.fsdecode(_git(checkout, "rev-parse", "HEAD", "--git-path", "index")).splitlines()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy2(checkout / index, f"{folder}/index")  # its time tells git of edits in the moment of `git add`
        own = {"GIT_INDEX_FILE": f"{folder}/index"}
        code = [f"{name}/*.py" for name in FOLDERS]
        new = os.fsdecode(_git(checkout, "ls-files", "--others", "--exclude-standard", "-z", "--", *code, **own))
        if new:
            _git(checkout, "add", "--intent-to-add", "--", *new.strip("\0").split("\0"), **own)
        for name in os.fsdecode(_git(checkout, "ls-files", "-z", **own)).strip("\0").split("\0"):
            path = checkout / name
            if path.is_file() or path.is_symlink():  # else it was deleted
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target / name, follow_symlinks=False)
        changes = _git(checkout, "diff", *DIFF, "HEAD", "--", ".", **own)
    if changes:
        (target.parent / "diff.patch").write_bytes(changes)
    return f"{commit}-dirty" if changes else commit


def _copy_plugin(module: str, target: Path) -> None:
    """Copy a module's top-level file, or the Python files of its package, from the working directory."""
    name = module.partition(".")[0]
    for path in [Path(f"{name}.py"), *Path(name).rglob("*.py")]:
        if path.is_file() and not (target / path).exists():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / path)


def _is_tracked(checkout: Path) -> bool:
    """Tell code in a git checkout from code without git, or inside somebody else's repository."""
    try:
        _git(checkout, "ls-files", "--error-unmatch", "moore/__init__.py")
    except FileNotFoundError:
        return False
    except UserError:
        if (checkout / ".git").exists():  # a checkout of another owner, say: git has the words for it
            raise
        return False
    return True


def _git(checkout: Path, *arguments: str, **environment: str) -> bytes:
    """Return git's answer. Raises UserError with its words where it has none."""
    more = os.environ | {"GIT_OPTIONAL_LOCKS": "0"} | environment
    done = subprocess.run(["git", *arguments], capture_output=True, check=False, cwd=checkout, env=more)
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        accepted = "accepted: a checkout with a commit, which git can read"
        raise UserError(f"{checkout}: git {arguments[0]} fails ({words}); {accepted}")
    return done.stdout
