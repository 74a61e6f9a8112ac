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
PACKAGES = ("moore", "analysis", "slurm", "ablations")
DIFF = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")


def snapshot(target: Path, plugins: Iterable[str] = (), checkout: Path = CHECKOUT) -> str:
    """Copy the packages to `target`, a new folder; returns their commit, which is also in the file .commit there.

    The commit ends in -dirty where there are changes beyond it or new .py files, and is "unknown" for code that is no
    git checkout. target/../diff.patch has the changes of tracked files. plugins: names `package.module:name`, whose
    source is copied from the working directory if it is there. Raises UserError where git refuses to answer or the copy
    cannot be written.
    """
    try:
        files = [path.relative_to(checkout) for name in PACKAGES for path in (checkout / name).rglob("*")]
        _copy(checkout, target, [path for path in files if "__pycache__" not in path.parts])
        for module in {name.partition(":")[0].partition(".")[0] for name in plugins}:
            _copy(Path(), target, [Path(f"{module}.py"), *Path(module).rglob("*.py")])
        commit = "unknown"
        if (checkout / ".git").exists() and shutil.which("git"):
            python = [f"{name}/*.py" for name in PACKAGES]
            new = _git(checkout, "ls-files", "--others", "--exclude-standard", "--", *python)
            changes = _git(checkout, "diff", *DIFF, "HEAD", "--", ".")
            if changes:
                (target.parent / "diff.patch").write_bytes(changes)
            commit = os.fsdecode(_git(checkout, "rev-parse", "HEAD")).strip() + ("-dirty" if changes or new else "")
        (target / COMMIT_FILE).write_text(f"{commit}\n")
    except OSError as error:
        raise cannot_write(target, error) from None
    return commit


def _copy(source: Path, target: Path, paths: Iterable[Path]) -> None:
    """Copy the files that are there, over none that is there already."""
    for path in paths:
        if (source / path).is_file() and not (target / path).exists():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, target / path)


def _git(checkout: Path, *arguments: str) -> bytes:
    """Return git's answer. Raises UserError with its words where it has none."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", *arguments], capture_output=True, check=False, cwd=checkout, env=environment)
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        accepted = "accepted: a checkout with a commit, which git can read"
        raise UserError(f"{checkout}: git {arguments[0]} fails ({words}); {accepted}")
    return done.stdout
