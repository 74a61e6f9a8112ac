"""Figures of aggregates over tasks (Agarwal et al. 2021), from the numbers of analysis/stats/aggregates.py."""

from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.io.methods import listed, ordered
from analysis.plots.curves import BAND, draw_curve
from analysis.plots.looks import Drawn
from analysis.plots.style import finish, grid, method_rows, page_width, switch_axis
from analysis.plots.view import COLUMN, GREY, View
from analysis.stats.aggregates import final_statistics, improvements, iqm_by_step, profiles
from analysis.stats.intervals import COVERAGE, Interval

BOOTSTRAP = f"95 % by a widened stratified bootstrap ({COVERAGE})"
STATISTICS = ("IQM", "mean", "optimality gap")
ROW = 0.14  # inches, of a method
CURVE = "IQM over steps"


def aggregates(view: View) -> tuple[Figure, str] | None:
    """Draw the IQM over tasks by step and, a row per method, aggregates of final scores; None if none has all tasks."""
    study = view.study
    found, finals = iqm_by_step(study), final_statistics(study)
    if not found:
        return None
    drawn = {name: look for name, look in view.looks.items() if name in finals}
    narrow = page_width(view, 4) < 2 * COLUMN
    keys = [[CURVE, CURVE], [*STATISTICS[:2]]] if narrow else [[CURVE, *STATISTICS]]
    rows = 0.45 + ROW * max(6, len(found))
    figure, axes = grid(keys, {name: name for name in STATISTICS}, page_width(view, 4), *[1.5] * narrow, rows)
    for method, look in view.among(found).items():
        draw_curve(axes[CURVE], found[method], look, BAND * (look != GREY), gid=method)
    switch_axis(axes[CURVE], study.online_steps)
    axes[CURVE].set_xlabel("environment steps")
    axes[CURVE].set_ylabel("score (0-100)")
    for name in [name for name in STATISTICS if name in axes]:
        _rows(axes[name], {method: finals[method][name] for method in drawn}, drawn, name == STATISTICS[0])
        axes[name].set_xlabel("final score (0-100)" if name == "mean" else "")
    finish(figure, order=view.labels)
    gap = "" if narrow else " Optimality gap: by how much scores fall short of 100."
    words = f"Interquartile mean (IQM) over the runs of {len(study.datasets)} tasks, and final scores; {BOOTSTRAP}."
    return figure, words + gap + view.greyed(found) + _without(view, found)


def profile_plot(view: View) -> tuple[Figure, str] | None:
    """Draw the share of runs with a final score above a threshold; None without a method that has all tasks."""
    found = profiles(view.study)
    if not found:
        return None
    figure, axes = grid([["profiles"]], {}, page_width(view, 1), 2.0)
    axis = axes["profiles"]
    for method, look in view.among(found).items():
        draw_curve(axis, found[method], look, BAND * (look != GREY), gid=method)
    axis.set_ylim(-0.02, 1.02)
    finish(figure, "score threshold", "share of runs", view.labels)
    words = f"Performance profile: share of runs with a final score above a threshold, mean over tasks; {BOOTSTRAP}."
    return figure, words + view.greyed(found) + _without(view, found)


def improvement_plot(view: View) -> tuple[Figure, str] | None:
    """Draw P(reference > other) for every other method; None if the reference or all others lack a task."""
    found = improvements(view.study)
    if not found:
        return None
    ours = view.label(view.study.main)
    figure, axes = grid([["improvement"]], {}, page_width(view, 1), 0.3 + ROW * max(4, len(found)))
    (axis,) = axes.values()
    shown = {name: look for name, look in view.looks.items() if name in found}
    _rows(axis, found, shown, True)
    axis.axvline(50, color="0.3", linewidth=0.8, linestyle="--", zorder=1)
    axis.set_xlim(-2, 102)
    axis.set_xticks([0, 25, 50, 75, 100])
    finish(figure, f"← lower    P({view.reference} > other), %    higher →")
    words = f"Probability that a run of {ours} ends higher than another's on the same task, ties one half; {BOOTSTRAP}."
    return figure, words + _without(view, [view.study.main, *found])


def _rows(axis: Axes, values: Mapping[str, Interval], drawn: Mapping[str, Drawn], named: bool) -> None:
    """Draw a row per method: its interval as a bar and its point as a black line."""
    for row, (method, look) in enumerate(drawn.items()):
        one = values[method]
        if one.known:
            where, size = (one.low, row - 0.3), (one.high - one.low, 0.6)
            axis.add_patch(Rectangle(where, *size, color=look.colour, alpha=0.45, linewidth=0, gid=method))
        axis.plot([one.mean, one.mean], [row - 0.35, row + 0.35], color="black", linewidth=1.2, gid=method)
    method_rows(axis, [look.label for look in drawn.values()], named)
    axis.use_sticky_edges = False
    axis.autoscale_view(scaley=False)


def _without(view: View, shown: Iterable[str]) -> str:
    """Who is not in an aggregate, or nothing."""
    lacking = [view.label(method) for method in ordered(view.study.methods) if method not in set(shown)]
    return f" Without {listed(lacking)}: a task is missing, unfinished or diverged." if lacking else ""
