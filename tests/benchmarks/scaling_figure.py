"""What a run costs against R, N_off, rollout batch and ensemble width: tables and figure from the rows of a benchmark.

The rows lie in tests/benchmarks/results/scaling.json (scaling-cuda.json of a GPU), which `make bench-scaling` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moore.base.errors import UserError
from moore.base.machine import short

if TYPE_CHECKING:  # rebuilding a README table needs no plotting library
    from matplotlib.figure import Figure

RESULTS = "tests/benchmarks/results"  # relative to the repository root
PARTS = ("policy updates", "ensemble training", "rollouts", "the rest", "weights by model_error")
PANELS = {  # what is varied -> its name on an axis
    "runs": "R, runs in one process",
    "transitions": "N_off, offline transitions",
    "branches": "start states of a rollout",
    "width": "units of the ensemble's layers",
}
Row = Mapping[str, Any]


def points(rows: Sequence[Row], panel: str) -> list[Row]:
    """The rows of a panel, in order of what is varied."""
    return sorted((row for row in rows if row["panel"] == panel), key=lambda row: row[panel])


def total(row: Row) -> float:
    """Seconds of one run for one environment step and all that belongs to it, without the weights of single rows."""
    return sum(row["seconds"][part] for part in PARTS[:4])


MEMORY = {"memory_run": "memory of a run", "shared": "shared"}  # bytes that older reports estimated, too


def _held(rows: Sequence[Row]) -> list[str]:
    """Keys of MEMORY that all rows have."""
    return [key for key in MEMORY if all(key in row for row in rows)]


def cost_table(rows: Sequence[Row], panel: str) -> list[str]:
    """Lines of a Markdown table: milliseconds of one run for one environment step, by part, and MiB a run."""
    here = points(rows, panel)
    parts = [part for part in PARTS if any(part in row["seconds"] for row in here)]
    head = [PANELS[panel], *(f"{part} (ms)" for part in parts), "all (ms)"]
    head += [f"{MEMORY[key]} (MiB)" for key in _held(rows)]
    lines = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    for row in here:
        cells = [f"{row[panel]:,}"]
        cells += [_milliseconds(row["seconds"][part]) if part in row["seconds"] else "" for part in parts]
        cells += [_milliseconds(total(row)), *(f"{row[key] / 2**20:,.0f}" for key in _held(rows))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def growth_table(rows: Sequence[Row]) -> list[str]:
    """The same from the least to the most of what a panel varies, a line for each panel."""
    head = ["what grows", "", *PARTS[:4], "all", *(MEMORY[key] for key in _held(rows))]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * 2}{' ---: |' * (len(head) - 2)}"]
    for panel, title in PANELS.items():
        low, high = points(rows, panel)[0], points(rows, panel)[-1]
        costs = [[row["seconds"][part] for part in PARTS[:4]] + [total(row)] for row in (low, high)]
        sizes = [[row[key] / 2**20 for key in _held(rows)] for row in (low, high)]
        cells = [title, f"{low[panel]:,} → {high[panel]:,}"]
        cells += [f"{_milliseconds(a)} → {_milliseconds(b)} ms" for a, b in zip(*costs, strict=True)]
        cells += [f"{a:,.0f} → {b:,.0f} MiB" for a, b in zip(*sizes, strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _milliseconds(seconds: float) -> str:
    """Three digits, or all of them before the point."""
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def study_line(study: Mapping[str, Any]) -> str:
    """How long a whole study takes on several devices like this one."""
    from moore.base.words import duration

    spans = ", ".join(f"{duration(3600 * hours)} on {devices}" for devices, hours in study["hours"].items())
    return (
        f"The study `{study['name']}`, {study['runs']:,} runs in {study['cohorts']} cohorts: {spans} such processes, "
        "estimated in the same way (arithmetic in the report)."
    )


def figure(rows: Sequence[Row]) -> Figure:
    """Four panels, one for each number that is varied; both axes are logarithmic."""
    from analysis.plots.style import finish, grid
    from analysis.plots.looks import looks

    titles = list(PANELS.values())
    drawn, axes = grid([[*titles[:2]], [*titles[2:]]], height=2.0)
    parts = [part for part in (*PARTS, "all") if part == "all" or any(part in row["seconds"] for row in rows)]
    look = looks(parts, "all")
    for panel, title in PANELS.items():
        axis, here = axes[title], points(rows, panel)
        for part in parts:
            mine = [row for row in here if part == "all" or part in row["seconds"]]
            costs = [1e3 * (total(row) if part == "all" else row["seconds"][part]) for row in mine]
            colour, line, _ = look[part]
            if mine:
                width = 2 if part == "all" else 1.2
                x = [row[panel] for row in mine]
                axis.plot(x, costs, line, color=colour, marker="o", markersize=2.5, linewidth=width, label=part)
        axis.set_xscale("log", base=2 if panel == "runs" else 10)
        axis.set_yscale("log")
        if panel in ("runs", "width"):
            axis.set_xticks([row[panel] for row in here], [f"{row[panel]:,}" for row in here])
        axis.minorticks_off()
    finish(drawn, axes, "", "ms of one run for one environment step", ["all", *PARTS])
    return drawn


def caption(facts: Mapping[str, Any]) -> str:
    """What the figure shows, with the device and the settings that stay."""
    base = facts["base"]
    return (
        "Cost of one run for one environment step of MOORe's online stage with everything that belongs to it, on "
        f"{facts['device_name']}: halfcheetah at the scale `paper` ({facts['utd_ratio']} policy updates a step; "
        f"{facts['retrain_updates']:,} ensemble updates and a rollout of {facts['length']} steps every "
        f"{facts['retrain_interval']} steps). What a panel does not vary: R {base['runs']}, N_off "
        f"{base['transitions']:,}, {base['branches']:,} start states, width {base['width']}. Single calls were timed "
        "and multiplied by how often they happen; of a rollout one step, with at most "
        f"{facts['most_branches']:,} start states over all runs. Weights of rows are timed at two sizes and "
        f"extrapolated, memory is estimated from shapes. Load {facts['load_before']:.1f} before, precision "
        f"{facts['precision']}, threads {facts['threads']}, {facts['date']}, commit {short(facts['git_commit'])}."
    )


def block(name: str, root: Path) -> str:
    """README's block of the benchmark `name`, "scaling" or "scaling-cuda": figure, caption, growth, a whole study.

    Raises UserError where the benchmark has not been run.
    """
    path = root / RESULTS / f"{name}.json"
    if not path.is_file():
        raise UserError(f"{path}: no such benchmark; run `make bench-scaling`, with DEVICE=cuda for a GPU")
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [f"![Cost against size]({RESULTS}/{name}.png)", "", caption(found["facts"]), ""]
    lines += [*growth_table(found["rows"]), "", study_line(found["facts"]["study"])]
    return "\n".join(lines) + "\n"
