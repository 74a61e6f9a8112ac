"""Learning curves across the switch: a panel per dataset, the offline stage left of 0, the methods right of it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.rows import SCORE, Results, select, source_of
from analysis.io.stages import Stage, one_stage, stages
from analysis.plots.looks import Drawn, drawn_as
from analysis.plots.style import OFFLINE_COLOUR, finish, offline_x, robust_limits, styled, switch_axis, task_grid
from analysis.stats.compare import group, most_seeds
from analysis.stats.intervals import Array, by_cell, mean_curve
from analysis.stats.transfer import summarise
from moore.base.errors import UserError

X_LABEL = "environment steps since the switch (grey: gradient updates before it)"
OFFLINE = "offline stage"
WIDE = 6  # methods whose bands can still be told apart


@styled
def learning_curves(study: Results) -> tuple[Figure, str]:
    """Draw a panel per dataset; returns the figure and its caption."""
    runs, drawn = summarise(study), drawn_as(study)
    scores, before = by_cell(select(study.rows, SCORE, "online")), offline_stages(study, SCORE)
    figure, axes = task_grid(study)
    for dataset, axis in axes.items():
        updates = draw_offline(axis, before, dataset, study.online_steps, drawn)
        bands: list[Array] = []
        for method, look in drawn.items():
            mine = group(runs, dataset, method)
            rows = scores.get((method, source_of(dataset, method, runs)), study.rows.iloc[:0])
            complete = rows[rows["run"].isin(mine.loc[mine["finished"], "run"])]
            if len(complete):
                _same_steps(complete, study.name, dataset, method)
                style = _in_a_crowd(method == study.main) if len(drawn) > WIDE else {"band": 0.15}
                bands += draw_mean(axis, complete, "env_steps", look, **style)
            for run in mine[~mine["finished"]].to_dict("records"):
                own = rows[(rows["run"] == run["run"]) & (rows["env_steps"] <= run["last_step"])]
                _draw_stopped(axis, own, "env_steps", look.colour, look.line)
        robust_limits(axis, bands)
        switch_axis(axis, study.online_steps, updates)
    finish(figure, axes, X_LABEL, "score (0-100)", [look.label for look in drawn.values()])
    return figure, caption(study)


def draw_mean(axis: Axes, rows: pd.DataFrame, x: str, look: Drawn, band: float = 0.0, **line: Any) -> list[Array]:
    """Draw the mean over the runs in `rows` along their column `x`, and its 95 % t band with an opacity of `band`.

    line: matplotlib's names of a line's properties. Returns the edges of the band.
    """
    curve = mean_curve(rows, x)
    if band:
        axis.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=band, linewidth=0)
    axis.plot(curve.x, curve.mean, look.line, color=look.colour, label=look.label, **line)
    return [curve.low, curve.high]


def caption(study: Results) -> str:
    """Say what the learning curves show."""
    seeds = most_seeds(summarise(study))
    own = "" if one_stage(study, SCORE) else " (thin, as the method that starts from it)"
    return (
        f"Evaluation score, mean over {seeds} seed{'' if seeds == 1 else 's'} with its 95 % Student-t band. Left of "
        f"the rule: the offline stage{own}, in gradient updates. A cross ends a run that stopped early."
    )


def offline_stages(study: Results, metric: str) -> dict[str, list[Stage]]:
    """Find the offline stages of every dataset that logged `metric`."""
    return {dataset: stages(study, dataset, metric) for dataset in study.datasets}


def draw_offline(
    axis: Axes, before: dict[str, list[Stage]], dataset: str, budget: int, drawn: dict[str, Drawn], band: bool = True
) -> int:
    """Draw the offline stages `before` the switch left of it, a run that stopped early as a thin line of its own.

    One that all methods share is grey, with its t `band`. Where methods have their own, each is a thin line that looks
    like the first method that starts from it, so that the eye can follow a method across the switch. Shorter stages end
    at the switch too. Returns the largest number of updates, 0 without an offline stage.
    """
    found, shared = before[dataset], all(len(stages) <= 1 for stages in before.values())
    total = max((stage.updates for stage in found), default=0)
    for stage in found:
        look = None if shared else drawn.get(stage.methods[0])
        colour, line = (look.colour, look.line) if look else (OFFLINE_COLOUR, "-")
        complete = stage.rows.groupby("run")["updates"].transform("max") == stage.rows["updates"].max()
        rows = stage.rows.assign(x=offline_x(stage.rows["updates"] + total - stage.updates, total, budget))
        width = {} if shared else {"linewidth": 0.8}
        drawn_mean = Drawn(colour, line, OFFLINE if shared else "")
        draw_mean(axis, rows[complete], "x", drawn_mean, 0.18 if shared and band else 0.0, **width)
        for _, own in rows[~complete].groupby("run"):
            _draw_stopped(axis, own, "x", colour, "-")
    return total


def _in_a_crowd(ours: bool) -> dict[str, Any]:
    """Thin lines but for ours, and faint bands: many on top of each other hide the lines."""
    return {"band": 0.06, "linewidth": 2.0 if ours else 0.9, "zorder": 2.5 if ours else 2.0}


def _draw_stopped(axis: Axes, rows: pd.DataFrame, x: str, colour: Any, line: str) -> None:
    """A run that stopped early: a thin line with a cross at its end."""
    rows = rows.sort_values(x)
    axis.plot(rows[x], rows["value"], line, color=colour, linewidth=0.6)
    axis.plot(rows[x].iloc[-1:], rows["value"].iloc[-1:], "x", color=colour, markersize=5, zorder=3)


def _same_steps(rows: pd.DataFrame, study: str, dataset: str, method: str) -> None:
    """A mean over seeds is only one if every run was evaluated at the same steps."""
    counts = rows.groupby("env_steps")["run"].nunique()
    if (counts != rows["run"].nunique()).any():
        raise UserError(
            f"study {study}: column env_steps: runs of {method} on {dataset} were evaluated at different steps"
        )
