"""Runs of one study compared on one task or over tasks: paired differences, the best methods, means over tasks."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.io.methods import IMPORTED
from analysis.io.rows import Results, source_of
from analysis.stats.intervals import Interval, bootstrap_intervals, mean_over_tasks, paired_interval


def group(runs: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """Select the runs of one method that stand in the row of one task, references included."""
    return runs[(runs["method"] == method) & (runs["dataset"] == source_of(dataset, method, runs))]


def by_seed(runs: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Index one metric of the runs of one cell by seed."""
    return runs.set_index("seed")[metric]


def most_seeds(runs: pd.DataFrame) -> int:
    """Return the study's number of seeds: the largest number of runs of any method on any dataset."""
    ours = runs[~runs["method"].str.endswith(IMPORTED)]
    return int(ours.groupby(["dataset", "method"]).size().max()) if len(ours) else 0


def difference(runs: pd.DataFrame, dataset: str, ours: str, theirs: str, metric: str) -> Interval | None:
    """Compare `ours - theirs` of one metric on one dataset, paired over common seeds."""
    return paired_interval(by_seed(group(runs, dataset, ours), metric), by_seed(group(runs, dataset, theirs), metric))


def pooled(study: Results, runs: pd.DataFrame, method: str, metric: str) -> Interval | None:
    """Average the paired differences to the reference over tasks; None if a task has no pair.

    The interval is a stratified bootstrap's: seeds are resampled within tasks. Tasks that share a method's runs from
    scratch are resampled together: their differences are averaged seed by seed first.
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


def winners(groups: Mapping[str, pd.DataFrame]) -> list[str]:
    """Name the method with the highest mean final score and all whose paired difference to it includes 0.

    `groups`: the runs of every method on one task. None where one seed allows no interval. Imported curves share no
    seeds with ours, so they are not compared.
    """
    compared = {method: runs for method, runs in groups.items() if not method.endswith(IMPORTED) and _comparable(runs)}
    finals = {method: by_seed(runs, "final") for method, runs in compared.items()}
    if not finals:
        return []
    best = max(finals, key=lambda method: finals[method].mean())
    if finals[best].notna().sum() < 2:
        return []
    differences = {method: paired_interval(finals[best], finals[method]) for method in finals}
    return [method for method, d in differences.items() if method == best or (d is not None and d.known and d.low <= 0)]


def _comparable(runs: pd.DataFrame) -> bool:
    return bool(len(runs)) and not runs["diverged"].any() and bool(runs["final"].notna().any())
