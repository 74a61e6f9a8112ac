"""Processes and threads: one process for each core, or one with all threads beside a GPU."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from moore.base.machine import available_cores, threads
from moore.cli.options import number_of_workers
from moore.run.units import UnitProcess
from tests.support.core import tiny


def test_workers_by_device() -> None:
    """Breaks if several processes share a GPU unasked, or a core is left idle."""
    assert [number_of_workers(0, device) for device in ("cpu", "cuda", "cuda:1")] == [available_cores(), 1, 1]
    assert [number_of_workers(3, device) for device in ("cpu", "cuda")] == [3, 3]


def test_threads_by_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if processes on cores get more than one thread, or environments beside GPUs not the cores there are."""
    found: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, env, **more: found.append(env))
    monkeypatch.setattr("moore.base.machine.available_cores", lambda: 16)
    work: Any = UnitProcess("study", [tiny()], tmp_path, "cpu")
    work.start()
    for device, workers in (("cpu", 16), ("cuda", 1), ("cuda", 3), ("cuda", 40)):
        work.start(environment=threads(device, workers))
    assert [env["OMP_NUM_THREADS"] for env in found] == ["1", "1", "16", "5", "1"]
    assert all(env["MKL_NUM_THREADS"] == env["OMP_NUM_THREADS"] for env in found)
