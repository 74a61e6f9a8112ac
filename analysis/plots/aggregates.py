"""Figures of aggregates over tasks (Agarwal et al. 2021), from the numbers of analysis/stats/aggregates.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.io.methods import listed
from analysis.io.rows import Results
from analysis.plots.curves import WIDE
from analysis.plots.looks import Drawn, drawn_as
from analysis.plots.style import finish, grid, styled, switch_axis
from analysis.stats.aggregates import STATISTICS, Band, final_statistics, improvements, iqm_by_step, profiles
from analysis.stats.intervals import COVERAGE, Interval

BOOTSTRAP = f"95 % by a widened stratified bootstrap ({COVERAGE})"


@styled
def iqm_curves(study: Results) -> tuple[Figure, str] | None:
    """Draw the IQM over tasks at every evaluation; None without a method that has all tasks."""
    found = iqm_by_step(study)
    if not found:
        return None
    figure, axes = grid([[f"IQM over {len(study.datasets)} tasks"]], 2.4)
    (axis,) = axes.values()
    drawn = _bands(axis, study, found, 0.15, 1)
    switch_axis(axis, study.online_steps, 0)
    finish(figure, axes, "environment steps since the switch", "score (0-100)", [one.label for one in drawn.values()])
    words = f"Interquartile mean over the runs of {len(study.datasets)} tasks at every evaluation; band: {BOOTSTRAP}."
    return figure, words + _without(study, found)


@styled
def interval_plot(study: Results) -> tuple[Figure, str] | None:
    """Draw aggregates of the final scores, a panel each, a row per method; None without a method that has all tasks."""
    found = final_statistics(study)
    if not found:
        return None
    drawn = drawn_as(study, found)
    figure, axes = grid([list(STATISTICS)], 0.5 + 0.15 * max(4, len(found)))
    for name, axis in axes.items():
        _rows(axis, {method: found[method][name] for method in found}, drawn, name == next(iter(axes)))
        axis.locator_params(axis="x", nbins=4)
    finish(figure, axes, "score / 100", "")
    words = (
        f"Final scores over tasks; bars: {BOOTSTRAP}; of the mean, by Student's t. Optimality gap: by how much scores "
        "fall short of 1 on average."
    )
    return figure, words + _without(study, found)


@styled
def profile_plot(study: Results) -> tuple[Figure, str] | None:
    """Draw the share of runs with a final score above a threshold; None without a method that has all tasks."""
    found = profiles(study)
    if not found:
        return None
    figure, axes = grid([["performance profiles"]], 2.4)
    (axis,) = axes.values()
    drawn = _bands(axis, study, found, 0.1, 100)
    axis.set_ylim(-0.02, 1.02)
    finish(figure, axes, "score threshold", "share of runs above", [one.label for one in drawn.values()])
    words = f"Share of runs with a final score above a threshold, mean over tasks; band: {BOOTSTRAP}."
    return figure, words + _without(study, found)


@styled
def improvement_plot(study: Results) -> tuple[Figure, str] | None:
    """Draw P(reference > other) for every other method; None if the reference or all others lack a task."""
    found = improvements(study)
    if not found:
        return None
    figure, axes = grid([[f"P({drawn_as(study)[study.main].label} > other)"]], 0.5 + 0.15 * max(4, len(found)))
    (axis,) = axes.values()
    _rows(axis, found, drawn_as(study, found), True)
    axis.axvline(0.5, color="0.3", linewidth=0.8, linestyle="--", zorder=1)
    axis.set_xlim(-0.02, 1.02)
    finish(figure, axes, "probability of improvement", "")
    words = f"Probability that a run of `{study.main}` ends higher on the same task (ties one half); bars: {BOOTSTRAP}."
    return figure, words + _without(study, [study.main, *found])


def _bands(axis: Axes, study: Results, found: Mapping[str, Band], alpha: float, unit: float) -> dict[str, Drawn]:
    """A line with its band for every method, x in `unit`s; returns how they are drawn, in the order of the legend."""
    drawn = drawn_as(study, found)
    for method, look in drawn.items():
        x, point, low, high = found[method]
        front: dict[str, Any] = {"linewidth": 2.0, "zorder": 2.5} if method == study.main and len(found) > WIDE else {}
        axis.fill_between(unit * x, low, high, color=look.colour, alpha=alpha, linewidth=0)
        axis.plot(unit * x, point, look.line, color=look.colour, label=look.label, **front)
    return drawn


def _rows(axis: Axes, values: Mapping[str, Interval], drawn: Mapping[str, Drawn], named: bool) -> None:
    """A row per method: its interval, given in hundredths, as a bar and its point as a black line."""
    for row, (method, look) in enumerate(drawn.items()):
        mean, low, high = (v / 100 for v in (values[method].mean, values[method].low, values[method].high))
        if values[method].known:
            axis.barh([row], [high - low], left=[low], height=0.6, color=look.colour, alpha=0.75, linewidth=0)
        axis.plot([mean, mean], [row - 0.3, row + 0.3], color="black", linewidth=1.2)
    axis.set_yticks(range(len(drawn)), [look.label for look in drawn.values()] if named else [])
    axis.set_ylim(len(drawn) - 0.5, -0.5)
    axis.use_sticky_edges = False
    axis.autoscale_view(scaley=False)


def _without(study: Results, shown: Iterable[str]) -> str:
    """Who is not in an aggregate, or nothing."""
    lacking = [method for method in drawn_as(study) if method not in set(shown)]
    return f" Without {listed(lacking)}: a task is missing, unfinished or diverged." if lacking else ""
