"""Methods beside the study's reference: paired differences, and what a swept number changes (the paper's Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.rows import Results, reject_mixed_sources
from analysis.io.settings import frozen
from analysis.plots.looks import Drawn, drawn_as
from analysis.plots.style import finish, grid, layout, styled, task_grid
from analysis.stats.compare import by_seed, difference, group, most_seeds, pooled
from analysis.stats.intervals import Interval, t_interval
from analysis.stats.sweeps import Sweep
from analysis.stats.transfer import summarise

# metric of a run -> label, marker, filled, place in the method's row
METRICS = {"final": ("final score", "o", True, -0.16), "auc": ("AUC", "D", False, 0.16)}
# metric of a run -> label, marker, line, position in seaborn's "colorblind" palette
SWEPT = {"final": ("final score", "o", "-", 0), "early_drop": ("early drop", "v", "--", 3)}
Differences = Mapping[tuple[str, str], Interval | None]  # (method, metric) -> difference


@styled
def forest(study: Results) -> tuple[Figure, str] | None:
    """Draw a panel per dataset and one for all; None where the reference did not run or has nothing beside it."""
    reject_mixed_sources(study)
    runs, looks = summarise(study), drawn_as(study)
    drawn = {method: look for method, look in looks.items() if method != study.main}
    if study.main not in study.methods or not drawn:
        return None
    cells = [(method, metric) for method in drawn for metric in METRICS]
    panels: dict[str, Differences] = {
        dataset: {(method, metric): difference(runs, dataset, method, study.main, metric) for method, metric in cells}
        for dataset in study.datasets
    }
    places = layout(study.datasets)
    if len(study.datasets) > 1:
        name = f"mean over {len(study.datasets)} tasks"
        panels[name] = {cell: pooled(study, runs, *cell) for cell in cells}
        width = len(places[0])
        places = [[*places[0], name]] if width < 4 and len(places) == 1 else [*places, [name, *[None] * (width - 1)]]
    figure, axes = grid(places, 0.5 + 0.15 * max(4, len(drawn)))
    named = {next(name for name in row if name is not None) for row in places}
    for name, axis in axes.items():
        _panel(axis, panels[name], drawn, most_seeds(runs) if name in study.datasets else None)
        axis.set_yticks(range(len(drawn)), [look.label for look in drawn.values()] if name in named else [])
    finish(figure, axes, f"difference to {looks[study.main].label} (score points)", "")
    return figure, forest_caption(study)


def forest_caption(study: Results) -> str:
    """Say what the forest shows."""
    return (
        f"Difference to `{study.main}`, paired by dataset and seed: mean with its 95 % Student-t interval; over tasks "
        "seeds vary within tasks. Left of 0 the method is worse."
    )


@styled
def sweep_plot(study: Results, sweep: Sweep) -> tuple[Figure, str]:
    """Draw final score and early drop against a swept number: means over seeds with 95 % t-intervals."""
    runs, palette = summarise(study), seaborn.color_palette("colorblind")
    figure, axes = task_grid(study)
    values = list(sweep.values.values())
    for dataset, axis in axes.items():
        _scale(axis, values, [sweep.text(method) for method in sweep.values])
        base = sweep.values[sweep.reference]
        label = f"reference, {sweep.text(sweep.reference)}"
        axis.axvline(base, color="0.3", linewidth=0.8, linestyle=":", zorder=1, label=label)
        for metric, (label, marker, line, colour) in SWEPT.items():
            found = [t_interval(by_seed(group(runs, dataset, method), metric)) for method in sweep.values]
            means = [math.nan if interval is None else interval.mean for interval in found]
            half = [0.0 if interval is None or not interval.known else interval.half_width for interval in found]
            style = {"color": palette[colour], "marker": marker, "markersize": 3.5, "capsize": 2, "elinewidth": 0.8}
            axis.errorbar(values, means, half, linestyle=line, label=label, **style)
        for method in frozen(study):
            noise = t_interval(by_seed(group(runs, dataset, method), "early_drop"))
            if noise is not None and noise.known:
                label = "early drop of the frozen policy: noise"
                axis.axhspan(noise.low, noise.high, color="0.85", linewidth=0, zorder=0, label=label)
        for method, value in sweep.values.items():
            mine = group(runs, dataset, method)
            if stopped := len(mine) - int(mine["finished"].sum()):
                words = f"{stopped} of {len(mine)}\nstopped"
                axis.annotate(words, (value, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=5)
    letter = f" ({sweep.symbol})" if sweep.symbol != sweep.name else ""
    unit = ", times the task's own" if sweep.factors else ""
    finish(figure, axes, f"{sweep.key}{letter}{unit}", "score points (0-100)")
    return figure, sweep_caption(sweep)


def sweep_caption(sweep: Sweep) -> str:
    """Say what a sweep shows."""
    return (
        f"Final score and early drop (J_0 minus the mean score of the first 10 % of the steps) against `{sweep.key}`. "
        "Mean over seeds with its 95 % Student-t interval; dotted: the reference."
    )


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
            inside = look.colour if filled else "white"
            axis.plot([interval.low, interval.high], [y, y], color=look.colour, linewidth=1.0)
            axis.plot([interval.mean], [y], color=look.colour, markerfacecolor=inside, **style)
    low, high = axis.get_xlim()
    for row, method in enumerate(drawn):
        pairs = [0 if found is None else found.n for found in (differences[method, metric] for metric in METRICS)]
        if min(pairs) < (seeds or 1):
            words = ", ".join(f"n={n}" if n else "no pair" for n in dict.fromkeys(pairs))
            axis.annotate(words, (1.0, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=5)
            axis.set_xlim(low, high + 0.2 * (high - low))  # room for it
    axis.set_ylim(len(drawn) - 0.5, -0.5)


def _scale(axis: Axes, values: list[float], labels: list[str]) -> None:
    """A logarithmic axis with a tick at every value; linear around 0 if the sweep has it or crosses it."""
    positive = [abs(value) for value in values if value != 0]
    if min(values) > 0:
        axis.set_xscale("log")
    else:
        axis.set_xscale("symlog", linthresh=min(positive))
    axis.minorticks_off()
    axis.set_xticks(values, labels)
    if len(values) > 6 or max(map(len, labels)) > 4:
        axis.tick_params(axis="x", rotation=60)
    low, high = axis.transData.transform([(values[0], 0), (values[-1], 0)])[:, 0]
    edges = axis.transData.inverted().transform([(low - 0.06 * (high - low), 0), (high + 0.06 * (high - low), 0)])
    axis.set_xlim(*np.asarray(edges)[:, 0])
