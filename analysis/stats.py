"""Intervals: Student-t over the seeds of one task, paired differences, and the stratified bootstrap over tasks.

Why two kinds: with 3-10 seeds a percentile bootstrap of one task's mean covers 74-90 % where it promises 95 %, a
t-interval covers 95 %; pooled over tasks the bootstrap is close to nominal and needs no normality (Agarwal et al. 2021,
arXiv 2108.13264).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats
from rliable import library as rly

CONFIDENCE = 0.95
REPS = 2000
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean (or IQM) of `n` runs with its interval; `low` and `high` are NaN where one value allows none."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def known(self) -> bool:
        """Whether there is an interval at all: it takes two runs."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def t_half_width(std: Array, n: npt.ArrayLike) -> Array:
    """Half of the 95 % t-interval of a mean: t_{0.975, n-1} std / sqrt(n), std with ddof = 1; NaN for n < 2."""
    n = np.asarray(n, dtype=float)
    degrees = np.where(n > 1, n - 1, np.nan)
    return np.asarray(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * std / np.sqrt(n))


def t_interval(values: npt.ArrayLike) -> Interval | None:
    """95 % Student-t interval of the mean of the finite `values` [n], as many as its `n` says; None if none."""
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    if not len(x):
        return None
    mean = float(x.mean())
    if len(x) < 2:
        return Interval(mean, math.nan, math.nan, len(x))
    half = float(t_half_width(x.std(ddof=1), len(x)))
    return Interval(mean, mean - half, mean + half, len(x))


def paired_interval(ours: pd.Series[float], theirs: pd.Series[float]) -> Interval | None:
    """95 % t-interval of the mean of ours - theirs over the seeds (indices) that both have; None without one."""
    common = ours.dropna().index.intersection(theirs.dropna().index)
    return t_interval(ours.loc[common].to_numpy(float) - theirs.loc[common].to_numpy(float))


def mean_over_tasks(tasks: Sequence[Array]) -> float:
    """Mean of the per-task means; a task is an array [n] of its runs."""
    return float(np.mean([task.mean() for task in tasks]))


def iqm(tasks: Sequence[Array]) -> float:
    """Interquartile mean: drop the lowest and highest quarter of all runs of all tasks pooled, average the rest.

    As rliable's `aggregate_iqm` (a quarter is rounded down to whole runs), which is too slow to call per resample.
    """
    pooled = np.sort(np.concatenate(tasks))
    cut = len(pooled) // 4
    return float(pooled[cut : len(pooled) - cut].mean())


def bootstrap_intervals(
    strata: Sequence[npt.ArrayLike],
    statistics: Sequence[Callable[[Sequence[Array]], float]],
    tasks: Sequence[int] | None = None,
    reps: int = REPS,
    seed: int = 0,
) -> list[Interval]:
    """Each statistic of the tasks with its 95 % percentile interval from rliable's stratified bootstrap over runs.

    `strata` are independent sets of scores (0-100), one array [n_i] each, resampled within themselves. `tasks` names
    the stratum of every task (default: one each): a run from scratch stands beside two datasets of its environment but
    is resampled once, otherwise one set of runs would count as two. Strata may have different numbers of runs.
    """
    layout = list(range(len(strata))) if tasks is None else list(tasks)
    columns = [np.asarray(stratum, dtype=float) / 100 for stratum in strata]  # rliable's scale is 0-1
    sizes = {len(column) for column in columns}
    runs = sum(len(column) for column in columns)

    def aggregate(*sample: Array) -> Array:
        """From one matrix (runs, strata), or from one column (runs, 1) per stratum."""
        resampled = [column for matrix in sample for column in matrix.T]
        return np.array([statistic([resampled[index] for index in layout]) for statistic in statistics])

    data = np.stack(columns, 1) if len(sizes) == 1 else [column[:, None] for column in columns]
    if min(sizes) < 2:
        values = aggregate(*([data] if isinstance(data, np.ndarray) else data)) * 100
        return [Interval(float(value), math.nan, math.nan, runs) for value in values]
    # rliable draws from NumPy's global generator whatever random state it is given: seed that one, then put it back.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        estimates = rly.get_interval_estimates({"": data}, aggregate, reps=reps, confidence_interval_size=CONFIDENCE)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    points, bounds = (estimate[""] * 100 for estimate in estimates)
    triples = zip(points, *bounds, strict=True)
    return [Interval(float(value), float(low), float(high), runs) for value, low, high in triples]
