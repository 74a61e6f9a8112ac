"""Intervals: Student-t over the seeds of one task, stratified t for means over tasks, and the stratified bootstrap.

A percentile bootstrap of n runs is too narrow by sqrt((n - 1) / n), which more tasks do not cure. So means over tasks
have a t-interval, and the bootstrap of the rest (IQM, profiles; Agarwal et al. 2021, arXiv 2108.13264) is widened.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats takes a second to load

CONFIDENCE = 0.95
REPS, DRAWN_REPS = 20_000, 2000  # resamples of what is printed and of what is only drawn
COVERAGE = "coverage 87 to 96 % in simulations"  # by tests/analysis/stats/test_coverage.py
UNBOUNDED = (-math.inf, math.inf)
LIMITS = {  # beginning of a metric's name -> ends of its scale; scores go beyond theirs, where runs did
    "eval/score": (0.0, 100.0), "sampling/": (0.0, 1.0), "model/coverage": (0.0, 1.0), "penalty/mean": (0.0, math.inf),
    "penalty/q": (0.0, math.inf), "model/open_loop": (0.0, math.inf), "model/error_rank": (-1.0, 1.0),
}  # fmt: skip
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


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` runs with its standard error and degrees of freedom; both NaN where a task has one run."""

    mean: float
    error: float
    freedom: float
    n: int

    def interval(self, confidence: float = CONFIDENCE, limits: tuple[float, float] = UNBOUNDED) -> Interval:
        """Return the t-interval, cut off at `limits`."""
        half = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        low, high = (min(max(end, limits[0]), limits[1]) for end in (self.mean - half, self.mean + half))  # NaN stays
        return Interval(self.mean, low, high, self.n)

    def p_above(self, threshold: float) -> float:
        """Return the one-sided p-value against a mean of at most `threshold`; NaN without a standard error."""
        if self.error == 0:
            return float(self.mean <= threshold)
        return float(stdtr(self.freedom, (threshold - self.mean) / self.error))


def estimate(strata: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None) -> Estimate | None:
    """Estimate the weighted mean of the strata's means, each over the finite values of its array [n_i].

    The variances s_i²/n_i add up; degrees of freedom after Welch and Satterthwaite, n - 1 for one stratum. `weights`:
    the number of tasks that a stratum stands for (default: one). None if a stratum is empty.
    """
    values = [x[np.isfinite(x)] for x in (np.asarray(stratum, dtype=float) for stratum in strata)]
    sizes = [len(x) for x in values]  # Python's numbers: NumPy takes long for so few
    if not values or not all(sizes):
        return None
    weights = [1.0] * len(values) if weights is None else weights
    shares = [weight / sum(weights) for weight in weights]
    mean = float(sum(share * x.mean() for share, x in zip(shares, values, strict=True)))
    if min(sizes) < 2:
        return Estimate(mean, math.nan, math.nan, sum(sizes))
    parts = [float(share**2 * x.var(ddof=1) / n) for share, x, n in zip(shares, values, sizes, strict=True)]
    lost = sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
    freedom = sum(parts) ** 2 / lost if lost else float(sum(sizes) - len(sizes))
    return Estimate(mean, math.sqrt(sum(parts)), freedom, sum(sizes))


def t_interval(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval | None:
    """Compute the Student-t interval of the mean of the finite `values` [n], as many as its `n` says; None if none."""
    found = estimate([values])
    return found.interval(confidence) if found else None


@dataclass(frozen=True)
class Curve:
    """Mean over seeds at `x` [P], with `low` and `high` [P] (NaN where one seed allows no interval)."""

    x: Array
    mean: Array
    low: Array
    high: Array


def mean_curve(rows: pd.DataFrame, x: str) -> Curve:
    """Average `value` over runs at every `x` (a column of `rows`), with the 95 % t band.

    The band ends where the metric does (`LIMITS`) or, further out, the runs. NaN where a run has no value, so that a
    line has a gap where its seeds are not complete; no points without rows.
    """
    if rows.empty:
        return Curve(*(np.empty(0) for _ in range(4)))
    at, place = np.unique(rows[x].to_numpy(float), return_inverse=True)
    run, names = pd.factorize(rows["run"])
    n, values = len(names), np.full((len(at), len(names)), math.nan)
    values[place, run] = rows["value"]  # a run has one value at a point
    mean, half = values.mean(axis=1), np.full(len(at), math.nan)
    if n > 1:
        half = stdtrit(n - 1, (1 + CONFIDENCE) / 2) * values.std(axis=1, ddof=1) / math.sqrt(n)
    metric = rows["metric"].iloc[0]
    low, high = next((ends for name, ends in LIMITS.items() if metric.startswith(name)), UNBOUNDED)
    low, high = min(low, np.nanmin(values)), max(high, np.nanmax(values))
    return Curve(at, mean, np.maximum(mean - half, low), np.minimum(mean + half, high))


def iqm(tasks: Sequence[Array]) -> Any:
    """Average all tasks' runs, pooled, without the lowest and highest quarter, rounded down as by rliable's IQM."""
    pooled = np.sort(np.concatenate(tasks), axis=0)  # `np.partition` takes four times as long for so few
    cut = len(pooled) // 4
    return pooled[cut : len(pooled) - cut].mean(axis=0)


def optimality_gap(tasks: Sequence[Array]) -> Any:
    """Compute how far scores (0-100) fall short of 100 on average; a score above 100 makes up for nothing.

    As rliable's `aggregate_optimality_gap`, but every task weighs the same if their runs are unequal.
    """
    return 100 - np.mean([np.minimum(task, 100.0).mean(axis=0) for task in tasks], axis=0)


def profile(tasks: Sequence[Array], thresholds: Array) -> Array:
    """Compute a performance profile [P, ...]: the share of runs above each of `thresholds` [P], averaged over tasks."""
    return np.mean([sum(np.less.outer(thresholds, run) for run in task) / len(task) for task in tasks], axis=0)


def improvement(ours: Sequence[Array], theirs: Sequence[Array]) -> Any:
    """Compute P(X > Y) for a run X of ours and Y of theirs on the same task, ties one half, averaged over tasks.

    As rliable's `probability_of_improvement`: Mann-Whitney's U over n m.
    """
    signs = [np.sign(x[:, None] - y[None]).mean(axis=(0, 1)) for x, y in zip(ours, theirs, strict=True)]
    return 0.5 + 0.5 * np.mean(signs, axis=0)


def bootstrap(
    strata: Sequence[npt.NDArray[Any]],
    statistic: Callable[[Sequence[npt.NDArray[Any]]], Array],
    reps: int = REPS,
    limits: tuple[npt.ArrayLike, npt.ArrayLike] = UNBOUNDED,
    seed: int = 0,
) -> tuple[Array, Array, Array]:
    """Compute `statistic` [K] and its widened 95 % interval by the stratified bootstrap over runs: three [K].

    A stratum is an array [n_i, ...] of whole runs, resampled within itself, once where it stands beside several tasks;
    `statistic` takes strata [n_i, reps, ...] and returns [K, reps]. The percentile interval is widened about the point
    by sqrt(n / (n - 1)), n the runs of the smallest stratum, and by the ratio of Student's to the normal quantile with
    sum(n_i - 1) degrees of freedom; then cut off at `limits`. The bounds are NaN where a stratum has one run only.
    """
    rng, smallest = np.random.default_rng(seed), min(map(len, strata))
    point = statistic([stratum[:, None] for stratum in strata])[:, 0]
    if smallest < 2:
        return point, np.full_like(point, np.nan), np.full_like(point, np.nan)
    resampled = [stratum[rng.integers(len(stratum), size=(len(stratum), reps))] for stratum in strata]
    tails = np.array([1 - CONFIDENCE, 1 + CONFIDENCE]) / 2
    edges = np.quantile(statistic(resampled), tails, axis=1)
    freedom = sum(len(stratum) - 1 for stratum in strata)
    wider = math.sqrt(smallest / (smallest - 1)) * stdtrit(freedom, tails[1]) / ndtri(tails[1])
    low, high = np.clip(point + wider * (edges - point), *limits)
    return point, low, high


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method; NaN are none."""
    p = np.asarray(values, dtype=float)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN come last
    p[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return p.tolist()
