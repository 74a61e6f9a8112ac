"""Learning curves across the switch: a panel per dataset, the offline stage left of 0, the methods right of it."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import captions
from analysis.figures import STYLE, Array, finish, grid, mean_curve, offline_x, robust_limits, switch_axis
from analysis.methods import OFFLINE_COLOUR, Look, looks, ordered
from analysis.rows import SCORE, Study, select, source_of
from analysis.stages import one_stage, stages
from analysis.tables import WIDE, group, most_seeds
from analysis.transfer import summarise
from moore.errors import UserError

X_LABEL = "environment steps since the switch (grey: gradient updates before it)"


def learning_curves(study: Study) -> tuple[Figure, str]:
    """The figure and its caption."""
    runs = summarise(study)
    drawn_as = looks(study.methods)
    figure, axes = grid(study.datasets)
    with mpl.rc_context(STYLE):
        for axis, dataset in zip(axes, study.datasets, strict=True):
            _panel(axis, study, runs, dataset, drawn_as)
    finish(figure, axes, X_LABEL, "score (0-100)")
    return figure, captions.learning_curves(study, runs, most_seeds(runs))


def draw_offline(
    axis: Axes, study: Study, dataset: str, metric: str, drawn_as: dict[str, Look]
) -> tuple[int, list[Array]]:
    """The offline stages left of the switch, a run that stopped early as a thin line of its own.

    One that all methods share is grey, with a band. Where methods have their own, each is a thin line that looks like
    the first method that starts from it, so that the eye can follow a method across the switch. Shorter stages end at
    the switch too. Returns the largest number of updates (0 without an offline stage) and the lines drawn.
    """
    found, shared = stages(study, dataset, metric), one_stage(study, metric)
    total = max((stage.updates for stage in found), default=0)
    drawn: list[Array] = []
    for stage in found:
        colour, line = (OFFLINE_COLOUR, "-") if shared else drawn_as[stage.methods[0]]
        rows, late = stage.rows, total - stage.updates
        complete = rows.groupby("run")["updates"].transform("max") == rows["updates"].max()
        curve = mean_curve(rows[complete], "updates")
        x = offline_x(curve.x + late, total, study.online_steps)
        if shared:
            axis.fill_between(x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(x, curve.mean, color=colour, label="offline stage")
        else:
            axis.plot(x, curve.mean, line, color=colour, linewidth=0.8)
        drawn.append(curve.mean)
        for _, own in rows[~complete].sort_values("updates").groupby("run"):
            values = own["value"].to_numpy(float)
            own_x = offline_x(own["updates"].to_numpy(float) + late, total, study.online_steps)
            axis.plot(own_x, values, color=colour, linewidth=0.6)
            axis.plot(own_x[-1:], values[-1:], "x", color=colour, markersize=5, zorder=3)
            drawn.append(values)
    return total, drawn


def _panel(axis: Axes, study: Study, runs: pd.DataFrame, dataset: str, drawn_as: dict[str, Look]) -> None:
    updates, means = draw_offline(axis, study, dataset, SCORE, drawn_as)
    bands: list[Array] = []
    scores = select(study.rows, SCORE, "online")
    crowded = len(drawn_as) > WIDE
    opacity = 0.06 if crowded else 0.15  # many bands on top of each other hide the lines
    for method in ordered(drawn_as):
        mine = group(runs, dataset, method)
        of_method = scores[(scores["method"] == method) & (scores["dataset"] == source_of(dataset, method, runs))]
        complete = of_method[of_method["run"].isin(mine.loc[mine["finished"], "run"])]
        colour, line = drawn_as[method]
        if len(complete):
            _same_steps(complete, study.name, dataset, method)
            curve = mean_curve(complete, "env_steps")
            axis.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=opacity, linewidth=0)
            (drawn,) = axis.plot(curve.x, curve.mean, line, color=colour, label=method)
            if crowded and method == study.main:
                drawn.set(linewidth=2.0, zorder=2.5)  # in front of the others
            means.append(curve.mean)
            bands += [curve.low, curve.high]
        for run in mine[~mine["finished"]].to_dict("records"):
            own = of_method[
                (of_method["run"] == run["run"]) & (of_method["env_steps"] <= run["last_step"])
            ].sort_values("env_steps")
            axis.plot(own["env_steps"], own["value"], line, color=colour, linewidth=0.6)
            axis.plot(own["env_steps"].iloc[-1:], own["value"].iloc[-1:], "x", color=colour, markersize=5, zorder=3)
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
