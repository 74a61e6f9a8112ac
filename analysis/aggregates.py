"""Aggregates over tasks: IQM learning curves, interval plot, performance profiles, probability of improvement.

After Agarwal et al. 2021 (arXiv 2108.13264), with their library in analysis/stats.py. They take at least two tasks, and
a method enters only if it has a finished and no diverged run on each: other tasks would be another mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import figure_captions
from analysis.drawn import Drawn, drawn_as
from analysis.figures import STYLE, Array, finish, grid, switch_axis
from analysis.rows import SCORE, Study, reject_mixed_sources, select, source_of
from analysis.stats import (
    Interval,
    bootstrap,
    bootstrap_curve,
    bootstrap_intervals,
    improvement,
    iqm,
    mean_over_tasks,
    median_over_tasks,
    optimality_gap,
    profile,
)  # fmt: skip
from analysis.tables import WIDE, group
from analysis.transfer import summarise
from moore.base.errors import UserError

STATISTICS = {
    "IQM": iqm, "mean": mean_over_tasks, "median": median_over_tasks, "optimality gap": optimality_gap,
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """The finished runs of a method on every task: runs [n_i] of each stratum, and the stratum of every task.

    A stratum is a dataset, or an environment for runs from scratch, which stand beside several of its datasets.
    """

    runs: list[pd.DataFrame]
    tasks: list[int]

    @property
    def finals(self) -> list[Array]:
        """Final scores [n_i] of every stratum, on the scale 0-1."""
        return [runs["final"].to_numpy(float) / 100 for runs in self.runs]


def samples(study: Study) -> dict[str, Sample]:
    """Every method that has a finished and no diverged run on all tasks; none in a study of one task."""
    reject_mixed_sources(study)
    runs, found = summarise(study), {}
    for method in drawn_as(study) if len(study.datasets) > 1 and len(runs) else []:
        groups = {source_of(dataset, method, runs): group(runs, dataset, method) for dataset in study.datasets}
        finished = [mine[mine["finished"]] for mine in groups.values()]
        if all(len(mine) for mine in finished) and not any(mine["diverged"].any() for mine in groups.values()):
            tasks = [list(groups).index(source_of(dataset, method, runs)) for dataset in study.datasets]
            found[method] = Sample(finished, tasks)
    return found


def iqm_curves(study: Study) -> tuple[Figure, str] | None:
    """IQM over tasks at every evaluation; None without a method that has all tasks."""
    found, drawn = samples(study), drawn_as(study)
    if not found:
        return None
    scores = select(study.rows, SCORE, "online")
    wide = scores.pivot_table(index="run", columns="env_steps", values="value", aggfunc="mean")
    figure, axes = grid([[f"IQM over {len(study.datasets)} tasks"]], 2.4)
    (axis,) = axes.values()
    with mpl.rc_context(STYLE):
        for method, sample in found.items():
            strata = [wide.loc[mine["run"]] for mine in sample.runs]
            evaluated = pd.concat(strata).dropna(axis=1, how="all")
            if evaluated.isna().to_numpy().any():
                problem = f"runs of {method} were evaluated at different steps"
                raise UserError(f"study {study.name}: column env_steps: {problem}")
            x, look, ours = evaluated.columns.to_numpy(float), drawn[method], method == study.main
            values = [stratum[evaluated.columns].to_numpy(float) for stratum in strata]
            point, low, high = bootstrap_curve(values, sample.tasks)
            axis.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)
            (line,) = axis.plot(x, point, look.line, color=look.colour, label=look.label)
            if ours and len(found) > WIDE:
                line.set(linewidth=2.0, zorder=2.5)  # in front of the others
        switch_axis(axis, study.online_steps, 0)
    labels = [drawn[method].label for method in found]
    finish(figure, axes, "environment steps since the switch", "score (0-100)", labels)
    return figure, figure_captions.iqm_curves(study, list(found))


def interval_plot(study: Study) -> tuple[Figure, str] | None:
    """Aggregates of the final scores, a panel each and a row per method; None without a method that has all tasks."""
    found = samples(study)
    if not found:
        return None
    values = {
        method: bootstrap_intervals([100 * runs for runs in sample.finals], list(STATISTICS.values()), sample.tasks)
        for method, sample in found.items()
    }
    drawn = {method: drawn_as(study)[method] for method in found}
    figure, axes = grid([list(STATISTICS)], 0.5 + 0.15 * max(4, len(found)))
    with mpl.rc_context(STYLE):
        for index, axis in enumerate(axes.values()):
            _rows(axis, {method: values[method][index] for method in found}, drawn, index == 0)
            axis.locator_params(axis="x", nbins=4)
    finish(figure, axes, "score / 100", "")
    return figure, figure_captions.interval_plot(study, list(found))


def profiles(study: Study) -> tuple[Figure, str] | None:
    """Share of runs with a final score above a threshold; None without a method that has all tasks."""
    found, drawn = samples(study), drawn_as(study)
    if not found:
        return None
    figure, axes = grid([["performance profiles"]], 2.4)
    (axis,) = axes.values()
    highest = max(runs.max() for sample in found.values() for runs in sample.finals)
    thresholds = np.linspace(0.0, max(1.0, highest), 101)
    with mpl.rc_context(STYLE):
        for method, sample in found.items():

            def share(strata: Sequence[Array], tasks: Sequence[int] = sample.tasks) -> Array:
                return profile([strata[index] for index in tasks], thresholds)

            point, low, high = bootstrap(sample.finals, share)
            look = drawn[method]
            axis.fill_between(100 * thresholds, low, high, color=look.colour, alpha=0.1, linewidth=0)
            axis.plot(100 * thresholds, point, look.line, color=look.colour, label=look.label)
        axis.set_ylim(-0.02, 1.02)
    labels = [drawn[method].label for method in found]
    finish(figure, axes, "score threshold", "share of runs above", labels)
    return figure, figure_captions.profiles(study, list(found))


def improvement_plot(study: Study) -> tuple[Figure, str] | None:
    """P(reference > other) for every other method; None if the reference or all others lack a task."""
    found, drawn = samples(study), drawn_as(study)
    others = [method for method in found if method != study.main]
    if study.main not in found or not others:
        return None
    ours, values = found[study.main], {}
    for method in others:
        theirs = found[method]

        def chance(strata: Sequence[Array], theirs: Sample = theirs) -> Array:
            mine, other = strata[: len(ours.runs)], strata[len(ours.runs) :]
            return np.array([improvement([mine[i] for i in ours.tasks], [other[i] for i in theirs.tasks])])

        (point,), (low,), (high,) = bootstrap([*ours.finals, *theirs.finals], chance)
        values[method] = Interval(100 * point, 100 * low, 100 * high, sum(map(len, ours.runs)))
    figure, axes = grid([[f"P({drawn[study.main].label} > other)"]], 0.5 + 0.15 * max(4, len(others)))
    (axis,) = axes.values()
    with mpl.rc_context(STYLE):
        _rows(axis, values, {method: drawn[method] for method in others}, True)
        axis.axvline(0.5, color="0.3", linewidth=0.8, linestyle="--", zorder=1)
        axis.set_xlim(-0.02, 1.02)
    finish(figure, axes, "probability of improvement", "")
    return figure, figure_captions.improvement_plot(study, others)


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
