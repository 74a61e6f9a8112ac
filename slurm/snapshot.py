"""The code as it is when a study is submitted: jobs that start hours later do not see what is edited meanwhile."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moore.base.errors import UserError
from moore.base.machine import COMMIT_FILE

CHECKOUT = Path(__file__).parents[1]
FOLDERS = ("moore", "analysis", "slurm", "ablations")  # copied where there is no git
DIFF = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")


@dataclass(frozen=True)
class CodeState:
    """The commit that the code was copied at ("unknown" without git), and whether it had changes beyond it."""

    commit: str
    dirty: bool


def snapshot(target: Path, plugins: Iterable[str] = (), checkout: Path = CHECKOUT) -> CodeState:
    """Copy the code to `target`, a folder that is not there yet, with its commit in the file .commit.

    Copied are the tracked files as they are now and the packages' new .py files. With changes there is
    target/../diff.patch, too: `git apply` of it at the commit gives the copy. Of code that is no git checkout the
    packages and studies are copied. plugins: names `package.module:name`, whose source is copied from the working
    directory if it is there. Raises UserError where git refuses to answer or the copy cannot be written; then no half
    copy is left.
    """
    if target.exists():
        raise UserError(f"{target}: is there already; accepted: a new folder for every submission")
    try:
        target.mkdir(parents=True)
        state = _copy_tree(checkout, target)
        for module in {name.partition(":")[0] for name in plugins}:
            _copy_plugin(module, target)
        (target / COMMIT_FILE).write_text(f"{state.commit}{'-dirty' if state.dirty else ''}\n")
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError | shutil.Error):
            where = f"{target}: the code cannot be copied ({error})"
            raise UserError(f"{where}; accepted: a place with room for it") from None
        raise
    return state


def _copy_tree(checkout: Path, target: Path) -> CodeState:
    """Copy a checkout through a git tree of its own, beside the user's index and objects."""
    if not _is_tracked(checkout):
        for name in (name for name in FOLDERS if (checkout / name).is_dir()):
            shutil.copytree(checkout / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        return CodeState("unknown", False)
    names = _git(checkout, "rev-parse", "HEAD", "--git-path", "index", "--git-path", "objects")
    commit, index, objects = os.fsdecode(names).splitlines()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy2(checkout / index, f"{folder}/index")  # its time tells git of edits in the moment of `git add`
        own = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(checkout / objects),
        }
        _git(checkout, "add", "--update", ".", **own)
        code = [f"{name}/*.py" for name in FOLDERS]
        new = os.fsdecode(_git(checkout, "ls-files", "--others", "--exclude-standard", "-z", "--", *code, **own))
        if new:
            _git(checkout, "add", "--", *new.strip("\0").split("\0"), **own)
        # the checkout may be a folder of a larger repository
        top, prefix = _git(checkout, "rev-parse", "--show-toplevel", "--show-prefix").decode().split("\n")[:2]
        tree = _git(checkout, "write-tree", *([f"--prefix={prefix}"] if prefix else []), **own).decode().strip()
        with tarfile.open(fileobj=io.BytesIO(_git(Path(top), "archive", tree, **own))) as archive:
            archive.extractall(target, filter="tar")
        changes = _git(checkout, "diff", "--cached", *DIFF, "HEAD", "--", ".", **own)
    if changes:
        (target.parent / "diff.patch").write_bytes(changes)
    return CodeState(commit, bool(changes))


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
