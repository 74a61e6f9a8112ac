"""What all figures share: style, where the panel of each task stands, the axis with the switch in it, the legend.

The offline stage is drawn to the left of the switch at 0: its gradient updates 0..U are squeezed onto
[-OFFLINE_WIDTH * B, 0], with B the right end of the axis.
"""

import math
import tempfile
import textwrap
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fontTools import subset
from matplotlib import font_manager, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.io.rows import environment, quality
from analysis.plots.view import COLUMN, GREY, PAGE, View
from analysis.stats.intervals import Array

OFFLINE_COLOUR = "0.5"
OFFLINE_WIDTH = 0.25
PANEL = 1.6  # inches, the narrowest that can be read
ENVIRONMENTS = ("halfcheetah", "walker2d", "hopper")  # the rows of the paper's Figure 1
QUALITIES = ("medium-expert", "medium-replay", "medium", "random")  # and its columns
LINE, LETTER = 0.115, 0.055  # inches from one line of text to the next, and of a letter
STYLE: dict[Any, Any] = {
    "font.size": 7.5, "axes.titlesize": 7.5, "axes.labelsize": 7.5, "legend.fontsize": 7.0, "legend.frameon": False,
    "xtick.labelsize": 6.5, "ytick.labelsize": 6.5, "axes.linewidth": 0.6, "xtick.bottom": False,
    "ytick.left": False, "xtick.major.size": 0, "ytick.major.size": 0, "axes.spines.top": False,
    "axes.spines.right": False, "lines.linewidth": 1.2, "axes.grid": True, "grid.alpha": 0.2, "grid.linewidth": 0.5,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "moore", "legend.handlelength": 2.4,
    "legend.borderpad": 0.1, "legend.labelspacing": 0.25, "legend.columnspacing": 1.2, "legend.handletextpad": 0.5,
    "legend.borderaxespad": 0.1,
}  # fmt: skip
Layout = Sequence[Sequence[Hashable]]

# DejaVu Sans, cut down once to the letters that figures use: a PDF embeds what it uses of a font (TrueType, as venues
# ask), and finding that in the whole font takes a third of a second for every file, half of the time of drawing
FAMILY = "DejaVu Sans"
LETTERS = [*range(0x20, 0x7F), *map(ord, "–←→−×±·²αφλ")]  # noqa: RUF001
_FOLDER = tempfile.TemporaryDirectory(prefix="moore-font-")  # gone at the end of the process


@cache
def _families() -> list[str]:
    """Register the cut font; returns the families to draw with, the whole one last, for any other letter."""
    file = Path(_FOLDER.name, "figure.ttf")
    options = subset.Options(layout_features=[], hinting=False, drop_tables=["GSUB", "GPOS", "GDEF", "FFTM"])
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=LETTERS)
    with subset.load_font(font_manager.findfont(FAMILY), options) as font:
        cutter.subset(font)
        subset.save_font(font, str(file), options)
    name = "Figure Sans"  # so that nothing else is drawn with it
    font_manager.fontManager.ttflist.append(font_manager.FontEntry(fname=str(file), name=name, weight=400))
    return [name, FAMILY]


def in_style() -> AbstractContextManager[None]:
    """Let figures be drawn and saved in the style of this package."""
    return rc_context(STYLE | {"font.family": _families()})


def layout(datasets: Sequence[str], columns: int = 4) -> list[list[str | None]]:
    """Arrange panels in rows, None where one stays empty.

    Up to `columns` tasks stand in one row, more in a matrix of environments and qualities if that fits and is at least
    half full, else in rows of `columns`.
    """
    if len(datasets) <= columns:
        return [list(datasets)]
    names = sorted(datasets, key=lambda name: (_rank(environment(name), ENVIRONMENTS), _rank(quality(name), QUALITIES)))
    of_task = {(environment(name), quality(name)): name for name in names}
    rows = list(dict.fromkeys(row for row, _ in of_task))
    qualities = sorted({column for _, column in of_task}, key=lambda column: _rank(column, QUALITIES))
    full = len(of_task) == len(names) >= len(rows) * len(qualities) / 2
    if full and len(rows) > 1 and 1 < len(qualities) <= columns:
        return [[of_task.get((row, column)) for column in qualities] for row in rows]
    return wrap(names, columns)


def wrap(names: Sequence[str], columns: int) -> list[list[str | None]]:
    """Arrange in rows of `columns`, the last one filled up with None."""
    padded = [*names, *[None] * (-len(names) % min(columns, len(names)))]
    return [padded[start : start + columns] for start in range(0, len(padded), columns)]


def _rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    """Rank the paper's first, the others after them by name."""
    return (order.index(name), "") if name in order else (len(order), name)


def page_width(view: View, panels: int) -> float:
    """Return the figure's width in inches: the chosen one, else a column for one or two panels and a page for more."""
    return view.width or (COLUMN if panels <= 2 else PAGE)


def block_grid(view: View, blocks: Mapping[str, str]) -> tuple[Figure, dict[str, dict[str, Axes]]]:
    """Make a figure with a panel for every dataset in every block; a block has a row below the last block's.

    blocks: name -> what the first panel's y-axis is called. Only the first block's panels have titles. Returns the
    axes by block and dataset, from left to right.
    """
    datasets, first = view.study.datasets, next(iter(blocks))
    width = page_width(view, len(datasets))
    rows = layout(datasets, max(1, int(width / PANEL)))
    keys = [[name and (block, name) for name in row] for row in rows for block in blocks]
    figure, axes = grid(keys, {(first, name): view.titles[name] for name in datasets}, width, 1.35)
    placed = [name for row in rows for name in row if name]
    for block, words in blocks.items():
        axes[block, placed[0]].set_ylabel(words)
    return figure, {block: {name: axes[block, name] for name in placed} for block in blocks}


def grid(panels: Layout, titles: Mapping[Any, str], width: float, *heights: float) -> tuple[Figure, dict[Any, Axes]]:
    """Make a figure with a panel for every key that is not None, rows `heights` inches high; returns their axes by key.

    A key that stands several times has one panel over all its places.
    """
    columns = max(map(len, panels))
    size = width / columns / (0.062 * max([1, *map(len, titles.values())]))  # 1: a title of 7.5 points just fits
    numbers = {key: str(index) for index, key in enumerate(dict.fromkeys(key for row in panels for key in row if key))}
    high = heights if len(heights) == len(panels) else heights * len(panels)
    figure = Figure(figsize=(width, sum(high)))
    placed = figure.subplot_mosaic([[numbers.get(key, ".") for key in row] for row in panels], height_ratios=high)
    axes = {key: placed[number] for key, number in numbers.items()}
    for key, axis in axes.items():
        axis.set_title(titles.get(key, ""), y=1.0, fontsize=STYLE["axes.titlesize"] * min(1.0, size))
        for side in (axis.xaxis, axis.yaxis):  # not by the room there is, or the layout would change the labels
            side.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    return figure, axes


def method_rows(axis: Axes, labels: Sequence[str], named: bool) -> None:
    """Give each method a row, from top to bottom, with its name where the panel stands first."""
    axis.set_yticks(range(len(labels)) if named else [], labels if named else [])
    if not named:  # the lines of the grid without a tick each, which takes long
        lines = [[(0, row), (1, row)] for row in range(len(labels))]
        style = {"colors": "0.69", "linewidths": 0.5, "alpha": 0.2, "transform": axis.get_yaxis_transform()}
        axis.add_collection(LineCollection(lines, zorder=0.5, **style), autolim=False)
    axis.set_ylim(len(labels) - 0.5, -0.5)


def switch_axis(axis: Axes, budget: float, offline: str = "") -> None:
    """Draw ticks for both stages, the grey offline part, whose length is said in `offline`, and the rule at 0."""
    ticks, left = {value: short(value) for value in (0.0, budget / 2, budget)}, 0.0
    if offline:
        left = -OFFLINE_WIDTH * budget
        ticks = {left: f"-{offline}", **ticks}
        axis.axvspan(left, 0, color="0.94", linewidth=0, zorder=0)
    axis.axvline(0, color="0.3", linewidth=0.8, linestyle="--", zorder=1)
    axis.set_xticks([*ticks], [*ticks.values()])
    axis.set_xlim(left - 0.01 * budget, 1.02 * budget)
    if offline:
        axis.get_xticklabels()[0].set_color(OFFLINE_COLOUR)


def offline_x(updates: npt.ArrayLike, total: int, budget: float) -> Array:
    """Place gradient updates [P] of `total` on the axis: 0 lands on -OFFLINE_WIDTH * budget, `total` on the switch."""
    return (np.asarray(updates, dtype=float) / total - 1) * OFFLINE_WIDTH * budget


def robust_limits(axis: Axes, bands: Iterable[Array] = (), areas: Iterable[Array] = ()) -> None:
    """Set y-limits around the lines drawn so far and the edges of `areas`; a wide band among `bands` is cut off.

    So an interval of two far seeds cannot flatten the lines.
    """
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()]
    points = np.concatenate([*(y[np.isfinite(y)] for y in [*lines, *areas]), np.empty(0)])
    if not len(points):
        return
    edges, ends = np.concatenate([*(y[np.isfinite(y)] for y in bands), points]), (points.min(), points.max())
    reach = 0.35 * max(np.ptp(points), 1e-9)
    low = min(max(np.quantile(edges, 0.01), ends[0] - reach), ends[0])
    high = max(min(np.quantile(edges, 0.99), ends[1] + reach), ends[1])
    pad = 0.05 * max(high - low, 1e-9)
    axis.set_ylim(low - pad, high + pad)


def finish(figure: Figure, x_label: str = "", y_label: str = "", order: Sequence[str] = ()) -> None:
    """Draw shared axis labels and, in a strip of its own below them, one legend with every label once.

    `order`: labels in the order of the legend, those that it lacks first; without it as they were first drawn. In a
    figure of one panel lines are named at their ends, where they fit.
    """
    panels, entries, (width, height) = figure.axes, dict[str, Artist](), figure.get_size_inches()
    for axis in panels:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    ends = _name_at_the_ends(panels[0], entries, 0.8 * height) if len(panels) == 1 else []
    turn = {label: index for index, label in enumerate([*order, GREY.label])}
    entries = {label: entries[label] for label in sorted(entries, key=lambda x: turn.get(x, -1)) if label not in ends}
    columns = _legend_columns([0.42 + 0.053 * len(label) for label in entries], width)
    lines = textwrap.wrap(x_label, int(width / 0.056))
    strip = 0.125 * math.ceil(len(entries) / columns) + 0.13 * len(lines) + 0.08
    height += strip
    figure.set_size_inches(width, height)
    figure.text(0.5, (strip - 0.02) / height, "\n".join(lines), ha="center", va="top")
    figure.text(0.02 / width, (1 + strip / height) / 2, y_label, rotation=90, va="center")
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="lower center", ncols=columns)
    _place(figure, panels, strip, LINE if y_label else 0, 0.2 + LETTER * max(map(len, ends)) if ends else 0)


def _place(figure: Figure, panels: Sequence[Axes], below: float, before: float, behind: float) -> None:
    """Give each panel the room that its labels need, judged by their letters: measuring text takes as long as drawing.

    below, before, behind: inches at the edges of the figure that are taken.
    """
    places = [place for axis in panels if (place := axis.get_subplotspec()) is not None]
    spec, (width, height) = places[0].get_gridspec(), figure.get_size_inches()
    left, above, under = np.zeros(spec.ncols), np.zeros(spec.nrows), np.zeros(spec.nrows)
    reach = []  # of tick labels: below a panel and left of it
    for axis, place in zip(panels, places, strict=True):
        x, y = (
            max(map(len, side.get_major_formatter().format_ticks([*side.get_majorticklocs()])), default=0)
            for side in (axis.xaxis, axis.yaxis)
        )
        turned = axis.xaxis.majorTicks[0].label1.get_rotation() > 0
        reach.append((0.06 + (LETTER * x if turned else LINE * bool(x)), 0.06 + LETTER * y))
        rows, column = place.rowspan, place.colspan.start
        above[rows.start] = max(above[rows.start], 0.08 + LINE * bool(axis.get_title()))
        under[rows.stop - 1] = max(under[rows.stop - 1], 0.04 + reach[-1][0] + LINE * bool(axis.get_xlabel()))
        left[column] = max(left[column], 0.04 + reach[-1][1] + LINE * bool(axis.get_ylabel()))
    shares = np.asarray(spec.get_height_ratios(), dtype=float)
    high = (height - below - above.sum() - under.sum()) * shares / shares.sum()
    wide = (width - before - behind - left.sum()) / spec.ncols
    for axis, place, (under_it, left_of_it) in zip(panels, places, reach, strict=True):
        row, columns = place.rowspan.stop - 1, place.colspan
        start = before + left[: columns.start + 1].sum() + columns.start * wide
        end = before + left[: columns.stop].sum() + columns.stop * wide - 0.06
        bottom = below + (above + high + under)[row + 1 :].sum() + under[row]
        axis.set_position((start / width, bottom / height, (end - start) / width, high[row] / height))
        axis.xaxis.set_label_coords(0.5, -under_it / high[row])
        axis.yaxis.set_label_coords(-left_of_it / (end - start), 0.5)


def _name_at_the_ends(axis: Axes, entries: Mapping[str, Artist], height: float) -> list[str]:
    """Write lines' names right of a panel `height` inches high, moved apart; returns those that are written.

    None if two or more do not all end at its right edge, or where there is no room for all.
    """
    lines = {label: line for label, line in entries.items() if isinstance(line, Line2D) and label != GREY.label}
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    ends = {}
    for label, line in lines.items():
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        if len(x) and np.isfinite(y[-1]) and x[-1] > right - 0.1 * (right - left):
            ends[label] = (x[-1], y[-1], height * (min(max(y[-1], low), high) - low) / (high - low))
    if len(ends) < 2 or LINE * len(ends) > height or np.ptp([y for _, y, _ in ends.values()]) == 0:
        return []
    names = sorted(ends, key=lambda label: ends[label][2])
    places = np.array([ends[label][2] for label in names])
    steps = LINE * np.arange(len(names))
    places = np.maximum.accumulate(places - steps) + steps  # up, until none overlaps
    room = height - LINE * np.arange(len(names) - 1, -1, -1)
    places = np.minimum(places, np.minimum.accumulate(room[::-1])[::-1])
    for label, place in zip(names, places, strict=True):
        colour, there = lines[label].get_color(), (1.06, place / height)
        arrow = {"arrowstyle": "-", "linewidth": 0.5, "color": colour, "shrinkA": 0, "shrinkB": 0}
        style = {"color": colour, "va": "center", "fontsize": STYLE["legend.fontsize"], "arrowprops": arrow}
        axis.annotate(label, ends[label][:2], there, textcoords="axes fraction", annotation_clip=False, **style)
    return names


def _legend_columns(items: Sequence[float], width: float) -> int:
    """Return the most columns, filled one after the other, into which entries so many inches wide fit."""
    for columns in range(len(items), 1, -1):
        if sum(column.max() for column in np.array_split(items, columns)) <= width:
            rows = math.ceil(len(items) / columns)
            return math.ceil(len(items) / rows)  # columns alike: not one of two and six of one
    return 1


def short(value: float) -> str:
    """Write steps on a tick: 500, 2.5k, 100k, 1M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
