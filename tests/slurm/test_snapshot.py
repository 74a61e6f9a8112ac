"""Snapshots of the code: the copy is what was submitted, and commit and patch give it back."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from moore.base.errors import UserError
from moore.base.machine import COMMIT_FILE
from slurm.snapshot import snapshot


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but git's and the snapshot's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != COMMIT_FILE}


FILES = {
    "README.md": b"words\n",
    ".gitignore": b"__pycache__/\n/runs/\n",
    "moore/__init__.py": b"",
    "moore/data/set.bin": bytes(range(256)),
    "moore/data/name with space é.py": b"x = 1\n",
    "slurm/__init__.py": b"",
    "analysis/__init__.py": b"",
    "ablations/study.yaml": b"study: a\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that has what the project's has, in small."""
    folder = tmp_path / "checkout"
    write(folder, FILES)
    (folder / "run.sh").write_text("true\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("README.md")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a")
    return folder


def test_a_clean_checkout(checkout: Path, tmp_path: Path) -> None:
    ignored = ("runs/big.bin", "moore/__pycache__/a.py", "notes.txt", "tools/a.py")
    write(checkout, dict.fromkeys(ignored, b"x"))
    target = tmp_path / "submission" / "code"
    head = git(checkout, "rev-parse", "HEAD")
    assert snapshot(target, checkout=checkout) == head
    assert (target / COMMIT_FILE).read_text() == f"{head}\n"
    assert contents(target) == FILES | {"run.sh": b"true\n", "link": b"words\n"}
    assert (target / "link").is_symlink()
    assert (target / "run.sh").stat().st_mode & stat.S_IXUSR
    assert os.listdir(tmp_path / "submission") == ["code"], "a patch of no changes"


CHANGES: dict[str, bytes | None] = {
    "moore/new.py": b"a = 1\n",
    "slurm/deep/er/new one.py": b"b = 1\n",
    "analysis/empty.py": b"",
    "slurm/__init__.py": None,  # deleted
    "link": None,
    "moore/data/set.bin": b"\0\1",
    "README.md": b"other words, no newline",
}


@pytest.mark.parametrize("staged", [False, True], ids=["", "staged"])
def test_the_commit_and_the_patch_are_the_copy(staged: bool, checkout: Path, tmp_path: Path) -> None:
    """Breaks if the record of a dirty tree cannot give the code back that was run."""
    write(checkout, {name: content for name, content in CHANGES.items() if content is not None})
    for name in (name for name, content in CHANGES.items() if content is None):
        (checkout / name).unlink()
    if staged:
        git(checkout, "add", "--all", "moore", "slurm", "analysis")
    git(checkout, "config", "diff.noprefix", "true")  # a setting of the user's that would break the patch
    git(checkout, "config", "color.ui", "always")
    index = (checkout / ".git" / "index").read_bytes()
    target = tmp_path / "submission" / "code"
    assert snapshot(target, checkout=checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"
    assert contents(target) == contents(checkout)
    assert (checkout / ".git" / "index").read_bytes() == index, "the user's index was touched"
    again = tmp_path / "again"
    git(tmp_path, "clone", "-q", str(checkout), str(again))
    git(again, "apply", str(target.parent / "diff.patch"))
    new = {name for name in CHANGES if name.endswith("new.py") or "new one" in name or "empty" in name}
    assert contents(again).items() <= contents(target).items()
    assert contents(target).keys() - contents(again).keys() == (set() if staged else new)


def test_plugins_of_the_working_directory(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a task would import a plugin as it is edited after the submission, or code of ours is replaced."""
    own = {"own/deep/strategy.py": b"a = 1\n", "own/__init__.py": b"", "single.py": b"b = 1\n"}
    write(tmp_path, {**own, "moore/data/set.bin": b"theirs"})
    monkeypatch.chdir(tmp_path)
    plugins = ["own.deep.strategy:draw", "single:penalty", "moore.x:y", "installed.elsewhere:z"]
    assert snapshot(tmp_path / "code", plugins, checkout) == git(checkout, "rev-parse", "HEAD")
    assert contents(tmp_path / "code") == contents(checkout) | own


def test_code_that_is_no_checkout(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".git")
    git(tmp_path, "init", "-q")  # installed inside some repository, whose commit is not its own
    write(checkout, {"moore/__pycache__/a.pyc": b"x", "runs/big.bin": b"x"})
    assert snapshot(tmp_path / "code", checkout=checkout) == "unknown"
    copied = contents(tmp_path / "code")
    assert sorted(copied) == sorted(name for name in FILES if name.startswith(("moore", "slurm", "analysis", "abl")))
    assert (tmp_path / "code" / COMMIT_FILE).read_text() == "unknown\n"


def test_a_machine_without_git(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert snapshot(tmp_path / "code", checkout=checkout) == "unknown"


def test_a_checkout_that_git_refuses(checkout: Path, tmp_path: Path) -> None:
    """Breaks if a checkout of another owner is copied without its commit and without a word."""
    (checkout / ".git" / "HEAD").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"checkout: git ls-files fails \(fatal: "):
        snapshot(tmp_path / "code", checkout=checkout)


def test_a_place_that_cannot_be_written(checkout: Path, tmp_path: Path) -> None:
    """Breaks if a full disk, say, is a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="code: cannot be written"):
        snapshot(tmp_path / "file" / "code", checkout=checkout)
