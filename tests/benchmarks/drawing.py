"""The report's figure: how much dearer or cheaper a run gets when more of them share a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from analysis.figures import finish, grid
from analysis.methods import looks
from tests.benchmarks.cases import LEARNING

CAPTION = (
    "Cost of one run-update, one transition, one environment step or one checkpoint relative to a process with the "
    "fewest runs, against the number of runs R in the process; float32. At 1, R runs cost R times as much as one."
)
Row = dict[str, Any]
POWERS = [2.0**power for power in range(-10, 5)]  # ticks of an axis
STEPS = [k / 10 for k in range(2, 41)]  # of one that spans less


def panel(row: Row) -> str:
    """Where a row is drawn."""
    if row["group"] in ("SAC updates", "other methods"):
        return f"updates, width {row['width']}"
    return "model" if row["group"] in LEARNING else "environments and files"


def label(row: Row, rows: Sequence[Row]) -> str:
    """The name of a row's line; a stage only where the method is there with both."""
    if row["group"] in ("SAC updates", "other methods"):
        online = row["stage"] == "online" or not any(r["stage"] == "online" for r in rows if r["what"] == row["what"])
        return str(row["what"]) if online else f"{row['what']} offline"
    if row["group"] in LEARNING:
        return f"{row['group']}, width {row['width']}"
    return {"environment steps": "steps: "}.get(row["group"], f"{row['group']}: ") + str(row["what"])


def cost_against_runs(rows: Sequence[Row]) -> Figure:
    """A panel for each kind of work; both axes are logarithmic."""
    rows = [row for row in rows if row["precision"] == "float32" and row["rows"] is None]
    names = list(dict.fromkeys(panel(row) for row in rows))
    figure, axes = grid([[*names]], height=2.2)
    look = looks(label(row, rows) for row in rows)
    for name in names:
        here = [row for row in rows if panel(row) == name]
        lines = list(dict.fromkeys(label(row, rows) for row in here))
        axis = axes[name]
        for line in lines:
            points = sorted((row["runs"], row["rate"]) for row in here if label(row, rows) == line)
            runs, costs = [count for count, _ in points], [points[0][1] / rate for _, rate in points]
            colour, style = look[line]
            axis.plot(runs, costs, style, color=colour, label=line)
        axis.axhline(1.0, color="0.3", linewidth=0.6)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        ticks = sorted({row["runs"] for row in here})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        low, high = axis.get_ylim()
        shown = [tick for tick in (POWERS if high / low > 4 else STEPS) if low <= tick <= high]
        axis.set_yticks(shown, [f"{tick:g}" for tick in shown])
        axis.minorticks_off()
    finish(figure, axes, "R, runs in one process", "cost for each run, relative")
    return figure
