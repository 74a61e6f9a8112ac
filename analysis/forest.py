"""Paired differences of every method to the study's reference, per dataset and pooled over datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import figure_captions
from analysis.differences import difference
from analysis.drawn import Drawn, drawn_as
from analysis.figures import STYLE, finish, grid
from analysis.panels import layout
from analysis.rows import Study, reject_mixed_sources, source_of
from analysis.stats import Interval, bootstrap_intervals, mean_over_tasks
from analysis.tables import by_seed, group, most_seeds
from analysis.transfer import summarise

# metric of a run -> label, marker, filled, place in the method's row
METRICS = {"final": ("final score", "o", True, -0.16), "auc": ("AUC", "D", False, 0.16)}
Differences = Mapping[tuple[str, str], Interval | None]  # (method, metric) -> difference


def forest(study: Study) -> tuple[Figure, str] | None:
    """A panel per dataset and one for all; None for a study whose reference did not run or has nothing beside it."""
    reject_mixed_sources(study)
    runs, looks = summarise(study), drawn_as(study)
    drawn = {method: look for method, look in looks.items() if method != study.main}
    if study.main not in study.methods or not drawn:
        return None
    cells = [(method, metric) for method in drawn for metric in METRICS]
    panels: dict[str, Differences] = {
        dataset: {(method, metric): difference(runs, dataset, method, study.main, metric) for method, metric in cells}
        for dataset in study.datasets
    }
    places = layout(study.datasets)
    if len(study.datasets) > 1:
        name = f"mean over {len(study.datasets)} tasks"
        panels[name] = {cell: pooled(study, runs, *cell) for cell in cells}
        width = len(places[0])
        places = [[*places[0], name]] if width < 4 and len(places) == 1 else [*places, [name, *[None] * (width - 1)]]
    figure, axes = grid(places, 0.5 + 0.15 * max(4, len(drawn)))
    named = {next(name for name in row if name is not None) for row in places}
    with mpl.rc_context(STYLE):
        for name, axis in axes.items():
            _panel(axis, panels[name], drawn, most_seeds(runs) if name in study.datasets else None)
            axis.set_yticks(range(len(drawn)), [look.label for look in drawn.values()] if name in named else [])
    finish(figure, axes, f"difference to {looks[study.main].label} (score points)", "")
    return figure, figure_captions.forest(study)


def pooled(study: Study, runs: pd.DataFrame, method: str, metric: str) -> Interval | None:
    """Mean over tasks of the paired differences, with a stratified bootstrap interval; None if a task has no pair.

    Seeds are resampled within tasks. Tasks that share a method's runs from scratch are resampled together: their
    differences are averaged seed by seed first.
    """
    sharing: dict[str, list[pd.Series[float]]] = {}
    for dataset in study.datasets:
        theirs, ours = (by_seed(group(runs, dataset, name), metric) for name in (method, study.main))
        sharing.setdefault(source_of(dataset, method, runs), []).append((theirs - ours).dropna())
    strata = [pd.concat(tasks, axis=1, join="inner").mean(axis=1).to_numpy(float) for tasks in sharing.values()]
    if not all(len(stratum) for stratum in strata):
        return None
    layout_of_tasks = [index for index, tasks in enumerate(sharing.values()) for _ in tasks]
    (interval,) = bootstrap_intervals(strata, (mean_over_tasks,), layout_of_tasks)
    return interval


def _panel(axis: Axes, differences: Differences, drawn: Mapping[str, Drawn], seeds: int | None) -> None:
    """Methods from top to bottom; where there are fewer pairs than `seeds`, their number stands at the right edge."""
    axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
    for metric, (label, marker, filled, shift) in METRICS.items():
        style: dict[str, Any] = {"marker": marker, "markersize": 3, "linestyle": "", "markeredgewidth": 0.8}
        axis.plot([], [], color="0.2", markerfacecolor="0.2" if filled else "white", label=label, **style)
        for row, (method, look) in enumerate(drawn.items()):
            interval, y = differences[method, metric], row + shift
            if interval is None:
                continue
            inside = look.colour if filled else "white"
            axis.plot([interval.low, interval.high], [y, y], color=look.colour, linewidth=1.0)
            axis.plot([interval.mean], [y], color=look.colour, markerfacecolor=inside, **style)
    low, high = axis.get_xlim()
    for row, method in enumerate(drawn):
        pairs = [0 if found is None else found.n for found in (differences[method, metric] for metric in METRICS)]
        if min(pairs) < (seeds or 1):
            words = ", ".join(f"n={n}" if n else "no pair" for n in dict.fromkeys(pairs))
            axis.annotate(words, (1.0, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=5)
            axis.set_xlim(low, high + 0.2 * (high - low))  # room for it
    axis.set_ylim(len(drawn) - 0.5, -0.5)
