"""Runs of one study compared on one task or over tasks: paired differences, means, the best, costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
import pandas as pd

from analysis.io.methods import IMPORTED
from analysis.io.rows import Cells, Results, environment, source
from analysis.io.settings import frozen
from analysis.stats.intervals import Estimate, Interval, estimate, t_interval
from analysis.stats.transfer import curves, summarise
from moore.base.errors import UserError
from moore.base.groups import grouped

DELTA = 5.0  # score points that count as a difference, as in the claims


@lru_cache(maxsize=16)  # tables and figures of a study all ask
def cells(study: Results) -> Cells:
    """Split `summarise`'s runs by dataset and method, seeds as index; UserError for datasets of several sources."""
    if len(sources := sorted({source(name) for name in study.datasets})) > 1:
        raise UserError(f"study {study.name}: datasets of {' and '.join(sources)} together; expected one source")
    runs = summarise(study)
    return Cells(runs.set_axis(runs["seed"].to_numpy()))


def most_seeds(study: Results) -> int:
    """Return the study's number of seeds: the largest number of runs of any method on any dataset."""
    return max((len(mine) for (_, name), mine in cells(study).items() if not name.endswith(IMPORTED)), default=0)


def difference(runs: Cells, dataset: str, ours: str, theirs: str, metric: str) -> Interval | None:
    """Compare `ours - theirs` of one metric on one dataset, paired over common seeds."""
    return t_interval([*pair(runs, dataset, ours, theirs, metric)[1].values()])


def pair(runs: Cells, dataset: str, ours: str, theirs: str, metric: str) -> tuple[str, dict[int, float]]:
    """Find a task's stratum (one for all that share runs from scratch) and `ours - theirs` by seed, or just `ours`."""
    cells = [runs[dataset, name] for name in (ours, theirs) if name]
    mine, *other = (dict(zip(cell.index, cell[metric], strict=True)) for cell in cells)
    values = {seed: value - other[0].get(seed, math.nan) if theirs else value for seed, value in mine.items()}
    places = (runs.place(dataset, name) for name in (ours, theirs) if name)
    stratum = next((place for place in places if place != dataset), dataset)
    return stratum, {seed: value for seed, value in values.items() if not math.isnan(value)}


def over_tasks(tasks: Iterable[tuple[str, Mapping[int, float]]]) -> Estimate | None:
    """Average `pair`s over tasks, those of one stratum, one set of runs, seed by seed first; None if one has none."""
    strata = [[values for _, values in several] for several in grouped(tasks, lambda task: task[0]).values()]
    means = []
    for several in strata:
        seeds = [seed for seed in several[0] if all(seed in values for values in several)]
        means.append([sum(values[seed] for values in several) / len(several) for seed in seeds])
    return estimate(means, [len(several) for several in strata])


def pooled(study: Results, method: str, metric: str) -> Interval | None:
    """Average the paired differences to the reference over tasks; None if a task has no pair."""
    found = over_tasks(pair(cells(study), dataset, method, study.main, metric) for dataset in study.datasets)
    return found.interval() if found else None


def leaders(groups: Mapping[str, pd.DataFrame]) -> tuple[str, list[str]]:
    """Name the method with the highest mean final score, and those that are not worse than it by `DELTA` or more.

    `groups`: the runs of every method on one task; imports share no seeds with ours, so they are left out. Not worse:
    the paired difference to the best lies below `DELTA` in a one-sided t-test at 5 %. Empty where there is one seed.
    """
    ours = {method: runs for method, runs in groups.items() if not method.endswith(IMPORTED)}
    finals = {name: runs["final"].dropna() for name, runs in ours.items() if not runs["diverged"].any()}
    finals = {name: values for name, values in finals.items() if len(values)}
    best = max(finals, key=lambda method: finals[method].mean(), default="")
    if not best or len(finals[best]) < 2:
        return "", []
    gaps = {method: t_interval(finals[best] - finals[method], 0.9) for method in finals if method != best}
    return best, [method for method, gap in gaps.items() if gap is not None and gap.known and gap.high < DELTA]


def costs(study: Results) -> pd.DataFrame:
    """Return method, dataset, `offline tflop`, `online tflop` and the same in `seconds` of a core, a line for each run.

    In the order of `summarise`'s runs; NaN where not known.
    """
    runs = summarise(study)
    spent, stages = runs[["method", "dataset"]].copy(), runs["run"].map(study.manifest.get("offline_runs", {}))
    for unit, key in (("tflop", "run_tflop"), ("seconds", "run_cpu_seconds")):
        known = study.manifest.get(key, {})
        spent[f"offline {unit}"] = stages.map(known).fillna(0.0)
        spent[f"online {unit}"] = runs["run"].map(known)
    return spent


def scores_at_equal_arithmetic(study: Results) -> pd.Series[float]:
    """Return each run's score when it has spent the online arithmetic of the cheapest method on its environment.

    A run's arithmetic grows with its environment steps; between two evaluations the score is interpolated. Methods that
    learn nothing online are not the cheapest. NaN for unfinished runs.
    """
    runs, spent, scores = summarise(study), costs(study), curves(study)
    place, tflop = spent["dataset"].map(environment), spent["online tflop"]
    learns = ~spent["method"].isin(frozen(study))
    least = tflop[learns].groupby([place, spent["method"]]).mean().groupby(level=0).min()
    share = (place.map(least) / tflop).clip(upper=1.0)
    at = [
        float(np.interp(part * study.online_steps, *scores[run].T)) if finished else math.nan
        for run, part, finished in zip(runs["run"], share, runs["finished"], strict=True)
    ]
    return pd.Series(at, runs["run"])
