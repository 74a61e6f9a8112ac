"""Intervals: Student-t over the seeds of one task, paired differences, and the stratified bootstrap over tasks.

Why two kinds: with 3-10 seeds a percentile bootstrap of one task's mean covers 74-90 % where it promises 95 %, a
t-interval covers 95 %; pooled over tasks the bootstrap is close to nominal and needs no normality (Agarwal et al. 2021,
arXiv 2108.13264).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
        """Tell whether there is an interval at all: it takes two runs."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def t_half_width(values: Array, confidence: float = CONFIDENCE) -> Array:
    """Compute half of the t-interval of the mean of `values` [..., n]: t_{0.975, n-1} std / sqrt(n), ddof = 1, at 95 %.

    NaN for n < 2. Returns an array [...].
    """
    n = values.shape[-1]
    if n < 2:
        return np.full(values.shape[:-1], math.nan)
    return np.asarray(scipy.stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n))


def t_interval(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval | None:
    """Compute the Student-t interval of the mean of the finite `values` [n], as many as its `n` says; None if none."""
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    if not len(x):
        return None
    mean, half = float(x.mean()), float(t_half_width(x, confidence))
    return Interval(mean, mean - half, mean + half, len(x))


def paired_interval(
    ours: pd.Series[float], theirs: pd.Series[float], confidence: float = CONFIDENCE
) -> Interval | None:
    """Compute the t-interval of the mean of ours - theirs over the seeds (indices) that both have; None without one."""
    common = ours.dropna().index.intersection(theirs.dropna().index)
    return t_interval(ours.loc[common].to_numpy(float) - theirs.loc[common].to_numpy(float), confidence)


@dataclass(frozen=True)
class Curve:
    """Mean over seeds at `x` [P], with `low` and `high` [P] (NaN where one seed allows no interval)."""

    x: Array
    mean: Array
    low: Array
    high: Array


def mean_curve(rows: pd.DataFrame, x: str) -> Curve:
    """Average `value` over runs at every `x` (a column of `rows`), with the 95 % t band; NaN where a run has no value.

    So a line has a gap where its seeds are not complete. Without rows, a curve without points: every run of a method on
    one dataset may have diverged.
    """
    if rows.empty:
        return Curve(*(np.empty(0) for _ in range(4)))
    wide = rows.pivot_table(index=x, columns="run", values="value", aggfunc="mean", dropna=False).sort_index()
    values = wide.to_numpy(float)
    mean, half = values.mean(axis=1), t_half_width(values)
    return Curve(wide.index.to_numpy(float), mean, mean - half, mean + half)


def by_cell(rows: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Split the rows by (method, dataset)."""
    return {(str(key[0]), str(key[1])): group for key, group in rows.groupby(["method", "dataset"], sort=False)}


def task_means(tasks: Sequence[Array]) -> Array:
    """Average every task: [T, ...]; a task is an array [n, ...] of its runs, and n may differ."""
    sizes = np.array([len(task) for task in tasks])
    sums = np.add.reduceat(np.concatenate(tasks), np.cumsum(sizes) - sizes, axis=0)
    return np.asarray(sums / sizes.reshape(-1, *[1] * (sums.ndim - 1)))


def mean_over_tasks(tasks: Sequence[Array]) -> Any:
    """Average the per-task means."""
    return task_means(tasks).mean(axis=0)


def median_over_tasks(tasks: Sequence[Array]) -> Any:
    """Take the median of the per-task means, as rliable's `aggregate_median`."""
    return np.median(task_means(tasks), axis=0)


def iqm(tasks: Sequence[Array]) -> Any:
    """Average what is left of the runs of all tasks, pooled, without their lowest and highest quarter.

    As rliable's `aggregate_iqm` (a quarter is rounded down to whole runs), which is too slow to call per resample.
    """
    pooled = np.sort(np.concatenate(tasks), axis=0)
    cut = len(pooled) // 4
    return pooled[cut : len(pooled) - cut].mean(axis=0)


def optimality_gap(tasks: Sequence[Array]) -> Any:
    """Compute how far scores on the 0-1 scale fall short of 1 on average; a score above 1 makes up for nothing.

    As rliable's `aggregate_optimality_gap` with gamma = 1, but every task weighs the same if their runs are unequal.
    """
    return 1 - mean_over_tasks([np.minimum(task, 1.0) for task in tasks])


def profile(tasks: Sequence[Array], thresholds: Array) -> Array:
    """Compute a performance profile [P]: the share of runs above each of `thresholds` [P], averaged over tasks."""
    return np.asarray(mean_over_tasks([(task[:, None] > thresholds).astype(float) for task in tasks]))


def improvement(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """Compute P(X > Y) for a run X of ours and Y of theirs on the same task, ties one half, averaged over tasks.

    As rliable's `probability_of_improvement` (Mann-Whitney's U over n m), which is too slow to call per resample.
    """
    shares = []
    for x, y in zip(ours, theirs, strict=True):
        wins, losses = np.count_nonzero(x[:, None] > y), np.count_nonzero(x[:, None] < y)
        shares.append(0.5 + 0.5 * (wins - losses) / (len(x) * len(y)))
    return sum(shares) / len(shares)


def bootstrap(
    strata: Sequence[npt.NDArray[Any]],
    statistic: Callable[[Sequence[npt.NDArray[Any]]], Array],
    reps: int = REPS,
    seed: int = 0,
) -> tuple[Array, Array, Array]:
    """Compute `statistic` [K] and its 95 % percentile interval by rliable's stratified bootstrap: three [K].

    A stratum is an array [n_i] of runs, resampled within itself; strata may differ in n_i. The bounds are NaN where a
    stratum has one run only: there is nothing to resample.
    """
    sizes = {len(stratum) for stratum in strata}
    if min(sizes) < 2:
        point = np.asarray(statistic(strata))
        return point, np.full_like(point, np.nan), np.full_like(point, np.nan)

    def of_sample(*sample: Array) -> Array:
        """From one matrix (runs, strata), or from one column (runs, 1) per stratum."""
        return statistic([column for matrix in sample for column in matrix.T])

    data = np.stack(strata, 1) if len(sizes) == 1 else [stratum[:, None] for stratum in strata]
    # rliable draws from NumPy's global generator whatever random state it is given: seed that one, then put it back.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        points, bounds = rly.get_interval_estimates(
            {"": data}, of_sample, reps=reps, confidence_interval_size=CONFIDENCE
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.asarray(points[""]), *bounds[""]


def bootstrap_intervals(
    strata: Sequence[npt.ArrayLike],
    statistics: Sequence[Callable[[Sequence[Array]], Any]],
    tasks: Sequence[int] | None = None,
    reps: int = REPS,
    seed: int = 0,
) -> list[Interval]:
    """Compute each statistic of the tasks with its 95 % percentile interval from the stratified bootstrap over runs.

    `strata` are independent sets of scores (0-100), one array [n_i] each, resampled within themselves; the statistics
    see them on the scale 0-1. `tasks` names the stratum of every task (default: one each): a run from scratch stands
    beside two datasets of its environment but is resampled once, otherwise one set of runs would count as two.
    """
    columns = [np.asarray(stratum, dtype=float) / 100 for stratum in strata]

    def aggregate(sample: Sequence[Array]) -> Array:
        laid_out = sample if tasks is None else [sample[index] for index in tasks]
        return np.array([statistic(laid_out) for statistic in statistics])

    triples = zip(*(100 * values for values in bootstrap(columns, aggregate, reps, seed)), strict=True)
    return [Interval(float(value), float(low), float(high), sum(map(len, columns))) for value, low, high in triples]


def bootstrap_curve(
    strata: Sequence[Array], tasks: Sequence[int], reps: int = REPS, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Compute the IQM over the tasks at each of E evaluations with its pointwise 95 % interval: three [E].

    `strata`: arrays [n_i, E]; `tasks` as in `bootstrap_intervals`. Whole runs are resampled, not single evaluations.
    """
    runs = np.concatenate(strata)
    numbers = np.split(np.arange(len(runs)), np.cumsum([len(stratum) for stratum in strata])[:-1])
    return bootstrap(numbers, lambda sample: np.asarray(iqm([runs[sample[index]] for index in tasks])), reps, seed)
