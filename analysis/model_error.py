"""Figures of the ensemble on real transitions that it has not seen: open-loop error, calibration, ranking of errors.

The metrics and their definitions are those of moore/algorithm/diagnostics.py.
"""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis import figure_captions
from analysis.drawn import drawn_as
from analysis.figures import STYLE, by_cell, finish, mean_curve, switch_axis, task_grid
from analysis.rows import Study
from analysis.settings import lookup
from analysis.thirds import draw_thirds, logged, shown_methods

OPEN_LOOP, COVERAGE = "model/open_loop_error_", "model/coverage_"
STEPS, NOMINAL = range(1, 11), (50, 80, 90, 95)
RANKS = "model/error_rank_correlation"


def open_loop(study: Study) -> tuple[Figure, str] | None:
    """Error against the number of open-loop steps; None for a study that did not log it."""
    rows = logged(study, [f"{OPEN_LOOP}{h}" for h in STEPS])
    if rows.empty:
        return None
    rows["x"] = rows["metric"].str.removeprefix(OPEN_LOOP).astype(int)
    methods = shown_methods(study, rows)
    figure, axes = task_grid(study)
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            draw_thirds(axis, study, rows[rows["dataset"] == dataset], methods)
            for length in rollout_lengths(study, dataset, methods):
                axis.axvline(length, color="0.3", linewidth=0.8, linestyle="--", zorder=1, label="rollout length H")
            axis.set_ylim(bottom=0)
            axis.set_xticks([h for h in STEPS if h == 1 or h % 5 == 0])
    finish(figure, axes, "open-loop steps h", "error (standard deviations)")
    return figure, figure_captions.open_loop(study, methods)


def rollout_lengths(study: Study, dataset: str, methods: list[str]) -> list[int]:
    """Distinct rollout lengths H of the runs of `methods` on one dataset, as far as the manifest has their configs."""
    owners, configs = study.owners, study.manifest.get("configs", {})
    runs = owners[(owners["phase"] == "online") & (owners["dataset"] == dataset) & owners["method"].isin(methods)]
    found = set()
    for config in (configs[run] for run in runs["run"] if run in configs):
        own, common = (lookup(config, key) for key in ("online.rollout_length", "rollout.length"))
        found.add(own if isinstance(own, int) else common)
    return sorted(length for length in found if isinstance(length, int))


def calibration(study: Study) -> tuple[Figure, str] | None:
    """Observed against nominal coverage; None for a study that did not log it."""
    rows = logged(study, [f"{COVERAGE}{p}" for p in NOMINAL])
    if rows.empty:
        return None
    rows["x"] = rows["metric"].str.removeprefix(COVERAGE).astype(int) / 100
    methods = shown_methods(study, rows)
    figure, axes = task_grid(study)
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            axis.plot([0, 1], [0, 1], color="0.3", linewidth=0.8, label="calibrated")
            draw_thirds(axis, study, rows[rows["dataset"] == dataset], methods)
            axis.set_xlim(0.45, 1.0)
            axis.set_ylim(0.0, 1.02)
            axis.set_xticks([p / 100 for p in NOMINAL[:3]], [f"{p / 100:g}" for p in NOMINAL[:3]])
    finish(figure, axes, "nominal mass of the interval", "observed share inside")
    return figure, figure_captions.calibration(study, methods)


def rank_correlation(study: Study) -> tuple[Figure, str] | None:
    """Spearman's coefficient between uncertainty and error over the online stage; None for a study without it."""
    cells = by_cell(logged(study, [RANKS]))
    if not cells:
        return None
    drawn = {method: look for method, look in drawn_as(study).items() if method in {name for name, _ in cells}}
    figure, axes = task_grid(study)
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            axis.axhline(0, color="0.3", linewidth=0.8, zorder=1)
            for method, look in drawn.items():
                if (method, dataset) in cells:
                    curve = mean_curve(cells[method, dataset], "env_steps")
                    if method == study.main:
                        axis.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.18, linewidth=0)
                    axis.plot(curve.x, curve.mean, look.line, color=look.colour, label=look.label)
            switch_axis(axis, study.online_steps, 0)
            axis.set_ylim(min(-0.1, axis.get_ylim()[0]), 1.02)
    labels = [look.label for look in drawn.values()]
    finish(figure, axes, "environment steps since the switch", "rank correlation", labels)
    return figure, figure_captions.rank_correlation(study)
