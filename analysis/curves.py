"""Learning curves across the switch: a panel per dataset, the offline stage left of 0, the methods right of it."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import captions
from analysis.figures import STYLE, Array, finish, grid, mean_curve, offline_x, robust_limits, switch_axis
from analysis.methods import OFFLINE_COLOUR, OFFLINE_STAGE, REFERENCES, colours, ordered
from analysis.rows import SCORE, Study, select, source_of
from analysis.tables import group, most_seeds
from analysis.transfer import summarise
from moore.errors import UserError

X_LABEL = "environment steps since the switch (grey: gradient updates before it)"
Colour = tuple[float, float, float]


def learning_curves(study: Study) -> tuple[Figure, str]:
    """The figure and its caption."""
    runs = summarise(study)
    palette = colours(study.methods)
    figure, axes = grid(study.datasets)
    with mpl.rc_context(STYLE):
        for axis, dataset in zip(axes, study.datasets, strict=True):
            _panel(axis, study, runs, dataset, palette)
    finish(figure, axes, X_LABEL, "score (0-100)")
    return figure, captions.learning_curves(study, runs, most_seeds(runs))


def draw_offline(axis: Axes, study: Study, dataset: str, metric: str) -> tuple[int, list[Array]]:
    """The shared offline stage in grey, a run that stopped early as a thin line of its own.

    Returns its number of updates (0 if there is none) and the lines drawn.
    """
    stage = study.rows[(study.rows["dataset"] == dataset) & (study.rows["method"] == OFFLINE_STAGE)]
    rows = select(stage, metric, "offline")
    total = int(stage["updates"].max()) if len(rows) else 0
    if total == 0:
        return 0, []
    complete = rows.groupby("run")["updates"].transform("max") == rows["updates"].max()
    curve = mean_curve(rows[complete], "updates")
    x = offline_x(curve.x, total, study.online_steps)
    axis.fill_between(x, curve.low, curve.high, color=OFFLINE_COLOUR, alpha=0.18, linewidth=0)
    axis.plot(x, curve.mean, color=OFFLINE_COLOUR, label="offline stage")
    drawn = [curve.mean]
    for _, own in rows[~complete].sort_values("updates").groupby("run"):
        values = own["value"].to_numpy(float)
        own_x = offline_x(own["updates"].to_numpy(float), total, study.online_steps)
        axis.plot(own_x, values, color=OFFLINE_COLOUR, linewidth=0.6)
        axis.plot(own_x[-1:], values[-1:], "x", color=OFFLINE_COLOUR, markersize=5, zorder=3)
        drawn.append(values)
    return total, drawn


def _panel(axis: Axes, study: Study, runs: pd.DataFrame, dataset: str, palette: dict[str, Colour]) -> None:
    updates, means = draw_offline(axis, study, dataset, SCORE)
    bands: list[Array] = []
    scores = select(study.rows, SCORE, "online")
    for method in ordered(palette):
        mine = group(runs, dataset, method)
        of_method = scores[(scores["method"] == method) & (scores["dataset"] == source_of(dataset, method, runs))]
        complete = of_method[of_method["run"].isin(mine.loc[mine["finished"], "run"])]
        style = "--" if method in REFERENCES else "-"
        if len(complete):
            _same_steps(complete, study.name, dataset, method)
            curve = mean_curve(complete, "env_steps")
            axis.fill_between(curve.x, curve.low, curve.high, color=palette[method], alpha=0.15, linewidth=0)
            axis.plot(curve.x, curve.mean, style, color=palette[method], label=method)
            means.append(curve.mean)
            bands += [curve.low, curve.high]
        for run in mine[~mine["finished"]].to_dict("records"):
            own = of_method[
                (of_method["run"] == run["run"]) & (of_method["env_steps"] <= run["last_step"])
            ].sort_values("env_steps")
            axis.plot(own["env_steps"], own["value"], style, color=palette[method], linewidth=0.6)
            axis.plot(
                own["env_steps"].iloc[-1:], own["value"].iloc[-1:], "x", color=palette[method], markersize=5, zorder=3
            )
            means.append(own["value"].to_numpy(float))
    switch_axis(axis, study.online_steps, updates)
    robust_limits(axis, means, bands)


def _same_steps(rows: pd.DataFrame, study: str, dataset: str, method: str) -> None:
    """A mean over seeds is only one if every run was evaluated at the same steps."""
    steps = rows.groupby("run")["env_steps"].apply(lambda s: tuple(sorted(s)))
    if steps.nunique() > 1:
        raise UserError(
            f"study {study}: column env_steps: runs of {method} on {dataset} were evaluated at different steps"
        )
