"""What a run's manifest says of code, host and GPU, and what of that is collected."""

import json
from pathlib import Path

import pytest
import torch

import moore.base.machine
import moore.run.facts
from moore.algorithm.config import RunConfig, to_mapping
from moore.base.machine import COMMIT_FILE
from moore.base.rows import COLUMNS
from moore.run.collect import collect
from moore.run.facts import environment_facts
from moore.studies.identity import run_id
from moore.studies.study import Study


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_the_commit_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the copy in a folder of the checkout takes the checkout's commit of that moment for its own."""
    for one in (moore.run.facts, moore.base.machine):
        monkeypatch.setattr(one, "__file__", str(tmp_path / "moore" / "run" / "facts.py"))
    write(tmp_path, {"moore/run/facts.py": ""})
    assert environment_facts()["git_commit"] == "unknown"
    write(tmp_path, {COMMIT_FILE: "0123abc-dirty\n"})
    assert environment_facts()["git_commit"] == "0123abc-dirty"


ASKED = '[ "$*" = "--query-gpu=driver_version --format=csv,noheader" ]'


@pytest.mark.parametrize("script", [f"{ASKED} && echo 570.1 && echo 570.1", "echo it has failed; exit 9", None])
def test_gpu_and_driver(script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a GPU without nvidia-smi, or with one that fails, ends a run, or several GPUs have several drivers."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    driver = "570.1" if script and script.startswith(ASKED) else "unknown"
    assert environment_facts()["gpu"] == {"name": "NVIDIA H100 80GB HBM3", "driver": driver}


def test_hosts_stay_out_of_collected_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's own manifest names the host; what is collected, to be published, does not."""
    monkeypatch.setattr("platform.node", lambda: "node-17-of-a-site")
    facts = environment_facts()
    assert facts["host"] == "node-17-of-a-site"
    runs = [RunConfig("pendulum", method="sac", algorithm="sac", seed=seed) for seed in (0, 1)]
    study = Study("toy", "mini", runs, None, {})
    for run in runs:
        row = ["toy", "sac", "none:pendulum", run.seed, run_id(run), "online", 0, 0, 0.0, "eval/score", 1.0]
        manifest = {
            "run": run_id(run), "method": "sac", "config": to_mapping(run), "cpu_seconds": 1.0, "wall_seconds": 1.0,
            "peak_memory_mb": 1, "threads": 1, "device": "cpu", "finished": "2026-01-02", **facts,
        }  # fmt: skip
        write(
            tmp_path / "runs" / "toy" / "runs" / run_id(run),
            {"rows.csv": f"{','.join(COLUMNS)}\n{','.join(map(str, row))}\n", "manifest.json": json.dumps(manifest)},
        )
    folder = collect(study, tmp_path / "runs", tmp_path / "results", "make it")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "rows.parquet"]
    assert json.loads((folder / "manifest.json").read_text())["machine"] == facts["machine"]
    for path in folder.iterdir():
        assert b"node-17" not in path.read_bytes(), path.name
