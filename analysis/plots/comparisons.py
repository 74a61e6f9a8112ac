"""Methods beside the study's reference: paired differences, what a swept number changes (Figure 3), what each costs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.settings import frozen
from analysis.plots.aggregates import ROW
from analysis.plots.looks import COLOURS, DASHES, Drawn
from analysis.plots.style import block_grid, finish, grid, method_rows, page_width, wrap
from analysis.plots.view import View
from analysis.stats.compare import cells, costs, difference, most_seeds, pooled
from analysis.stats.intervals import Interval, t_interval
from analysis.stats.sweeps import Sweep, sweeps
from analysis.stats.transfer import summarise

# metric of a run -> label, marker, filled, place in the method's row
METRICS = {"final": ("final score", "o", True, -0.16), "auc": ("AUC", "D", False, 0.16)}
# metric of a run -> label, marker, dash, colour
SWEPT = {
    "final": ("final score", "o", DASHES["solid"], COLOURS["blue"]),
    "early_drop": ("early drop", "v", DASHES["dashed"], COLOURS["orange"]),
}
ALL = "mean over tasks"
Differences = Mapping[tuple[str, str], Interval | None]  # (method, metric) -> difference


def forest(view: View) -> tuple[Figure, str] | None:
    """Draw a panel for all tasks, then one per dataset; None where the reference did not run or stands alone."""
    study, drawn = view.study, {method: look for method, look in view.looks.items() if method != view.study.main}
    if study.main not in view.looks or not drawn:
        return None
    runs, shown = cells(study), [(method, metric) for method in drawn for metric in METRICS]
    panels: dict[str, Differences] = {
        dataset: {(method, metric): difference(runs, dataset, method, study.main, metric) for method, metric in shown}
        for dataset in study.datasets
    }
    if len(study.datasets) > 1:
        panels = {ALL: {one: pooled(study, *one) for one in shown}} | panels
    width = page_width(view, len(panels))
    named = 0.06 * max(len(look.label) for look in drawn.values())  # inches of the methods' names
    places = wrap([*panels], max(1, int((width - named) / 1.1)))
    figure, axes = grid(places, {ALL: ALL, **view.titles}, width, 0.4 + ROW * max(4, len(drawn)))
    first = {next(name for name in row if name is not None) for row in places}
    for name, axis in axes.items():
        _panel(axis, panels[name], drawn, most_seeds(study) if name in study.datasets else None)
        method_rows(axis, [look.label for look in drawn.values()], name in first)
    finish(figure, f"← worse    difference to {view.reference} (points)    better →")
    return figure, forest_caption(view)


def forest_caption(view: View) -> str:
    """Say what the forest shows."""
    return (
        f"Difference to {view.label(view.study.main)}, paired by task and seed: mean with its 95 % Student-t interval, "
        "over tasks too. Left of 0 the method is worse. AUC: mean score over steps."
    )


def sweep_plot(view: View) -> tuple[Figure, str] | None:
    """Draw final score and early drop against swept numbers, a block each, with t-intervals; None without a sweep."""
    found = {sweep.key: sweep for sweep in sweeps(view.study)}
    if not found:
        return None
    figure, blocks = block_grid(view, dict.fromkeys(found, "score points"))
    for key, sweep in found.items():
        letter = f" ({sweep.symbol})" if sweep.symbol != sweep.name else ""
        for dataset, axis in blocks[key].items():
            _sweep_panel(axis, view, sweep, dataset)
            axis.set_xlabel(f"{sweep.name}{letter}".replace("_", " "))
    finish(figure)
    return figure, sweep_caption(view)


def sweep_caption(view: View) -> str:
    """Say what a sweep shows."""
    keys = ", ".join(f"`{sweep.key}`" for sweep in sweeps(view.study))
    return (
        f"Final score and early drop (J_0 minus the mean score in the first tenth of the steps) against {keys}; all "
        "else is equal. Mean over seeds with its 95 % Student-t interval; dotted: the reference."
    )


def cost_plot(view: View) -> tuple[Figure, str] | None:
    """Draw final score beside processor time, a row per method; None where the manifest lacks the runs' times."""
    spent, shown = costs(view.study), ["final", "online seconds", "offline seconds"]
    if spent.empty or spent["online seconds"].isna().any():
        return None
    runs = spent.assign(final=summarise(view.study)["final"])
    means = runs.groupby(["method", "dataset"])[shown].mean().groupby("method").mean()
    figure, axes = grid([["score", "cost"]], {}, page_width(view, 2), 0.4 + ROW * max(4, len(means)))
    for row, (method, look) in enumerate(view.looks.items()):
        final, online, offline = means.loc[method].to_numpy(float) / (1, 60, 60)  # seconds to minutes
        axes["score"].plot([final], [row], "o", color=look.colour, markersize=4)
        axes["cost"].barh([row], [offline], color="0.75", height=0.6, label="offline stage")
        axes["cost"].barh([row], [online], left=[offline], color="0.4", height=0.6, label="online stage")
    for name, axis in axes.items():
        method_rows(axis, view.labels, name == "score")
    axes["score"].set_xlabel("final score")
    axes["cost"].set_xlabel("CPU minutes")
    finish(figure)
    return figure, (
        "Mean final score over tasks, and a run's share of its process's processor time. Methods that start from one "
        "offline stage share its cost: it was paid once."
    )


def _sweep_panel(axis: Axes, view: View, sweep: Sweep, dataset: str) -> None:
    runs, values = cells(view.study), list(sweep.values.values())
    _scale(axis, values, [sweep.text(method) for method in sweep.values])
    base = sweep.values[sweep.reference]
    axis.axvline(base, color="0.3", linewidth=0.8, linestyle=":", zorder=1, label="reference")
    axis.axhline(0, color="0.3", linewidth=0.5, zorder=1)
    for metric, (label, marker, dash, colour) in SWEPT.items():
        found = [t_interval(runs[dataset, method][metric]) for method in sweep.values]
        means = [math.nan if interval is None else interval.mean for interval in found]
        half = [0.0 if interval is None or not interval.known else interval.half_width for interval in found]
        style: dict[str, Any] = {"markersize": 3.0, "capsize": 1.5, "elinewidth": 0.8, "linestyle": dash}
        axis.errorbar(values, means, half, color=colour, marker=marker, label=label, **style)
    for method in frozen(view.study):
        noise = t_interval(runs[dataset, method]["early_drop"])
        if noise is not None and noise.known:
            label = "early drop of the frozen policy: noise"
            axis.axhspan(noise.low, noise.high, color="0.85", linewidth=0, zorder=0, label=label)
    for method, value in sweep.values.items():
        mine = runs[dataset, method]
        if stopped := len(mine) - int(mine["finished"].sum()):
            words = f"{stopped} of {len(mine)}\nstopped"
            axis.annotate(words, (value, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=5)


def _panel(axis: Axes, differences: Differences, drawn: Mapping[str, Drawn], seeds: int | None) -> None:
    """Methods from top to bottom; where there are fewer pairs than `seeds`, their number stands at the right edge."""
    axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
    for metric, (label, marker, filled, shift) in METRICS.items():
        style: dict[str, Any] = {"marker": marker, "markersize": 3, "linestyle": "", "markeredgewidth": 0.8}
        axis.plot([], [], color="0.2", markerfacecolor="0.2" if filled else "white", label=label, **style)
        for row, (method, look) in enumerate(drawn.items()):
            interval, y = differences[method, metric], row + shift
            if interval is None:
                continue
            own = style | {"color": look.colour, "markerfacecolor": look.colour if filled else "white"}
            x = [interval.low, interval.mean, interval.high]
            axis.plot(x, [y] * 3, markevery=[1], gid=method, **own | {"linestyle": "-", "linewidth": 1.0})
    low, high = axis.get_xlim()
    for row, method in enumerate(drawn):
        pairs = [0 if found is None else found.n for found in (differences[method, metric] for metric in METRICS)]
        if min(pairs) < (seeds or 1):
            words = ", ".join(f"n={n}" if n else "no pair" for n in dict.fromkeys(pairs))
            axis.annotate(words, (1.0, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=5)
            axis.set_xlim(low, high + 0.2 * (high - low))  # room for it


def _scale(axis: Axes, values: Sequence[float], labels: Sequence[str]) -> None:
    """Set a logarithmic axis with a tick at every value; linear around 0 if the sweep has it or crosses it."""
    if min(values) > 0:
        axis.set_xscale("log")
    else:
        axis.set_xscale("symlog", linthresh=min(abs(value) for value in values if value))
    axis.minorticks_off()
    axis.set_xticks(values, labels)
    if len(values) > 5 or max(map(len, labels)) > 4:
        axis.tick_params(axis="x", rotation=60)
    low, high = axis.transData.transform([(values[0], 0), (values[-1], 0)])[:, 0]
    edges = axis.transData.inverted().transform([(low - 0.06 * (high - low), 0), (high + 0.06 * (high - low), 0)])
    axis.set_xlim(*np.asarray(edges)[:, 0])
