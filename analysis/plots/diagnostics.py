"""Figures of what the sampling, the penalty and the ensemble did: the paper's Figure 4, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.methods import listed
from analysis.io.rows import Results
from analysis.io.settings import is_prioritized, rollout_lengths
from analysis.plots.curves import X_LABEL, draw_mean, draw_offline, offline_stages
from analysis.plots.looks import Drawn, drawn_as
from analysis.plots.style import OFFLINE_COLOUR, finish, offline_x, robust_limits, styled, switch_axis, task_grid
from analysis.stats import diagnostics as numbers
from analysis.stats.diagnostics import EDGES, MEDIAN, NOMINAL, RANKS, STEPS, logged, numbered
from analysis.stats.intervals import Array, by_cell, mean_curve

SHARES = {"sampling/model_batches_online_share": "-", "sampling/start_states_online_share": ":"}  # metric -> line style
CLOSED = "closed form"
ONLINE = "environment steps since the switch"
THIRDS = ("first third", "middle third", "last third")
COLOURS = seaborn.color_palette("viridis_r", 4)[1:]  # light to dark; its first is too pale
LINES = (":", "--", "-")
OUTER = 0.01  # share of the points beyond either edge of a panel


@styled
def online_share(study: Results) -> tuple[Figure, str] | None:
    """Draw the share of online transitions among the sampled ones; None for a study that did not log it."""
    shares = {metric: by_cell(logged(study, [metric])) for metric in SHARES}
    drawn = drawn_as(study, {method for cells in shares.values() for method, _ in cells})
    if not drawn:
        return None
    figure, axes = task_grid(study)
    lacking, closed = [], False
    for dataset, axis in axes.items():
        for method, look in drawn.items():
            logged_here = [
                (cells[method, dataset], SHARES[m]) for m, cells in shares.items() if (method, dataset) in cells
            ]
            for rows, line in logged_here:
                draw_mean(axis, rows, "env_steps", look._replace(line=line))
            if not logged_here or not is_prioritized(study, method):
                continue
            if constants := numbers.schedule(study, method, dataset):
                axis.plot(*constants.curve(study.online_steps), "k--", linewidth=0.8, label=CLOSED)
                closed = True
            else:
                lacking.append(f"{method} on {dataset}")
        switch_axis(axis, study.online_steps, 0)
        axis.set_ylim(-0.03, 1.03)
    finish(figure, axes, ONLINE, "online share of draws", [*(look.label for look in drawn.values()), CLOSED])
    words = "Share of online transitions among the draws of an epoch; solid: the model's batches, dotted: start states."
    words += " Dashed: the closed form n / (n + N_off / (α t))." if closed else ""  # noqa: RUF001
    return figure, words + (f" None for {', '.join(lacking)}: N_off, S or α is unknown." if lacking else "")  # noqa: RUF001


@styled
def penalty(study: Results) -> tuple[Figure, str] | None:
    """Draw the median, or else the mean, of u over both stages with the 20-80 % band of one method; None without."""
    metric = numbers.centre(study)
    means = by_cell(logged(study, [metric]))
    drawn = drawn_as(study, {method for method, _ in means})
    if not drawn:
        return None
    banded = study.main if study.main in drawn else next(iter(drawn))
    before = offline_stages(study, metric)
    edges = [(by_cell(logged(study, [metric])), offline_stages(study, metric)) for metric in EDGES]
    figure, axes = task_grid(study)
    for dataset, axis in axes.items():
        updates = draw_offline(axis, before, dataset, study.online_steps, drawn_as(study), band=False)
        _draw_means(axis, dataset, means, drawn)
        online = [cells.get((banded, dataset), study.rows.iloc[:0]) for cells, _ in edges]
        areas, bands = _band(axis, [_series(rows, "env_steps") for rows in online], drawn[banded].colour), []
        own = [stage for _, found in edges for stage in found[dataset] if banded in stage.methods]
        if updates and len(own) == len(edges):
            late = updates - max(stage.updates for stage in own)
            lines = [_series(stage.rows, "updates") for stage in own]
            for line in lines:
                line.index = pd.Index(offline_x(line.index.to_numpy(float) + late, updates, study.online_steps))
            bands = _band(axis, lines, OFFLINE_COLOUR)
        robust_limits(axis, bands, areas)
        switch_axis(axis, study.online_steps, updates)
    finish(figure, axes, X_LABEL, "uncertainty u", [look.label for look in drawn.values()])
    return figure, (
        f"{'Median' if metric == MEDIAN else 'Mean (no median in these rows)'} of the uncertainty u of imagined "
        "transitions, before the penalty coefficient, over the seeds that finished; "
        f"bands: the 20-80 % range of u in `{banded}` and its offline stage (left of the rule)."
    )


@styled
def open_loop(study: Results) -> tuple[Figure, str] | None:
    """Draw error against the number of open-loop steps; None for a study that did not log it."""
    rows = numbered(study, numbers.OPEN_LOOP, STEPS)
    if rows.empty:
        return None
    methods = numbers.shown_methods(study, rows)
    figure, axes = task_grid(study)
    for dataset, axis in axes.items():
        _draw_thirds(axis, study, rows[rows["dataset"] == dataset], methods)
        for length in rollout_lengths(study, dataset, methods):
            axis.axvline(length, color="0.3", linewidth=0.8, linestyle="--", zorder=1, label="rollout length H")
        axis.set_ylim(bottom=0)
        axis.set_xticks([h for h in STEPS if h == 1 or h % 5 == 0])
    finish(figure, axes, "open-loop steps h", "error (standard deviations)")
    return figure, (
        "Error of the elites' mean after h steps along real actions, on transitions not trained on yet, in standard "
        f"deviations; means of {_named(methods)} by thirds of the online stage."
    )


@styled
def calibration(study: Results) -> tuple[Figure, str] | None:
    """Draw observed against nominal coverage; None for a study that did not log it."""
    rows = numbered(study, numbers.COVERAGE, NOMINAL)
    if rows.empty:
        return None
    rows["x"] = rows["x"] / 100
    methods = numbers.shown_methods(study, rows)
    figure, axes = task_grid(study)
    for dataset, axis in axes.items():
        axis.plot([0, 1], [0, 1], color="0.3", linewidth=0.8, label="calibrated")
        _draw_thirds(axis, study, rows[rows["dataset"] == dataset], methods)
        axis.set_xlim(0.45, 1.0)
        axis.set_ylim(0.0, 1.02)
        axis.set_xticks([p / 100 for p in NOMINAL[:3]], [f"{p / 100:g}" for p in NOMINAL[:3]])
    finish(figure, axes, "nominal mass of the interval", "observed share inside")
    return figure, (
        "Share of real next states and rewards, not trained on yet, inside the elites' central intervals; below the "
        f"diagonal the ensemble is too sure. Means of {_named(methods)} by thirds of the online stage."
    )


@styled
def rank_correlation(study: Results) -> tuple[Figure, str] | None:
    """Draw Spearman's coefficient between uncertainty and error; None for a study without it."""
    cells = by_cell(logged(study, [RANKS]))
    drawn = drawn_as(study, {method for method, _ in cells})
    if not drawn:
        return None
    figure, axes = task_grid(study)
    for dataset, axis in axes.items():
        axis.axhline(0, color="0.3", linewidth=0.8, zorder=1)
        _draw_means(axis, dataset, cells, drawn, study.main)
        switch_axis(axis, study.online_steps, 0)
        axis.set_ylim(min(-0.1, axis.get_ylim()[0]), 1.02)
    finish(figure, axes, ONLINE, "rank correlation", [look.label for look in drawn.values()])
    return figure, (
        "Spearman's correlation of the uncertainty u and the one-step error on transitions not trained on yet, mean "
        f"over seeds; band: 95 % Student-t interval of `{study.main}`."
    )


@styled
def relative_error(study: Results) -> tuple[Figure, str] | None:
    """Draw a density for each third of the epochs; None for a study that did not log the quantiles."""
    rows, undefined = numbers.relative_changes(study)
    if rows.empty:
        return None
    figure, axes = task_grid(study)
    for dataset, axis in axes.items():
        mine = rows[rows["dataset"] == dataset]
        axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
        if mine.empty:
            continue
        low, high = (float(np.quantile(mine["value"], q)) for q in (OUTER, 1 - OUTER))
        pad = 0.05 * max(high - low, 1e-9)
        x = np.linspace(low - pad, high + pad, 201)
        for number, name in enumerate(THIRDS):
            points = mine.loc[mine["third"] == number, "value"].to_numpy(float)
            if len(points):
                style = {"color": COLOURS[number], "label": name}
                if np.ptp(points) > 0:
                    axis.plot(x, numbers.density(points, x), LINES[number], **style)
                else:  # an ensemble that does not change has all its mass in one point
                    axis.axvline(points[0], linestyle=LINES[number], **style)
        axis.set_xlim(low - pad, high + pad)
        axis.set_ylim(bottom=0)
        axis.locator_params(axis="x", nbins=4)
    finish(figure, axes, "relative uncertainty error (u after a retraining - u before) / u before", "density", THIRDS)
    return figure, (
        "Density of (u after a retraining - u before) / u before on offline transitions that never train the ensemble, "
        f"our definition, of `{rows['method'].iloc[0]}`."
        + (f" Without {undefined} epochs of a run that have no finite value." if undefined else "")
    )


def _draw_thirds(axis: Axes, study: Results, rows: pd.DataFrame, methods: Sequence[str]) -> None:
    """Draw means over seeds of `value` at every x in every third, `rows` being those of one dataset with a column x.

    A run counts with its mean over the epochs of the third that have a value. One method: a colour and a 95 % t band
    for each third; several: colours for methods, lines for thirds.
    """
    looks = drawn_as(study)
    for method in methods:
        for number, name in enumerate(THIRDS):
            mine = rows[(rows["method"] == method) & (rows["third"] == number)]
            if mine.empty:
                continue
            per_run = mine.groupby(["run", "x", "metric"])["value"].mean().reset_index()
            look = looks[method]
            own = Drawn(look.colour, LINES[number], f"{look.label}, {name}")
            if len(methods) == 1:
                own = Drawn(COLOURS[number], LINES[number], name)
            draw_mean(axis, per_run, "x", own, 0.18 if len(methods) == 1 else 0.0, marker="o", markersize=2)


def _draw_means(
    axis: Axes,
    dataset: str,
    cells: Mapping[tuple[str, str], pd.DataFrame],
    drawn: Mapping[str, Drawn],
    banded: str = "",
) -> None:
    """A line for every method that has rows of this dataset, one of them with its t band."""
    for method, look in drawn.items():
        if (method, dataset) in cells:
            draw_mean(axis, cells[method, dataset], "env_steps", look, 0.18 if method == banded else 0.0)


def _series(rows: pd.DataFrame, x: str) -> pd.Series[float]:
    curve = mean_curve(rows, x)
    return pd.Series(curve.mean, index=curve.x)


def _band(axis: Axes, edges: Sequence[pd.Series[float]], colour: Any) -> list[Array]:
    """The area between two lines over the points that both have; returns its edges."""
    low, high = edges[0].align(edges[1], join="inner")
    axis.fill_between(low.index, low, high, color=colour, alpha=0.18, linewidth=0)
    return [np.asarray(low, dtype=float), np.asarray(high, dtype=float)]


def _named(methods: Sequence[str]) -> str:
    return listed([f"`{method}`" for method in methods])
