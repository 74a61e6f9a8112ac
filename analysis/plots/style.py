"""What all figures share: style, where the panel of each task stands, the axis with the switch in it, the legend.

The x-axis is online environment steps from 0 to the budget B. The offline stage is drawn to the left of 0: its gradient
updates 0..U are squeezed onto [-OFFLINE_WIDTH * B, 0], with tick labels in updates.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from analysis.io.rows import Results, environment, quality, reject_mixed_sources
from analysis.stats.intervals import Array

OFFLINE_COLOUR = "0.45"
OFFLINE_WIDTH = 0.25
TEXT_WIDTH = 6.75  # inches, of a page with two columns
PANEL_WIDTH = 2.25  # inches, where the page has room for it
ENVIRONMENTS = ("halfcheetah", "walker2d", "hopper")  # the rows of the paper's Figure 1
QUALITIES = ("medium-expert", "medium-replay", "medium", "random")  # and its columns
PER_ROW = 4
Layout = list[list[str | None]]
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8.0, "axes.titlesize": 7.0, "axes.labelsize": 8.0,
    "legend.fontsize": 7.5, "legend.frameon": False,
    "xtick.labelsize": 6.5, "ytick.labelsize": 6.5, "axes.linewidth": 0.6, "lines.linewidth": 1.2, "axes.grid": True,
    "grid.alpha": 0.2, "grid.linewidth": 0.5, "pdf.fonttype": 42, "ps.fonttype": 42,
}  # fmt: skip


styled = mpl.rc_context(STYLE)  # a decorator of whatever draws


def layout(datasets: Sequence[str]) -> Layout:
    """Arrange panels in rows, None where one stays empty.

    Up to `PER_ROW` tasks stand in one row, as given. More stand in a matrix of environments and qualities if that
    fills at least half of it, else in rows of `PER_ROW`.
    """
    if len(datasets) <= PER_ROW:
        return [list(datasets)]
    names = sorted(datasets, key=lambda name: (_rank(environment(name), ENVIRONMENTS), _rank(quality(name), QUALITIES)))
    of_task = {(environment(name), quality(name)): name for name in names}
    rows = list(dict.fromkeys(row for row, _ in of_task))
    columns = sorted({column for _, column in of_task}, key=lambda column: _rank(column, QUALITIES))
    unique, cells = len(of_task) == len(names), len(rows) * len(columns)
    if unique and len(rows) > 1 and 1 < len(columns) <= PER_ROW + 2 and 2 * len(names) >= cells:
        return [[of_task.get((row, column)) for column in columns] for row in rows]
    return wrap(names)


def wrap(names: Sequence[str]) -> Layout:
    """Arrange in rows of `PER_ROW`, the last one filled up with None."""
    width = min(PER_ROW, max(1, len(names)))
    padded = [*names, *[None] * (-len(names) % width)]
    return [padded[start : start + width] for start in range(0, len(padded), width)]


def _rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    """The paper's first, the others after them by name."""
    return (order.index(name), "") if name in order else (len(order), name)


def task_grid(study: Results, height: float = 1.75) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with a panel for every dataset of the study; UserError if they are of several sources."""
    reject_mixed_sources(study)
    return grid(layout(study.datasets), height)


def grid(panels: Layout, height: float = 1.75) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with one titled panel per name, each `height` inches high, and their axes by name."""
    columns = max(map(len, panels))
    width = max(3.25, PANEL_WIDTH * columns if columns < 4 else TEXT_WIDTH / 4 * columns)
    axes: dict[str, Axes] = {}
    named = [name for row in panels for name in row if name is not None]
    # a long id goes over two lines, environment and quality, so that neighbours do not meet
    split = max(map(len, named)) > 12 * width / columns
    titles = {name: name.replace("-", "\n", 1) if split else name for name in named}
    room = 14.5 * width / columns  # characters
    longest = max(len(line) for title in titles.values() for line in title.split("\n"))
    figure = Figure(figsize=(width, height * len(panels)), layout="constrained")
    for names, row in zip(panels, figure.subplots(len(panels), columns, squeeze=False), strict=True):
        for name, axis in zip(names, row, strict=True):
            if name is None:
                axis.remove()
                continue
            axis.set_title(titles[name], fontsize=STYLE["axes.titlesize"] * min(1.0, room / longest))
            axes[name] = axis
    seaborn.despine(figure)
    return figure, axes


def switch_axis(axis: Axes, budget: int, updates: int) -> None:
    """Draw ticks for both stages, the grey offline part and the vertical rule at the switch."""
    ticks = [0.0, budget / 2, float(budget)]
    labels = [short(value) for value in ticks]
    left = 0.0
    if updates:
        left = -OFFLINE_WIDTH * budget
        ticks, labels = [left, *ticks], [f"-{short(updates)}", *labels]
        axis.axvspan(left, 0, color="0.94", linewidth=0, zorder=0)
    axis.axvline(0, color="0.3", linewidth=0.8, linestyle="--", zorder=1)
    axis.set_xticks(ticks, labels)
    axis.set_xlim(left - 0.01 * budget, 1.02 * budget)
    if updates:
        axis.get_xticklabels()[0].set_color(OFFLINE_COLOUR)


def offline_x(updates: npt.ArrayLike, total: int, budget: int) -> Array:
    """Place gradient updates [P] of `total` on the axis: 0 lands on -OFFLINE_WIDTH * budget, `total` on the switch."""
    return (np.asarray(updates, dtype=float) / total - 1) * OFFLINE_WIDTH * budget


def robust_limits(axis: Axes, bands: Iterable[Array] = (), areas: Iterable[Array] = (), floor: float = 0.0) -> None:
    """Set y-limits around the lines drawn so far and the edges of `areas`; a wide band among `bands` is cut off.

    So an interval of two far seeds cannot flatten the lines.
    """
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()]
    points = np.concatenate([*(y[np.isfinite(y)] for y in [*lines, *areas]), [floor]])
    edges = np.concatenate([*(y[np.isfinite(y)] for y in bands), points])
    low, high = float(points.min()), float(points.max())
    reach = 0.35 * max(high - low, 1e-9)
    low, high = max(float(np.quantile(edges, 0.01)), low - reach), min(float(np.quantile(edges, 0.99)), high + reach)
    low, high = min(low, float(points.min())), max(high, float(points.max()))
    pad = 0.05 * max(high - low, 1e-9)
    axis.set_ylim(low - pad, high + pad)


def finish(figure: Figure, axes: Mapping[str, Axes], x_label: str, y_label: str, order: Sequence[str] = ()) -> None:
    """Draw shared axis labels and, in a strip of its own below them, one legend with every label once.

    `order`: labels in the order of the legend, those that it lacks first; without it as they were first drawn.
    """
    width, height = figure.get_size_inches()
    entries: dict[str, Artist] = {}
    for axis in axes.values():
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    place = {label: index for index, label in enumerate(order)}
    entries = dict(sorted(entries.items(), key=lambda item: place.get(item[0], -1)))
    patterns = {handle.get_linestyle() for handle in entries.values() if isinstance(handle, Line2D)}
    sample = 3.0 if patterns & {"-.", ":"} else 1.8  # in font sizes: long enough to tell dots from dashes
    columns = _legend_columns([0.42 + 0.11 * (sample - 1.8) + 0.06 * len(label) for label in entries], width)
    lines = textwrap.wrap(x_label, int(width / 0.065))
    strip = 0.18 * math.ceil(len(entries) / columns) + 0.14 * len(lines) + 0.1
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    height += strip
    figure.set_size_inches(width, height)
    engine.set(rect=(0, strip / height, 1, 1 - strip / height))
    figure.text(0.5, (strip - 0.02) / height, "\n".join(lines), ha="center", va="top")
    figure.supylabel(y_label, fontsize=8, y=(1 + strip / height) / 2)
    if entries:
        shape: dict[str, Any] = {"ncols": columns, "handlelength": sample, "borderpad": 0.2}
        figure.legend(list(entries.values()), list(entries), loc="lower center", **shape)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for every file format


def _legend_columns(items: Sequence[float], width: float) -> int:
    """The most columns, filled one after the other, into which entries so many inches wide (at 7.5 points) fit."""
    for columns in range(len(items), 1, -1):
        if sum(column.max() for column in np.array_split(items, columns)) <= width:
            rows = math.ceil(len(items) / columns)
            return math.ceil(len(items) / rows)  # columns alike: not one of two and six of one
    return 1


def short(value: float) -> str:
    """Write steps on a tick: 500, 2.5k, 100k, 1M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
