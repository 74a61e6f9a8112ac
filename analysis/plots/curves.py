"""Learning curves across the switch: a panel per dataset, the offline stage left of 0, the methods right of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.imported import APART, SEEDS, SPREAD
from analysis.io.methods import IMPORTED
from analysis.io.rows import SCORE, Cells, environment, source
from analysis.io.stages import one_stage, stages
from analysis.plots.looks import Drawn
from analysis.plots.style import OFFLINE_COLOUR, block_grid, finish, offline_x, robust_limits, short, switch_axis
from analysis.plots.view import GREY, View
from analysis.stats.compare import cells, most_seeds
from analysis.stats.intervals import Array, Curve, mean_curve
from moore.base.errors import UserError

COLUMNS = {"steps": "env_steps", "wall": "wall_seconds", "updates": "updates"}  # of rows
X_LABELS = {
    "steps": "environment steps (before 0: gradient updates)",
    "wall": "seconds of the process, from the switch on",
    "updates": "gradient updates, from the switch on",
}
METRICS = {"score": SCORE, "return": "eval/return"}
Y_LABELS = {"score": "score (0-100)", "return": "return"}
SOURCES = {"self": "self-made data", "d4rl": "D4RL's data", "minari": "Minari's data"}
OFFLINE = "offline stage"
BAND = 0.1  # opacity


def learning_curves(view: View) -> tuple[Figure, str] | None:
    """Draw a panel per dataset; None for a study without rows of what is asked for."""
    study, metric, column = view.study, METRICS[view.y], COLUMNS[view.x]
    runs, scored, apart = cells(study), study.select(metric), study.rows[:0]
    if view.y == "score" and view.x == "steps":
        apart = pd.concat([study.select(name) for name in (APART, SPREAD, SEEDS)])
    if (scored.empty or scored[column].isna().all()) and apart.empty:
        return None
    scores, theirs = Cells(scored), Cells(apart)
    figure, blocks = block_grid(view, {"": ""})
    for dataset, axis in blocks[""].items():
        budget = _budget(scored, dataset, column, study.online_steps)
        offline = draw_offline(axis, view, metric, dataset, budget, not view.seeds)
        bands: list[Array] = []
        for method, look in view.among(study.methods).items():
            mine, rows = runs[dataset, method], scores[dataset, method]
            complete = rows[rows["run"].isin(mine.loc[mine["finished"], "run"])]
            if len(complete):
                if (complete.groupby("env_steps")["run"].nunique() != complete["run"].nunique()).any():
                    problem = f"runs of {method} on {dataset} were evaluated at different steps"  # of which is no mean
                    raise UserError(f"study {study.name}: column env_steps: {problem}")
                at = complete.groupby("env_steps")[column].mean()
                if view.seeds and look != GREY:
                    for _, own in complete.sort_values("env_steps").groupby("run"):
                        axis.plot(own[column], own["value"], color=look.colour, linewidth=0.5, alpha=0.4, gid=method)
                band = 0.0 if view.seeds or look == GREY else BAND
                bands += draw_curve(axis, mean_curve(complete, "env_steps"), look, band, at, gid=method)
            for run in mine[~mine["finished"]].to_dict("records"):
                own = rows[(rows["run"] == run["run"]) & (rows["env_steps"] <= run["last_step"])]
                _draw_stopped(axis, own, column, look, method)
            _draw_apart(axis, theirs[dataset, method], look)
        robust_limits(axis, bands, [np.zeros(1)] if view.y == "score" else [])
        switch_axis(axis, budget, offline)
    finish(figure, X_LABELS[view.x], Y_LABELS[view.y], view.labels)
    return figure, caption(view)


def draw_curve(
    axis: Axes, curve: Curve, look: Drawn, band: float = 0.0, places: pd.Series[float] | None = None, **line: Any
) -> list[Array]:
    """Draw a curve, and its band with an opacity of `band`.

    places: where every x is drawn, if elsewhere. line: matplotlib's names of a line's properties; its gid, by which a
    page knows whose it is, is the band's too. Returns the edges of the band, none where it is not drawn.
    """
    at = curve.x if places is None else places.reindex(curve.x).to_numpy(float)
    grey: dict[str, Any] = {"linewidth": 0.8, "zorder": 1.8} if look.colour == GREY.colour else {}
    axis.plot(at, curve.mean, color=look.colour, linestyle=look.line, label=look.label, **(grey | line))
    if not band:
        return []
    axis.fill_between(at, curve.low, curve.high, color=look.colour, alpha=band, linewidth=0, gid=line.get("gid"))
    return [curve.low, curve.high]


def caption(view: View) -> str:
    """Say what the learning curves show."""
    study, seeds = view.study, most_seeds(view.study)
    over = f"mean over {seeds} seed{'' if seeds == 1 else 's'}"
    over += ", thin: each" if view.seeds else " with its 95 % Student-t band"
    at = " against the mean time of an evaluation; runs trained together share a process." if view.x == "wall" else "."
    own = "" if one_stage(study, METRICS[view.y]) else " (thin, as the method that starts from it)"
    return (
        f"Evaluation {view.y}, {SOURCES.get(source(study.datasets[0]), 'own data')}, {over}{at} Left of the rule: the "
        f"offline stage{own}. A cross ends a run that stopped early.{view.greyed(study.methods)}"
    )


def draw_offline(axis: Axes, view: View, metric: str, dataset: str, budget: float, band: bool = True) -> str:
    """Draw the offline stages left of the switch, a run that stopped early as a thin line of its own.

    One that all methods share is grey, with its t `band`. Where methods have their own, each is a thin line that looks
    like the first method that starts from it, so that the eye can follow a method across the switch. Shorter stages end
    at the switch too. Returns the length of the longest in words, in updates or, against wall time, in seconds.
    """
    found, shared = stages(view.study, metric)[dataset], one_stage(view.study, metric)
    total, wall = max((stage.updates for stage in found), default=0), 0.0
    for stage in found:
        first = next((view.lines[name] for name in stage.methods if name in view.lines), None)
        look = Drawn(OFFLINE_COLOUR, "-", OFFLINE) if shared or first is None else first._replace(label="")
        complete = stage.rows.groupby("run")["updates"].transform("max") == stage.rows["updates"].max()
        rows = stage.rows.assign(x=offline_x(stage.rows["updates"] + total - stage.updates, total, budget))
        opacity = BAND if shared and band else 0.0
        draw_curve(axis, mean_curve(rows[complete], "x"), look, opacity, linewidth=1.0 if shared else 0.7)
        for _, own in rows[~complete].groupby("run"):
            _draw_stopped(axis, own, "x", look)
        wall = max(wall, float(stage.rows.groupby("run")["wall_seconds"].max().mean()))
    return "" if not total else short(wall) if view.x == "wall" else short(total)


def _budget(rows: pd.DataFrame, dataset: str, column: str, online_steps: int) -> float:
    """Return the right end of the axis: the study's steps, or the mean end of the slowest method here."""
    if column == "env_steps":
        return online_steps
    here = rows[rows["dataset"].isin([dataset, f"none:{environment(dataset)}"])]
    return float(here.groupby(["method", "run"])[column].max().groupby("method").mean().max())


def _draw_stopped(axis: Axes, rows: pd.DataFrame, x: str, look: Drawn, gid: str | None = None) -> None:
    """Draw a run that stopped early: a thin line with a cross at its end."""
    rows = rows.sort_values(x)
    words = look.label if len(rows) and gid and gid.endswith(IMPORTED) else ""  # it may be all that there is of them
    axis.plot(rows[x], rows["value"], color=look.colour, linestyle=look.line, linewidth=0.6, gid=gid, label=words)
    axis.plot(rows[x].iloc[-1:], rows["value"].iloc[-1:], "x", color=look.colour, markersize=5, zorder=3, gid=gid)


def _draw_apart(axis: Axes, rows: pd.DataFrame, look: Drawn) -> None:
    """Other people's curves at their own steps, a line a run, and their summaries, points with their ±."""
    for _, own in rows.groupby("run"):
        wide = own.pivot_table(index="env_steps", columns="metric", values="value")
        if SPREAD in wide or SEEDS in wide:
            half = wide[SPREAD].fillna(0) if SPREAD in wide else None
            axis.errorbar(wide.index, wide[APART], half, fmt="D", color=look.colour, markersize=3, label=look.label)
        else:
            axis.plot(wide.index, wide[APART], color=look.colour, linestyle=look.line, linewidth=0.8, label=look.label)
