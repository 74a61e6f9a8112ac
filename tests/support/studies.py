"""Synthetic studies of a few rows: 1000 online steps, evaluations at GRID."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.io.rows import Results, validate
from analysis.output.render import to_markdown
from analysis.output.tables import Table
from moore.base.rows import COLUMNS

LOW, MEDIUM = "self:pendulum-low", "self:pendulum-medium"
LEVELS = [50.0, 51.0, 49.0, 50.5, 49.5]  # finals of five seeds that no claim tells apart
GRID = (0, 25, 50, 75, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
ORDER = list(COLUMNS)
Row = dict[str, Any]


def row(method: str, dataset: str, seed: int, phase: str, step: int, metric: str, value: float) -> Row:
    """One row; `step` counts environment steps online and gradient updates offline."""
    steps, updates = (step, 2 * step) if phase == "online" else (0, step)
    owner = ("toy", method, dataset, seed, f"{method}/{dataset}/{seed}")
    return dict(zip(ORDER, (*owner, phase, steps, updates, 0.5, metric, value), strict=True))


def run_rows(
    method: str, dataset: str, seed: int, scores: Sequence[float], diverged_at: int | None = None
) -> list[Row]:
    """Online evaluations of one run at the first len(scores) steps of GRID."""
    rows = [row(method, dataset, seed, "online", x, "eval/score", y) for x, y in zip(GRID, scores, strict=False)]
    if diverged_at is not None:
        rows.append(row(method, dataset, seed, "online", diverged_at, "diverged", 1.0))
    return rows


def flat(method: str, dataset: str, levels: Sequence[float], j0: float = 50.0) -> list[Row]:
    """One run per level: J_0 = j0, then constant."""
    return [r for seed, y in enumerate(levels) for r in run_rows(method, dataset, seed, [j0] + [y] * 13)]


def full_study(seeds: int = 5) -> list[Row]:
    """Two datasets, four strategies, both references, an offline stage, penalties and shares; noise of 2 points."""
    rng, rows = np.random.default_rng(0), []
    x = np.array(GRID) / 1000
    shapes = {
        "prioritized": 60 + 30 * x,
        "uniform": 60 + 8 * x,
        "half_half": 60 + 30 * x - 40 * ((x > 0) & (x <= 0.1)),
        "pure_online": 60 + 20 * x - 60 * ((x > 0) & (x <= 0.1)),
    }
    for seed in range(seeds):
        for dataset in (LOW, MEDIUM):
            for u in range(0, 3001, 500):
                rows.append(row("mopo", dataset, seed, "offline", u, "eval/score", u / 50 + rng.normal()))
            for method, shape in shapes.items():
                rows += run_rows(method, dataset, seed, list(shape + rng.normal(0, 2, len(GRID))))
                for t in range(1, 11):
                    u = 2 * np.exp(-t / 10) + rng.normal(0, 0.02)
                    named = {"penalty/mean": u, "penalty/q20": 0.5 * u, "penalty/q80": 1.5 * u}
                    for name, value in (named | {"sampling/model_batches_online_share": t / 10}).items():
                        rows.append(row(method, dataset, seed, "online", 100 * t, name, value))
        for method, top in (("sac", 95), ("mbpo", 40)):
            scores = top * (1 - np.exp(-5 * x)) + rng.normal(0, 2, len(GRID))
            rows += run_rows(method, "none:pendulum", seed, list(scores))
    return rows


def manifest(name: str = "toy", **changes: Any) -> dict[str, Any]:
    config = {"eval_episodes": 10, "sampling": {"decay_rate": 1.0}, "online": {"epoch_steps": 100, "epochs": 10}}
    datasets = {d: {"transitions": 4000} for d in (LOW, MEDIUM)}
    known = {"study": name, "scale": "mini", "date": "2026-01-02", "command": "make it_all"}
    known |= {"git_commit": "0123456789ab"}
    numbers = {"cpu_seconds": 1800.0, "wall_seconds": 900.0, "online_steps": 1000}
    return {**known, **numbers, "config": config, "datasets": datasets, **changes}


def make_study(rows: list[Row], **changes: Any) -> Results:
    """A study whose online runs start from MOPO's stage of their dataset and seed, where there is one."""
    stages = {r["run"] for r in rows if r["phase"] == "offline"}
    runs = {r["run"]: f"mopo/{r['dataset']}/{r['seed']}" for r in rows if r["phase"] == "online"}
    starts = {run: stage for run, stage in runs.items() if stage in stages}
    made = manifest(**{"offline_runs": starts} | changes)
    return Results("toy", validate(pd.DataFrame(rows, columns=ORDER), "toy"), made)


def write_study(folder: Path, rows: list[Row], **changes: Any) -> Path:
    """A results folder as a finished study leaves it."""
    folder.mkdir(parents=True)
    pd.DataFrame(rows, columns=ORDER).to_parquet(folder / "rows.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest(folder.name, **changes)), encoding="utf-8")
    return folder


def named(rows: list[Row], name: str, reference: str = "") -> Results:
    """A study of another name, with the reference that its manifest gives."""
    changes = {"reference": reference} if reference else {}
    return dataclasses.replace(make_study(rows, **changes), name=name)


def markdown(table: Table, *heads: str) -> dict[str, str]:
    """The Markdown cells of one row, by column."""
    (line,) = [line for line in to_markdown(table).splitlines() if line.startswith(f"| {' | '.join(heads)} |")]
    return dict(zip(table.columns, line.strip("| ").split(" | ")[len(heads) :], strict=True))


def column(table: Table, claim: str, index: int) -> list[str]:
    """The parts of one cell in the row of a claim, by the start of its sentence."""
    (cells,) = [cells for heads, cells in table.rows if heads[0].startswith(claim)]
    return [str(part) for _, part in cells[index].parts]
