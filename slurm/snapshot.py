"""The code as it is when a study is submitted: jobs that start hours later do not see what is edited meanwhile."""

import os
import shutil
import subprocess
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
    files as they are now and the packages' new .py files. target/../diff.patch has the changes of tracked files. Of
    code that is no git checkout the packages and studies are copied. plugins: names `package.module:name`, whose source
    is copied from the working directory if it is there. Raises UserError where git refuses to answer or the copy cannot
    be written.
    """
    try:
        target.mkdir(parents=True)
        commit = "unknown"
        if _is_tracked(checkout):
            commit = os.fsdecode(_git(checkout, "rev-parse", "HEAD")).strip()
            python = [f"{name}/*.py" for name in FOLDERS]
            new = _git(checkout, "ls-files", "-z", "--others", "--exclude-standard", "--", *python)
            names = os.fsdecode(_git(checkout, "ls-files", "-z") + new)
            _copy(checkout, target, names.strip("\0").split("\0"))
            changes = _git(checkout, "diff", *DIFF, "HEAD", "--", ".")
            if changes:
                (target.parent / "diff.patch").write_bytes(changes)
            commit += "-dirty" if changes or new else ""
        else:
            for name in (name for name in FOLDERS if (checkout / name).is_dir()):
                shutil.copytree(checkout / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        for module in {name.partition(":")[0].partition(".")[0] for name in plugins}:
            _copy(Path(), target, [f"{module}.py", *map(str, Path(module).rglob("*.py"))])
        (target / COMMIT_FILE).write_text(f"{commit}\n")
    except OSError as error:
        raise cannot_write(target, error) from None
    return commit


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy the files that are there, links as links, over none that is there already."""
    for name in names:
        if ((source / name).is_file() or (source / name).is_symlink()) and not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name, follow_symlinks=False)


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


def _git(checkout: Path, *arguments: str) -> bytes:
    """Return git's answer. Raises UserError with its words where it has none."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", *arguments], capture_output=True, check=False, cwd=checkout, env=environment)
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        accepted = "accepted: a checkout with a commit, which git can read"
        raise UserError(f"{checkout}: git {arguments[0]} fails ({words}); {accepted}")
    return done.stdout
