"""Snapshots of the code, and what a run's manifest says of code, host and GPU."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import moore.base.machine
import moore.run.facts
from moore.algorithm.config import RunConfig, to_mapping
from moore.base.errors import UserError
from moore.base.machine import COMMIT_FILE
from moore.run.collect import collect
from moore.run.facts import environment_facts
from moore.run.recorder import COLUMNS
from moore.studies.identity import run_id
from moore.studies.study import Study
from slurm import snapshot as module
from slurm.snapshot import CodeState, snapshot

CHECKOUT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but git's and the snapshot's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != COMMIT_FILE}


FILES: dict[str, str | bytes] = {
    "README.md": "words\n",
    ".gitignore": "__pycache__/\n/runs/\n",
    "moore/__init__.py": "",
    "moore/data/set.bin": bytes(range(256)),
    "moore/data/name with space é.py": "x = 1\n",
    "slurm/__init__.py": "",
    "analysis/__init__.py": "",
    "ablations/study.yaml": "study: a\n",
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
    write(checkout, {"runs/big.bin": "x", "moore/__pycache__/a.py": "x", "notes.txt": "untracked", "tools/a.py": "x"})
    target = tmp_path / "submission" / "code"
    state = snapshot(target, checkout)
    head = git(checkout, "rev-parse", "HEAD")
    assert state == CodeState(head, False)
    assert (target / COMMIT_FILE).read_text() == f"{head}\n"
    assert contents(target) == {
        name: content if isinstance(content, bytes) else content.encode()
        for name, content in {**FILES, "run.sh": "true\n", "link": "words\n"}.items()
    }
    assert (target / "link").is_symlink()
    assert (target / "run.sh").stat().st_mode & stat.S_IXUSR
    assert os.listdir(tmp_path / "submission") == ["code"], "a patch of no changes"
    assert not (target / ".git").exists()


CHANGES: dict[str, dict[str, str | bytes | None]] = {
    "an edit": {"moore/__init__.py": "changed = True\n"},
    "an edit outside of the packages": {"README.md": "other words\n"},
    "no newline at the end": {"moore/__init__.py": "changed"},
    "binary": {"moore/data/set.bin": bytes(range(255, -1, -1))},
    "deleted": {"analysis/__init__.py": None, "README.md": None, "link": None},
    "new": {"moore/new.py": "a = 1\n", "slurm/deep/er/new one.py": "b = 1\n", "analysis/empty.py": ""},
    "all at once": {
        "moore/new.py": "a = 1\n",
        "slurm/__init__.py": None,
        "moore/data/set.bin": b"\0\1",
        "README.md": "",
    },
}


@pytest.mark.parametrize("staged", [False, True], ids=["", "staged"])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_the_commit_and_the_patch_are_the_copy(
    changes: dict[str, str | bytes | None], staged: bool, checkout: Path, tmp_path: Path
) -> None:
    """Breaks if the record of a dirty tree cannot give the code back that was run."""
    write(checkout, {name: content for name, content in changes.items() if content is not None})
    for name in (name for name, content in changes.items() if content is None):
        (checkout / name).unlink()
    if staged:
        git(checkout, "add", "--all", "moore", "slurm", "analysis")
    git(checkout, "config", "diff.noprefix", "true")  # a setting of the user's that would break the patch
    git(checkout, "config", "color.ui", "always")
    index = (checkout / ".git" / "index").read_bytes()
    target = tmp_path / "submission" / "code"
    state = snapshot(target, checkout)

    head = git(checkout, "rev-parse", "HEAD")
    assert state == CodeState(head, True)
    assert (target / COMMIT_FILE).read_text() == f"{head}-dirty\n"
    assert contents(target) == contents(checkout)
    assert (checkout / ".git" / "index").read_bytes() == index, "the user's index was touched"
    again = tmp_path / "again"
    git(tmp_path, "clone", "-q", str(checkout), str(again))
    git(again, "apply", str(target.parent / "diff.patch"))
    assert contents(again) == contents(target)


def test_an_edit_in_the_moment_of_git_add(checkout: Path, tmp_path: Path) -> None:
    """Breaks if an edit that leaves a file's size and time as they are in the index is taken for none."""
    path, index = checkout / "moore" / "data" / "set.bin", checkout / ".git" / "index"
    moment = path.stat().st_mtime_ns - 10**9
    os.utime(path, ns=(moment, moment))
    git(checkout, "add", str(path))
    path.write_bytes(bytes(256))
    os.utime(path, ns=(moment, moment))
    os.utime(index, ns=(moment, moment))
    git(checkout, "config", "core.trustctime", "false")  # the one time that nobody can set
    assert snapshot(tmp_path / "submission" / "code", checkout).dirty


def test_the_copy_is_the_code_that_was_submitted(checkout: Path, tmp_path: Path) -> None:
    """Breaks if a later edit reaches it, as it would through hard links."""
    snapshot(tmp_path / "code", checkout)
    with (checkout / "moore" / "__init__.py").open("a") as file:
        file.write("edited = True\n")
    assert (tmp_path / "code" / "moore" / "__init__.py").read_text() == ""


def test_this_checkout_runs_from_its_copy(tmp_path: Path) -> None:
    """Breaks if a worker imports the code of the checkout, or its manifests do not name the commit submitted.

    Copied is a commit of this checkout's files: others may be at work on them.
    """
    clone = tmp_path / "clone"
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "moore", "slurm", "ablations"],
        cwd=CHECKOUT, check=False, capture_output=True,
    ).stdout.split(b"\0")  # fmt: skip
    if not any(names):
        pytest.skip("this is no git checkout")
    for name in map(os.fsdecode, filter(None, names)):
        if (CHECKOUT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, clone / name)
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "a")
    (clone / "moore" / "extra.py").write_text("FOUND = 1\n")
    code = tmp_path / "submission" / "code"
    state = snapshot(code, clone)
    shutil.rmtree(clone)
    program = (
        "import json, moore.extra, moore.run.facts, moore.studies.study, slurm.snapshot\n"
        "facts = moore.run.facts.environment_facts()\n"
        "studies = sorted(path.stem for path in moore.studies.study.ABLATIONS_DIR.glob('*.yaml'))\n"
        "print(json.dumps([moore.run.facts.__file__, slurm.snapshot.__file__, facts['git_commit'], studies]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(code)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    results, slurm, commit, studies = json.loads(done.stdout)
    assert {Path(results).parents[1], Path(slurm).parents[1]} == {code}
    assert commit == f"{state.commit}-dirty"
    assert "sampling" in studies


# where there is no commit to be had


def test_code_that_is_no_checkout(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".git")
    write(checkout, {"moore/__pycache__/a.pyc": "x", "runs/big.bin": "x"})
    assert snapshot(tmp_path / "code", checkout) == CodeState("unknown", False)
    copied = contents(tmp_path / "code")
    assert sorted(copied) == sorted(name for name in FILES if name.startswith(("moore", "slurm", "analysis", "abl")))
    assert (tmp_path / "code" / COMMIT_FILE).read_text() == "unknown\n"


def test_code_that_lies_in_another_projects_checkout(checkout: Path, tmp_path: Path) -> None:
    """Breaks if a package that is installed inside some repository takes that repository's commit for its own."""
    shutil.rmtree(checkout / ".git")
    git(tmp_path, "init", "-q")
    write(tmp_path, {"theirs.txt": "x"})
    git(tmp_path, "add", "theirs.txt")
    git(tmp_path, "commit", "-q", "-m", "theirs")
    assert snapshot(tmp_path / "code", checkout) == CodeState("unknown", False)


def test_a_checkout_inside_another_repository(checkout: Path, tmp_path: Path) -> None:
    """A project that carries the suite in a subfolder: its commit counts, its other files do not."""
    shutil.rmtree(checkout / ".git")
    write(tmp_path, {"theirs.txt": "x"})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    write(tmp_path, {"theirs.txt": "changed"})
    assert snapshot(tmp_path / "s" / "code", checkout) == CodeState(git(tmp_path, "rev-parse", "HEAD"), False)
    assert contents(tmp_path / "s" / "code") == contents(checkout)
    write(checkout, {"moore/__init__.py": "changed = True\n"})
    assert snapshot(tmp_path / "t" / "code", checkout).dirty
    git(checkout, "checkout", "-q", "moore")
    git(checkout, "apply", str(tmp_path / "t" / "diff.patch"))
    assert contents(tmp_path / "t" / "code") == contents(checkout)


def test_a_machine_without_git(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert snapshot(tmp_path / "code", checkout) == CodeState("unknown", False)


def test_a_checkout_that_git_refuses(checkout: Path, tmp_path: Path) -> None:
    """Breaks if a checkout of another owner is copied without its commit and without a word."""
    (checkout / ".git" / "HEAD").write_text("nonsense\n")
    with pytest.raises(
        UserError, match=r"checkout: git ls-files fails \(fatal: .*\); accepted: a checkout with a commit"
    ):
        snapshot(tmp_path / "code", checkout)
    assert not (tmp_path / "code").exists()


def test_a_folder_that_is_there_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    write(tmp_path, {"code/mine.txt": "mine"})
    with pytest.raises(UserError, match="code: is there already; accepted: a new folder"):
        snapshot(tmp_path / "code", checkout)
    assert contents(tmp_path / "code") == {"mine.txt": b"mine"}


def test_no_half_copy_is_left(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a full disk leaves a folder that looks like a snapshot, or a traceback."""
    copied: list[str] = []

    def full(source: str, target: str, **more: Any) -> None:
        if len(copied) == 3:
            raise OSError(28, "No space left on device", str(target))
        copied.append(str(shutil.copyfile(source, target)))

    monkeypatch.setattr(module.shutil, "copy2", full)
    with pytest.raises(
        UserError, match=r"code: the code cannot be copied .*No space left on device.*a place with room"
    ):
        snapshot(tmp_path / "code", checkout)
    assert len(copied) == 3
    assert not (tmp_path / "code").exists()


# what manifests say


def test_the_commit_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the copy in a folder of the checkout takes the checkout's commit of that moment for its own."""
    for one in (moore.run.facts, moore.base.machine):
        monkeypatch.setattr(one, "__file__", str(tmp_path / "moore" / "run" / "facts.py"))
    write(tmp_path, {"moore/run/facts.py": ""})
    assert environment_facts()["git_commit"] == "unknown"
    write(tmp_path, {COMMIT_FILE: "0123abc-dirty\n"})
    assert environment_facts()["git_commit"] == "0123abc-dirty"


def facts_with_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> dict[str, Any]:
    """The facts on a machine with such a GPU and such an nvidia-smi (None: there is none)."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    folder = tmp_path / "bin"
    folder.mkdir()
    if script is not None:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return environment_facts()


@pytest.mark.parametrize(
    ("script", "driver"),
    [
        ('[ "$*" = "--query-gpu=driver_version --format=csv,noheader" ] && echo 570.1 && echo 570.1', "570.1"),
        ("echo NVIDIA-SMI has failed; exit 9", "unknown"),
        (None, "unknown"),
    ],
)
def test_gpu_and_driver(script: str | None, driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_with_gpu(tmp_path, monkeypatch, script)
    assert facts["gpu"] == {"name": "NVIDIA H100 80GB HBM3", "driver": driver}


def test_without_a_gpu_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "gpu" not in environment_facts()


def test_hosts_stay_out_of_collected_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's own manifest names the host; what is collected, to be published, does not."""
    monkeypatch.setattr("platform.node", lambda: "node-17-of-a-site")
    facts = environment_facts()
    assert facts["host"] == "node-17-of-a-site"
    runs = [RunConfig("pendulum", method="sac", real_ratio=1.0, seed=seed) for seed in (0, 1)]
    study = Study("toy", "mini", runs, None, {})
    for run in runs:
        row = ["toy", "sac", "none:pendulum", run.seed, run_id(run), "online", 0, 0, 0.0, "eval/score", 1.0]
        manifest = {
            "run": run_id(run), "method": "sac", "config": to_mapping(run), "cpu_seconds": 1.0, "wall_seconds": 1.0,
            "peak_memory_mb": 1, "threads": 1, "device": "cpu", "finished": "2026-01-02", **facts,
        }  # fmt: skip
        write(
            tmp_path / "runs" / "toy" / "runs" / run_id(run),
            {
                "rows.csv": f"{','.join(COLUMNS)}\n{','.join(map(str, row))}\n",
                "manifest.json": json.dumps(manifest),
            },
        )
    folder = collect(study, tmp_path / "runs", tmp_path / "results", "make it")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "rows.parquet"]
    assert json.loads((folder / "manifest.json").read_text())["machine"] == facts["machine"]
    for path in folder.iterdir():
        assert b"node-17" not in path.read_bytes(), path.name
