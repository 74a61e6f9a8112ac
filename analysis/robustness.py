"""How much a swept number matters: final score and worst drop against its value (the paper's Figure 3 in numbers)."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import figure_captions
from analysis.figures import STYLE, finish, task_grid
from analysis.rows import Study
from analysis.stats import t_interval
from analysis.sweeps import Sweep
from analysis.tables import by_seed, group
from analysis.transfer import summarise

# metric of a run -> label, marker, line, position in seaborn's "colorblind" palette
DRAWN = {"final": ("final score", "o", "-", 0), "worst_drop": ("worst drop", "v", "--", 3)}


def robustness(study: Study, sweep: Sweep) -> tuple[Figure, str]:
    """A panel per dataset; a point is a mean over seeds with its 95 % t-interval."""
    runs, palette = summarise(study), seaborn.color_palette("colorblind")
    figure, axes = task_grid(study)
    values = list(sweep.values.values())
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            _scale(axis, values, [sweep.text(method) for method in sweep.values])
            base = sweep.values[sweep.reference]
            label = f"reference, {sweep.text(sweep.reference)}"
            axis.axvline(base, color="0.3", linewidth=0.8, linestyle=":", zorder=1, label=label)
            for metric, (label, marker, line, colour) in DRAWN.items():
                found = [t_interval(by_seed(group(runs, dataset, method), metric)) for method in sweep.values]
                means = [math.nan if interval is None else interval.mean for interval in found]
                half = [0.0 if interval is None or not interval.known else interval.half_width for interval in found]
                style = {"color": palette[colour], "marker": marker, "markersize": 3.5, "capsize": 2, "elinewidth": 0.8}
                axis.errorbar(values, means, half, linestyle=line, label=label, **style)
            for method, value in sweep.values.items():
                mine = group(runs, dataset, method)
                if stopped := len(mine) - int(mine["finished"].sum()):
                    words = f"{stopped} of {len(mine)}\nstopped"
                    axis.annotate(words, (value, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=5)
    letter = f" ({sweep.symbol})" if sweep.symbol != sweep.name else ""
    unit = ", times the task's own" if sweep.factors else ""
    finish(figure, axes, f"{sweep.key}{letter}{unit}", "score points (0-100)")
    return figure, figure_captions.robustness(study, sweep)


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
