"""What a machine with a GPU has to show, in one call: `python -m tests.gpu`.

Phase A: does the GPU compute what the CPU does, and how fast. Phase B: runs of a study, packed into one file that
`moore study import` reads elsewhere. Needs the packages of pyproject.toml, no network, and the checkout as PYTHONPATH.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import tyro

from moore.base.errors import UserError
from moore.base.files import write_json
from moore.cli.options import check_device, check_writable
from moore.networks.calls import COMPILE, GRAPHS
from moore.run.facts import environment_facts
from moore.run.stop import STOPPED
from tests.benchmarks import bench, slice
from tests.gpu.checks import LeftOut, all_checks
from tests.support.resume_units import write_study


def main(
    out: Path = Path("build/gpu"),
    device: str = "cuda",
    phases: tuple[Literal["A", "B"], ...] = ("A", "B"),
    study: str = "sampling",
    scale: str = "laptop-reduced",
    minutes: float = 6.0,
) -> int:
    """Print what was found and write it to `out`: checks.json, bench-cuda.*, slice-cuda.*, rows.tgz.

    Exit code 1: a check or the training failed; nothing else is left out for that. --device cpu is a dry run.

    Args:
        phases: A: correctness (about 70 s on a GPU) and speed (90 s); B: training.
        study: a file in ablations/, by name or path, that phase B trains at `scale`; a dry run has its own.
        minutes: of phase B, after which units stop at a checkpoint.
    """
    check_device(device)
    check_writable("--out", out)
    dry, failed = torch.device(device).type == "cpu", False
    if dry:
        os.environ[COMPILE] = "0"  # a minute of a core for a step that is taken a few times
    graphs = True  # phase B records its steps unless phase A has seen that go wrong
    if "A" in phases:
        found = {name: outcome(name, check) for name, check in all_checks(device)}
        facts = {name: value for name, value in environment_facts().items() if name != "host"}
        write_json(out / "checks.json", facts | {"device": device, "checks": found})
        wrong = [name for name, words in found.items() if words.startswith("FAILED")]
        failed, graphs = bool(wrong), not any(name.startswith("recorded") for name in wrong)
        if dry:
            bench.main(out, device, seconds=0.01, runs=(1,), widths=(8,), precisions=("float32",), minutes=0.02)
            slice.main(slice.TINY, out, device, minutes=0.1)
        else:
            bench.main(out, device, seconds=0.2, runs=(1, 8, 32, 64), widths=(256,), minutes=0.8)
            slice.main(replace(slice.Size(), precision="tf32"), out, device, minutes=0.8)
    if "B" in phases:
        with tempfile.TemporaryDirectory() as folder:
            if dry:
                write_study(Path(folder))
                study, scale = f"{folder}/study.yaml", f"{folder}/scale.yaml"
            command = ["study", "train", study, "--scale", scale, "--device", device, "--minutes", str(minutes)]
            where = ["--root", f"{folder}/runs" if dry else "runs", "--pack", str(out / "rows.tgz")]
            code = subprocess.run(
                [sys.executable, "-m", "moore.cli.main", *command, *where],
                env=os.environ | {GRAPHS: str(int(graphs))},
                check=False,
            ).returncode
        failed = failed or code not in (0, STOPPED)
    return int(failed)


def outcome(name: str, check: Callable[[], None]) -> str:
    """Make a check, print and return how it went; what it raises is the finding."""
    start = time.monotonic()
    try:
        check()
        words = "ok"
    except LeftOut as reason:
        words = f"left out: {reason}"
    except Exception as error:  # the others are made all the same: the machine is there for minutes
        words = f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    words += f" ({time.monotonic() - start:.1f} s)"
    print(f"{name:>36} {words}", flush=True)
    return words


if __name__ == "__main__":
    try:
        sys.exit(tyro.cli(main, prog="python -m tests.gpu"))
    except UserError as error:
        print(f"moore: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
