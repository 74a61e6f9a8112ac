"""What every method was given: updates, critics, arithmetic, processor time; and scores at equal arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.io.methods import ordered
from analysis.io.rows import Cells, Results, environment
from analysis.io.settings import UTD, text, values
from analysis.output.tables import Cell, Table
from analysis.stats.compare import most_seeds
from analysis.stats.intervals import Interval, estimate
from analysis.stats.transfer import curves, score_range, summarise

APART = 2.0  # methods whose arithmetic differs by more are also compared at that of the cheapest one


def budgets_table(study: Results) -> Table:
    """Rows: methods; columns: updates, critics, arithmetic and processor time of one run, and what it scored.

    No rows where the manifest does not say what a run computes.
    """
    runs = summarise(study)
    spent = with_costs(study, runs)
    rows: list[tuple[tuple[str, ...], tuple[Cell, ...]]] = []
    if spent["online"].isna().all():
        return Table("budgets", ("method",), (), (), 0, "")
    means = spent.groupby("method")[["offline", "online", "minutes"]].mean()
    learning = means["online"][[name for name in means.index if values(study, name, UTD) != [0]]]
    costs = {"offline": "offline TFLOP", "online": "online TFLOP", "minutes": "CPU min"}
    costs = {part: head for part, head in costs.items() if means[part].notna().any()}
    apart = bool(learning.max() > APART * learning.min())
    runs = runs.assign(equal=scores_at_equal_arithmetic(study, runs, spent)) if apart else runs
    limits = score_range(study, study.datasets)
    for name in ordered(study.methods):
        settings = text(values(study, name, UTD)), _critics(study, name)
        cells = [Cell.said("setting", one) for one in (*settings, *(_number(means[part][name]) for part in costs))]
        scores = (_over_tasks(study, runs, name, metric, limits) for metric in ("final", "equal")[: 1 + apart])
        cells += [replace(Cell.measured("score", one), seeds=None) for one in scores]
        rows.append(((name,), tuple(cells)))
    columns = ("updates per step", "critics", *costs.values(), "final score", *["at equal arithmetic"] * apart)
    caption = (
        "Means of one run over tasks and seeds. TFLOP: 10^12 operations in matrix products, without evaluation."
        + " CPU min: a run's share of its process's processor time, both stages." * ("minutes" in costs)
        + " Scores: mean over tasks ± half of the 95 % t interval."
        + " At equal arithmetic: the score when a run has spent what the cheapest method's online stage takes." * apart
    )
    return Table("budgets", ("method",), columns, tuple(rows), most_seeds(study), caption)


def with_costs(study: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the method, environment, TFLOP of both stages and CPU minutes of each online run; NaN where not known."""
    tflop, seconds = study.manifest.get("run_tflop", {}), study.manifest.get("run_cpu_seconds", {})
    starts = study.manifest.get("offline_runs", {})
    stages = runs["run"].map(starts)
    return pd.DataFrame(
        {
            "method": runs["method"],
            "environment": runs["dataset"].map(environment),
            "offline": stages.map(tflop).fillna(0.0),
            "online": runs["run"].map(tflop),
            "minutes": (runs["run"].map(seconds) + stages.map(seconds).fillna(0.0)) / 60,
        },
        index=runs.index,
    )


def scores_at_equal_arithmetic(study: Results, runs: pd.DataFrame, spent: pd.DataFrame) -> pd.Series[float]:
    """Return each run's score when it has spent the online arithmetic of the cheapest method on its environment.

    A run's arithmetic grows with its environment steps; between two evaluations the score is interpolated. Methods that
    learn nothing online are not the cheapest. NaN for unfinished runs.
    """
    learns = [name for name in study.methods if values(study, name, UTD) != [0]]
    mine = spent[spent["method"].isin(learns)]
    least = mine.groupby(["environment", "method"])["online"].mean().groupby("environment").min()
    share = (spent["environment"].map(least) / spent["online"]).clip(upper=1.0)
    scores = curves(study)
    at = [
        float(np.interp(part * study.online_steps, *scores[run].T)) if finished else math.nan
        for run, part, finished in zip(runs["run"], share, runs["finished"], strict=True)
    ]
    return pd.Series(at, runs.index)


def _over_tasks(
    study: Results, runs: pd.DataFrame, method: str, metric: str, limits: tuple[float, float]
) -> Interval | None:
    """Mean of one metric over all tasks; runs from scratch stand for every task of their environment, once."""
    by_cell = Cells(runs)
    groups = [by_cell[dataset, method] for dataset in study.datasets]
    if not all(len(mine) for mine in groups) or any(mine["diverged"].any() for mine in groups):
        return None
    strata = {mine["dataset"].iloc[0]: mine[metric] for mine in groups}
    weights = [sum(mine["dataset"].iloc[0] == name for mine in groups) for name in strata]
    found = estimate(list(strata.values()), weights)
    return found.interval(limits=limits) if found else None


def _critics(study: Results, method: str) -> str:
    """Write the number of critics, `5 of 2` for five agents with two each."""
    agents, critics = (values(study, method, f"agent.{key}") for key in ("num_agents", "num_critics"))
    return f"{text(agents)} of {text(critics)}" if agents else text(critics)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
