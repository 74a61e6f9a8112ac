"""What all figures share: style, grid of panels, the axis with the switch in it, byte-stable PDF and PNG.

The x-axis is online environment steps from 0 to the budget B. The offline stage is drawn to the left of 0: its gradient
updates 0..U are squeezed onto [-OFFLINE_WIDTH * B, 0], with tick labels in updates.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from analysis.methods import OFFLINE_COLOUR
from analysis.panels import Layout, layout
from analysis.rows import Study, reject_mixed_sources
from analysis.stats import t_half_width

Array = npt.NDArray[np.float64]
OFFLINE_WIDTH = 0.25
TEXT_WIDTH = 6.75  # inches, of a page with two columns
PANEL_WIDTH = 2.25  # inches, where the page has room for it
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8.0, "axes.titlesize": 7.0, "axes.labelsize": 8.0,
    "legend.fontsize": 7.5, "legend.frameon": False,
    "xtick.labelsize": 6.5, "ytick.labelsize": 6.5, "axes.linewidth": 0.6, "lines.linewidth": 1.2, "axes.grid": True,
    "grid.alpha": 0.2, "grid.linewidth": 0.5, "pdf.fonttype": 42, "ps.fonttype": 42,
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """Mean over seeds at `x` [P], with `low` and `high` [P] (NaN where one seed allows no interval)."""

    x: Array
    mean: Array
    low: Array
    high: Array


def mean_curve(rows: pd.DataFrame, x: str) -> Curve:
    """Mean over runs of `value` at every `x` (a column of `rows`), with the 95 % t band; NaN where a run has no value.

    So a line has a gap where its seeds are not complete. Without rows, a curve without points: every run of a method on
    one dataset may have diverged.
    """
    if rows.empty:
        return Curve(*(np.empty(0) for _ in range(4)))
    wide = rows.pivot_table(index=x, columns="run", values="value", aggfunc="mean", dropna=False).sort_index()
    values, n = wide.to_numpy(float), wide.shape[1]
    mean = values.mean(axis=1)
    half = t_half_width(values.std(axis=1, ddof=1) if n > 1 else np.full(len(mean), np.nan), n)
    return Curve(wide.index.to_numpy(float), mean, mean - half, mean + half)


def by_cell(rows: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The rows of every (method, dataset)."""
    return {(str(key[0]), str(key[1])): group for key, group in rows.groupby(["method", "dataset"], sort=False)}


def task_grid(study: Study, height: float = 1.75) -> tuple[Figure, dict[str, Axes]]:
    """A panel for every dataset of the study; UserError if they are of several sources."""
    reject_mixed_sources(study)
    return grid(layout(study.datasets), height)


def grid(panels: Layout, height: float = 1.75) -> tuple[Figure, dict[str, Axes]]:
    """A figure with one titled panel per name, each `height` inches high, and their axes by name."""
    columns = max(map(len, panels))
    width = max(3.25, PANEL_WIDTH * columns if columns < 4 else TEXT_WIDTH / 4 * columns)
    axes: dict[str, Axes] = {}
    named = [name for row in panels for name in row if name is not None]
    # a long id goes over two lines, environment and quality, so that neighbours do not meet
    split = max(map(len, named)) > 12 * width / columns
    titles = {name: name.replace("-", "\n", 1) if split else name for name in named}
    room = 14.5 * width / columns  # characters
    longest = max(len(line) for title in titles.values() for line in title.split("\n"))
    with mpl.rc_context(STYLE | {"axes.titlesize": STYLE["axes.titlesize"] * min(1.0, room / longest)}):
        figure = Figure(figsize=(width, height * len(panels)), layout="constrained")
        for names, row in zip(panels, figure.subplots(len(panels), columns, squeeze=False), strict=True):
            for name, axis in zip(names, row, strict=True):
                if name is None:
                    axis.remove()
                    continue
                axis.set_title(titles[name])
                axes[name] = axis
        seaborn.despine(figure)
    return figure, axes


def switch_axis(axis: Axes, budget: int, updates: int) -> None:
    """Ticks for both stages, the grey offline part and the vertical rule at the switch."""
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
    """Gradient updates [P] of `total` on the axis: 0 lands on -OFFLINE_WIDTH * budget, `total` on the switch."""
    return (np.asarray(updates, dtype=float) / total - 1) * OFFLINE_WIDTH * budget


def robust_limits(axis: Axes, bands: Iterable[Array] = (), areas: Iterable[Array] = (), floor: float = 0.0) -> None:
    """y-limits around the lines drawn so far and the edges of `areas`; a wide band among `bands` is cut off.

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
    """Shared axis labels and, in a strip of its own below them, one legend with every label once.

    `order`: labels in the order of the legend, those that it lacks first; without it as they were first drawn.
    """
    width, height = figure.get_size_inches()
    with mpl.rc_context(STYLE):
        entries: dict[str, Artist] = {}
        for axis in axes.values():
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, handle)
        known = list(order)
        entries = dict(sorted(entries.items(), key=lambda item: known.index(item[0]) if item[0] in known else -1))
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
            handles, labels = list(entries.values()), list(entries)
            figure.legend(handles, labels, loc="lower center", ncols=columns, handlelength=sample, borderpad=0.2)
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
    """Steps on a tick: 500, 2.5k, 100k, 1M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def save(figure: Figure, stem: Path, caption: str) -> list[Path]:
    """`stem`.pdf, .png and .md (the caption). The same figure gives the same bytes: no date or version inside."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    pdf, png, text = (stem.parent / f"{stem.name}{end}" for end in (".pdf", ".png", ".md"))
    with mpl.rc_context(STYLE):
        figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
        figure.savefig(png, dpi=200, metadata={"Software": None})
    text.write_text(caption + "\n", encoding="utf-8")
    return [pdf, png, text]
