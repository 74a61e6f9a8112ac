"""Figures of what the sampling, the penalty and the ensemble did: the paper's Figure 4, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.methods import listed
from analysis.io.rows import Cells
from analysis.io.settings import is_prioritized, rollout_lengths
from analysis.io.stages import stages
from analysis.plots.curves import draw_curve, draw_offline
from analysis.plots.looks import DASHES, Drawn, shades
from analysis.plots.style import OFFLINE_COLOUR, block_grid, finish, offline_x, robust_limits, switch_axis
from analysis.plots.view import View
from analysis.stats import diagnostics as numbers
from analysis.stats.diagnostics import EDGES, MEDIAN, NOMINAL, RANKS, STEPS, logged, numbered
from analysis.stats.intervals import Array, mean_curve

SHARES = {  # metric -> whose draws
    "sampling/model_batches_online_share": "model's batches",
    "sampling/start_states_online_share": "start states",
}
ALIKE = 0.03  # online shares closer than this are drawn once
CLOSED = "closed form"
ONLINE = "environment steps"
THIRDS = ("first third", "middle third", "last third")
COLOURS = shades(3)
LINES = tuple(DASHES[name] for name in ("dotted", "dashed", "solid"))
OUTER = 0.01  # share of the points beyond either edge of a panel


def online_share(view: View) -> tuple[Figure, str] | None:
    """Draw the share of online transitions among the sampled ones; None for a study that did not log it."""
    study, rows = view.study, logged(view.study, [*SHARES])
    if rows.empty:
        return None
    means = rows.pivot_table(index=["method", "dataset", "env_steps"], columns="metric", values="value")
    alike = len(means.columns) == 1 or bool((means.max(axis=1) - means.min(axis=1) < ALIKE).all())
    both = rows.groupby(["method", "dataset", "run", "env_steps"])["value"].mean().reset_index()
    parts = {"draws": both.assign(metric=next(iter(SHARES)))} if alike else dict(iter(rows.groupby("metric")))
    blocks = {str(name): Cells(part) for name, part in parts.items()}  # alike: one panel, for who logs one of them too
    drawn = view.among(rows["method"].unique())
    figure, grids = block_grid(view, {name: "online share" if alike else SHARES[name] for name in blocks})
    lacking, closed = dict[str, None](), False
    for metric, axes in grids.items():
        for dataset, axis in axes.items():
            _draw_means(axis, dataset, blocks[metric], drawn)
            for method in drawn:
                if (dataset, method) not in blocks[metric] or not is_prioritized(study, method):
                    continue
                if expected := numbers.expected_share(study, method, dataset):
                    axis.plot(
                        *expected, color="0.5", linestyle=DASHES["dotted"], linewidth=2.2, label=CLOSED, zorder=1.5
                    )
                    closed = True
                else:
                    lacking[f"{view.label(method)} on {view.titles[dataset]}"] = None
            switch_axis(axis, study.online_steps)
            axis.set_ylim(-0.03, 1.03)
    finish(figure, ONLINE, order=[*view.labels, CLOSED])
    words = "Share of online transitions among an epoch's draws"
    words += ", of the model's batches and start states." if alike else ", by who draws them."
    words += " Grey, dotted: the closed form n / (n + N_off / (α t))." if closed else ""  # noqa: RUF001
    words += view.greyed(drawn)
    return figure, words + (f" None for {', '.join(lacking)}: N_off, S or α is unknown." if lacking else "")  # noqa: RUF001


def uncertainty(view: View) -> tuple[Figure, str] | None:
    """Draw u over both stages and, below, the density of its change at a retraining: Figure 4.

    The line is the median, or else the mean; the band is the 20-80 % range of one method. None without logged ones.
    """
    study, metric = view.study, numbers.centre(view.study)
    means = Cells(logged(study, [metric]))
    drawn = view.among({method for _, method in means})
    if not drawn:
        return None
    banded = study.main if study.main in drawn else next(iter(drawn))
    edges = [(Cells(logged(study, [edge])), stages(study, edge)) for edge in EDGES]
    changes, undefined = numbers.relative_changes(study)
    figure, blocks = block_grid(view, {"u": "uncertainty u"} | ({"density": "density"} if len(changes) else {}))
    for dataset, axis in blocks["u"].items():
        updates = max((stage.updates for stage in stages(study, metric)[dataset]), default=0)
        offline = draw_offline(axis, view, metric, dataset, study.online_steps, band=False)
        _draw_means(axis, dataset, means, drawn)
        online = [cells[dataset, banded] for cells, _ in edges]
        areas, bands = _band(axis, [_series(rows, "env_steps") for rows in online], drawn[banded].colour), []
        own = [stage for _, found in edges for stage in found[dataset] if banded in stage.methods]
        if updates and len(own) == len(edges):
            late = updates - max(stage.updates for stage in own)
            lines = [_series(stage.rows, "updates") for stage in own]
            for line in lines:
                line.index = pd.Index(offline_x(line.index.to_numpy(float) + late, updates, study.online_steps))
            bands = _band(axis, lines, OFFLINE_COLOUR)
        robust_limits(axis, bands, [*areas, np.zeros(1)])
        switch_axis(axis, study.online_steps, offline)
        axis.set_xlabel("environment steps")
    for dataset, axis in blocks.get("density", {}).items():
        _draw_changes(axis, changes[changes["dataset"] == dataset])
    finish(figure, order=[*view.labels, *THIRDS])
    words = (
        f"{'Median' if metric == MEDIAN else 'Mean (no median in these rows)'} of the uncertainty u of imagined "
        f"transitions; band: its 20-80 % range in {view.label(banded)} and its offline "
        f"stage (left of the rule, in updates).{view.greyed(drawn)}"
    )
    if len(changes):
        words += " Below, our definition: (u after a retraining - u before) / u before"
        words += f" of {view.label(changes['method'].iloc[0])}"
        words += f", without {undefined} epochs that have no finite value." if undefined else "."
    return figure, words


def model_error(view: View) -> tuple[Figure, str] | None:
    """Draw error against open-loop steps, and the rank correlation of uncertainty and error; None without them."""
    study, rows = view.study, numbered(view.study, numbers.OPEN_LOOP, STEPS)
    if rows.empty:
        return None
    methods = numbers.shown_methods(study, rows)
    ranks = Cells(logged(study, [RANKS]))
    drawn = view.among({method for _, method in ranks})
    figure, blocks = block_grid(view, {"error": "error (std)"} | ({"ranks": "rank correlation"} if ranks else {}))
    for dataset, axis in blocks["error"].items():
        _draw_thirds(axis, view, rows[rows["dataset"] == dataset], methods)
        for length in rollout_lengths(study, dataset, methods):
            axis.axvline(length, color="0.3", linewidth=0.8, linestyle="--", zorder=1, label="rollout length H")
        axis.set_ylim(bottom=0)
        axis.set_xticks([h for h in STEPS if h == 1 or h % 5 == 0])
        axis.set_xlabel("open-loop steps h")
    for dataset, axis in blocks.get("ranks", {}).items():
        axis.axhline(0, color="0.3", linewidth=0.8, zorder=1)
        _draw_means(axis, dataset, ranks, drawn, study.main)
        switch_axis(axis, study.online_steps)
        axis.set_ylim(min(-0.1, axis.get_ylim()[0]), 1.02)
        axis.set_xlabel("environment steps")
    finish(figure, order=[*THIRDS, *view.labels])
    words = (
        "Error of the elites' mean after h steps along real actions not trained on yet, in standard deviations, of "
        f"{listed([*map(view.label, methods)])} by thirds of the online stage."
    )
    words += " Below: Spearman's correlation of u and the one-step error." if ranks else ""
    return figure, words + view.greyed(drawn)


def calibration(view: View) -> tuple[Figure, str] | None:
    """Draw observed against nominal coverage; None for a study that did not log it."""
    study, rows = view.study, numbered(view.study, numbers.COVERAGE, NOMINAL)
    if rows.empty:
        return None
    rows["x"] = rows["x"] / 100
    methods = numbers.shown_methods(study, rows)
    figure, blocks = block_grid(view, {"": ""})
    for dataset, axis in blocks[""].items():
        axis.plot([0, 1], [0, 1], color="0.3", linewidth=0.8, label="calibrated")
        _draw_thirds(axis, view, rows[rows["dataset"] == dataset], methods)
        axis.set_xlim(0.45, 1.0)
        axis.set_ylim(0.0, 1.02)
        axis.set_xticks([p / 100 for p in NOMINAL[:3]], [f"{p / 100:g}" for p in NOMINAL[:3]])
    finish(figure, "nominal mass of the interval", "observed share inside")
    return figure, (
        "Share of real next states and rewards, not trained on yet, inside the elites' central intervals; below the "
        f"diagonal the ensemble is too sure. Means of {listed([*map(view.label, methods)])} by thirds of the online "
        "stage."
    )


def _draw_changes(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the density of the relative change of u, a line for each third of the epochs."""
    axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
    axis.set_xlabel("relative change of u")
    if rows.empty:
        return
    low, high = (float(np.quantile(rows["value"], q)) for q in (OUTER, 1 - OUTER))
    pad = 0.05 * max(high - low, 1e-9)
    x = np.linspace(low - pad, high + pad, 201)
    for number, name in enumerate(THIRDS):
        points = rows.loc[rows["third"] == number, "value"].to_numpy(float)
        if len(points):
            style = {"color": COLOURS[number], "label": name, "linestyle": LINES[number]}
            if np.ptp(points) > 0:
                axis.plot(x, numbers.density(points, x), **style)
            else:  # an ensemble that does not change has all its mass in one point
                axis.axvline(points[0], **style)
    axis.set_xlim(low - pad, high + pad)
    axis.set_ylim(bottom=0)


def _draw_thirds(axis: Axes, view: View, rows: pd.DataFrame, methods: Sequence[str]) -> None:
    """Draw means over seeds of `value` at every x in every third, `rows` being those of one dataset with a column x.

    A run counts with its mean over the epochs of the third that have a value. One method: a colour and a 95 % t band
    for each third; several: colours for methods, lines for thirds.
    """
    for method in methods:
        for number, name in enumerate(THIRDS):
            mine = rows[(rows["method"] == method) & (rows["third"] == number)]
            if mine.empty:
                continue
            per_run = mine.groupby(["run", "x", "metric"])["value"].mean().reset_index()
            look = view.looks[method]
            own = Drawn(look.colour, LINES[number], f"{look.label}, {name}")
            if len(methods) == 1:
                own = Drawn(COLOURS[number], LINES[number], name)
            opacity = 0.18 if len(methods) == 1 else 0.0
            draw_curve(axis, mean_curve(per_run, "x"), own, opacity, marker="o", markersize=2)


def _draw_means(axis: Axes, dataset: str, cells: Cells, drawn: Mapping[str, Drawn], banded: str = "") -> None:
    """Draw a line for every method that has rows of this dataset, one of them with its t band."""
    for method, look in drawn.items():
        if (dataset, method) in cells:
            curve = mean_curve(cells[dataset, method], "env_steps")
            draw_curve(axis, curve, look, 0.18 if method == banded else 0.0, gid=method)


def _series(rows: pd.DataFrame, x: str) -> pd.Series[float]:
    curve = mean_curve(rows, x)
    return pd.Series(curve.mean, index=curve.x)


def _band(axis: Axes, edges: Sequence[pd.Series[float]], colour: Any) -> list[Array]:
    """Fill the area between two lines over the points that both have; returns its edges."""
    low, high = edges[0].align(edges[1], join="inner")
    axis.fill_between(low.index, low, high, color=colour, alpha=0.18, linewidth=0)
    return [np.asarray(low, dtype=float), np.asarray(high, dtype=float)]
