"""Seconds and bytes of a checkpoint at the end of MOORe's online stage, where it is largest, and of a resume.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.checkpoint --out tests/benchmarks/results

A cohort's tables are filled with random numbers. "all" is the first checkpoint after D_model was filled, "next" one
that comes a rollout later, as most do: rows of D_model that lie in a file already are not written again. "share" is the
part of the time that goes into checkpoints: the next one waits for 30 s, or longer where writing takes more than 0.9 s.
Wall and processor time are both given: other jobs on the machine distort the former.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.moore import OnlineStage
from moore.base.machine import short
from moore.data.transitions import Transitions
from moore.envs.spec import find_spec
from moore.run.checkpoints import Checkpoints
from moore.run.stop import MOST_SHARE, SafePoints, StopRequest
from moore.run.unit import CHECKPOINT_SECONDS
from moore.studies.study import ABLATIONS_DIR, load_study
from tests.benchmarks.data import once
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.speed import Timing, measure

ROWS = 10_000  # of the dataset, which is no part of a checkpoint
NEXT = 4  # later checkpoints; the best of them is the least disturbed


def scale_run(scale: str) -> RunConfig:
    """The scale's first MOORe run."""
    study = load_study(ABLATIONS_DIR / "sampling.yaml", ABLATIONS_DIR / "scales" / f"{scale}.yaml")
    return replace(study.runs[0], dataset="some")


def filled_stage(config: RunConfig, runs: int, device: str = "cpu") -> OnlineStage:
    """The online stage of so many runs with every table full."""
    spec, rng = find_spec(config.env), np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, ROWS, spec.obs_dim)).astype(np.float32)
    action = rng.uniform(-1, 1, (ROWS, spec.action_dim)).astype(np.float32)
    reward = rng.normal(size=ROWS).astype(np.float32)
    data = {"some": Transitions(obs, action, reward, next_obs, np.zeros(ROWS, bool))}
    stage = OnlineStage(Cohort([replace(config, seed=seed) for seed in range(runs)], data, "online", device))
    buffer = stage.cohort.real_buffer
    buffer.rows[ROWS:].normal_()
    buffer.online_size = buffer.online_capacity
    stage.cohort.model_buffer.rows.normal_()
    stage.cohort.model_buffer.written.fill_(stage.cohort.model_buffer.capacity)
    return stage


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def newest(folder: Path) -> int:
    """When a file below a folder was last changed, in ns."""
    return max(path.stat().st_mtime_ns for path in folder.rglob("*.*"))


def measurements(scale: str, runs: int) -> Iterator[dict[str, Any]]:
    """Checkpoint with all of D_model, the next one, and going on from it."""
    config = scale_run(scale)
    stage = filled_stage(config, runs)
    model_buffer = stage.cohort.model_buffer
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints = Checkpoints(folder / "unit.pt", "cpu", print)
        facts = {"scale": scale, "env": config.env, "runs": runs}
        timings = [once(lambda: checkpoints.save(stage.state()))]
        written = [folder_bytes(folder)]
        for _ in range(NEXT):
            model_buffer.written += stage.cohort.rollout_length * config.rollout.batch_size
            before = newest(folder)
            timings.append(once(lambda: checkpoints.save(stage.state())))
            written.append(sum(path.stat().st_size for path in folder.rglob("*.*") if path.stat().st_mtime_ns > before))
        best = min(range(1, NEXT + 1), key=lambda index: timings[index].wall)
        for what, timing, size in (("all", timings[0], written[0]), ("next", timings[best], written[best])):
            share = timing.wall / (timing.wall + max(CHECKPOINT_SECONDS, timing.wall / MOST_SHARE))
            yield facts | {"what": what, **seconds(timing), "mb": size / 1e6, "share": share}
        yield facts | {"what": "resume", **seconds(once(lambda: stage.load(loaded(checkpoints))))}


def loaded(checkpoints: Checkpoints) -> dict[str, Any]:
    """The state of the newest checkpoint."""
    state = checkpoints.load(lambda state: None)
    assert state is not None
    return state


def seconds(timing: Timing) -> dict[str, float]:
    """Its columns."""
    return {"wall": timing.wall, "cpu": timing.cpu}


def idle_safe_point() -> dict[str, Any]:
    """A safe point at which nothing is due: every update and environment step calls one."""
    safe_point = SafePoints(lambda: None, StopRequest(), 3600.0, parent=os.getppid())

    def thousand() -> None:
        for _ in range(1000):
            safe_point()

    timing = measure(thousand, 0.3)
    return {"what": "safe point, x 1000", **seconds(timing)}


def line(row: dict[str, Any]) -> list[str]:
    """The cells of a measurement."""
    cells = [str(row.get(key, "")) for key in ("scale", "env", "runs", "what")]
    times = [f"{row[key]:.3g}" for key in ("wall", "cpu")]
    rest = [f"{row['mb']:.0f}", f"{100 * row['share']:.1f} %"] if "mb" in row else ["", ""]
    return [*cells, *times, *rest]


def markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The report as a table."""
    columns = ["scale", "env", "runs", "what", "wall s", "CPU s", "MB written", "share"]
    lines = [
        f"# Checkpoints on {facts['machine']}",
        "",
        f"{facts['date']}, load {facts['load_before']:.1f} before and {facts['load_after']:.1f} after, torch "
        f"{facts['packages']['torch']}, Python {facts['python']}, commit {short(facts['git_commit'])}. At the end of "
        "the online stage, where a state is largest. all: with every row of D_model; next: one rollout later (best of "
        f"{NEXT}). share: of the time that goes into checkpoints.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(line(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main(
    out: Path | None = None, scales: tuple[str, ...] = ("mini", "laptop"), runs: tuple[int, ...] = (1, 5, 32)
) -> None:
    """Print the report; with --out, write checkpoint.md and checkpoint.json there.

    scales: files in ablations/scales; runs: cohort sizes.
    """
    load = os.getloadavg()[0]
    found = [idle_safe_point()]
    print(*line(found[0]))
    for scale in scales:
        for count in runs:
            for row in measurements(scale, count):
                print(" ".join(f"{cell:>9}" for cell in line(row)), flush=True)
                found.append(row)
    facts = report_facts(load)
    write_report(out, "checkpoint", facts, found, markdown(facts, found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
