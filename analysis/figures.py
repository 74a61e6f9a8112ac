"""What all figures share: style, grid of panels, the axis with the switch in it, byte-stable PDF and PNG.

The x-axis is online environment steps from 0 to the budget B. The offline stage is drawn to the left of 0: its gradient
updates 0..U are squeezed onto [-OFFLINE_WIDTH * B, 0], with tick labels in updates.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
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
from analysis.stats import t_half_width

Array = npt.NDArray[np.float64]
OFFLINE_WIDTH = 0.25
PER_ROW = 4
TITLE_LENGTH = 26  # characters that fit above a panel
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8.0, "axes.titlesize": 7.5, "axes.labelsize": 8.0,
    "legend.fontsize": 8.0, "legend.frameon": False,
    "xtick.labelsize": 7.0, "ytick.labelsize": 7.0, "axes.linewidth": 0.6, "lines.linewidth": 1.3, "axes.grid": True,
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
    """Mean over runs of `value` at every `x` (a column of `rows`) that *all* runs have, with the 95 % t band.

    Without rows, a curve without points: every run of a method on one dataset may have diverged.
    """
    if rows.empty:
        return Curve(*(np.empty(0) for _ in range(4)))
    wide = rows.pivot_table(index=x, columns="run", values="value", aggfunc="mean").dropna().sort_index()
    values, n = wide.to_numpy(float), wide.shape[1]
    mean = values.mean(axis=1)
    half = t_half_width(values.std(axis=1, ddof=1) if n > 1 else np.full(len(mean), np.nan), n)
    return Curve(wide.index.to_numpy(float), mean, mean - half, mean + half)


def grid(panels: Sequence[str], height: float = 1.9) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel per name, at most `PER_ROW` side by side, and room for a legend below."""
    columns = min(PER_ROW, max(1, len(panels)))
    count = math.ceil(len(panels) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(3.25, 2.25 * columns), height * count), layout="constrained")
        axes = list(figure.subplots(count, columns, squeeze=False).flat)
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, name in zip(axes, panels, strict=False):
            # a long id goes over two lines, environment and quality, so that neighbours do not meet
            axis.set_title(name.replace("-", "\n", 1) if len(name) > TITLE_LENGTH else name)
        seaborn.despine(figure)
    return figure, axes[: len(panels)]


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


def offline_x(updates: Array, total: int, budget: int) -> Array:
    """Gradient updates [P] of `total` on the axis: 0 lands on -OFFLINE_WIDTH * budget, `total` on the switch."""
    return np.asarray((updates / total - 1) * OFFLINE_WIDTH * budget)


def robust_limits(axis: Axes, means: Iterable[Array], bands: Iterable[Array], floor: float = 0.0) -> None:
    """y-limits around the mean lines; a wide band is cut off, so that it cannot flatten the lines."""
    lines = [y[np.isfinite(y)] for y in means]
    points = np.concatenate([*lines, [floor]])
    edges = np.concatenate([*(y[np.isfinite(y)] for y in bands), points])
    low, high = float(points.min()), float(points.max())
    reach = 0.35 * max(high - low, 1e-9)
    low, high = max(float(np.quantile(edges, 0.01)), low - reach), min(float(np.quantile(edges, 0.99)), high + reach)
    low, high = min(low, float(points.min())), max(high, float(points.max()))
    pad = 0.05 * max(high - low, 1e-9)
    axis.set_ylim(low - pad, high + pad)


def finish(figure: Figure, axes: Sequence[Axes], x_label: str, y_label: str) -> None:
    """Shared axis labels and, in a strip of its own below them, one legend with every method once."""
    width, height = figure.get_size_inches()
    with mpl.rc_context(STYLE):
        entries: dict[str, Artist] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, handle)
        patterns = {handle.get_linestyle() for handle in entries.values() if isinstance(handle, Line2D)}
        sample = 3.0 if patterns & {"-.", ":"} else 1.8  # in font sizes: long enough to tell dots from dashes
        # inches, at 8 points
        item = 0.45 + 0.11 * (sample - 1.8) + 0.06 * max((len(label) for label in entries), default=0)
        columns = max(1, min(len(entries), int(width / item)))
        lines = textwrap.wrap(x_label, int(width / 0.065))
        strip = 0.19 * math.ceil(len(entries) / columns) + 0.14 * len(lines) + 0.1
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
