"""The call for a machine with a GPU, on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

from moore.run.packed import unpack
from tests.gpu import checks


def test_a_dry_run_checks_measures_and_trains(tmp_path: Path) -> None:
    """Breaks if a check fails on a CPU, a part cannot be called any more, or no rows come back."""
    command = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "checks.json").read_text())["checks"]
    assert found.keys() == {name for name, _ in checks.all_checks("cpu")}
    assert all((tmp_path / name).is_file() for name in ("bench.md", "slice.md"))
    assert unpack(tmp_path / "rows.tgz", tmp_path / "runs") == {"s-tiny": (4, 0)}
