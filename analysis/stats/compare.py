"""Runs of one study compared on one task or over tasks: paired differences, the best methods, means over tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from analysis.io.methods import IMPORTED
from analysis.io.rows import Results, source_of
from analysis.stats.intervals import Estimate, Interval, estimate, t_interval

DELTA = 5.0  # score points that count as a difference, as in the claims


def group(runs: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """Select the runs of one method that stand in the row of one task, references included."""
    wanted = source_of(dataset, method, runs)
    return runs[(runs["method"].to_numpy() == method) & (runs["dataset"].to_numpy() == wanted)]


def by_seed(runs: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Index one metric of the runs of one cell by seed."""
    return pd.Series(runs[metric].to_numpy(), runs["seed"].to_numpy())


def most_seeds(runs: pd.DataFrame) -> int:
    """Return the study's number of seeds: the largest number of runs of any method on any dataset."""
    ours = runs[~runs["method"].str.endswith(IMPORTED)]
    return int(ours.groupby(["dataset", "method"]).size().max()) if len(ours) else 0


def difference(runs: pd.DataFrame, dataset: str, ours: str, theirs: str, metric: str) -> Interval | None:
    """Compare `ours - theirs` of one metric on one dataset, paired over common seeds."""
    return t_interval(pair(runs, dataset, ours, theirs, metric)[1])


def pair(runs: pd.DataFrame, dataset: str, ours: str, theirs: str, metric: str) -> tuple[str, pd.Series[float]]:
    """Find the stratum of one task and `ours - theirs` by common seed, or `ours` without `theirs`.

    Tasks that share a method's runs from scratch are one stratum.
    """
    groups = [group(runs, dataset, name) for name in (ours, theirs) if name]
    values = [by_seed(mine, metric) for mine in groups]
    shared = [name for mine in groups for name in mine["dataset"][:1] if name != dataset]
    return (shared or [dataset])[0], (values[0] - values[1] if theirs else values[0]).dropna()


def over_tasks(tasks: Iterable[tuple[str, pd.Series[float]]]) -> Estimate | None:
    """Average `pair`s over tasks; None if a task has none.

    Those of one stratum are averaged seed by seed first, otherwise one set of runs would count as several.
    """
    strata: dict[str, list[pd.Series[float]]] = {}
    for stratum, values in tasks:
        strata.setdefault(stratum, []).append(values)
    means = [pd.concat(several, axis=1, join="inner").mean(axis=1) for several in strata.values()]
    return estimate(means, [len(several) for several in strata.values()])


def pooled(study: Results, runs: pd.DataFrame, method: str, metric: str) -> Interval | None:
    """Average the paired differences to the reference over tasks; None if a task has no pair."""
    found = over_tasks(pair(runs, dataset, method, study.main, metric) for dataset in study.datasets)
    return found.interval() if found else None


def leaders(groups: Mapping[str, pd.DataFrame]) -> tuple[str, list[str]]:
    """Name the method with the highest mean final score, and those that are not worse than it by `DELTA` or more.

    `groups`: the runs of every method on one task. Not worse: the paired difference to the best lies below `DELTA` in a
    one-sided t-test at 5 %. So a wide interval earns nothing. Empty where one seed allows no interval. Imported curves
    share no seeds with ours, so they are not compared.
    """
    compared = {method: runs for method, runs in groups.items() if not method.endswith(IMPORTED) and _comparable(runs)}
    finals = {method: by_seed(runs, "final").dropna() for method, runs in compared.items()}
    if not finals:
        return "", []
    best = max(finals, key=lambda method: finals[method].mean())
    if len(finals[best]) < 2:
        return "", []
    gaps = {method: t_interval((finals[best] - finals[method]).dropna(), 0.9) for method in finals if method != best}
    return best, [method for method, gap in gaps.items() if gap is not None and gap.known and gap.high < DELTA]


def _comparable(runs: pd.DataFrame) -> bool:
    return bool(len(runs)) and not runs["diverged"].any() and bool(runs["final"].notna().any())
