"""Aggregates over tasks: interquartile means, performance profiles, probability of improvement.

After Agarwal et al. 2021 (arXiv 2108.13264). They take at least two tasks, and a method enters only if it has a
finished and no diverged run on each: other tasks would be another mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.io.methods import ordered
from analysis.io.rows import SCORE, Results
from analysis.stats import intervals
from analysis.stats.compare import cells
from analysis.stats.intervals import DRAWN_REPS, REPS, Array, Curve, Estimate, Interval, bootstrap, estimate
from analysis.stats.transfer import score_range
from moore.base.errors import UserError


@dataclass(frozen=True)
class Sample:
    """The finished runs of a method on every task: runs [n_i] of each stratum, and the stratum of every task.

    A stratum is a dataset, or an environment for runs from scratch, which stand beside several of its datasets.
    """

    runs: list[pd.DataFrame]
    tasks: list[int]

    @property
    def finals(self) -> list[Array]:
        """Final scores [n_i] of every stratum."""
        return [runs["final"].to_numpy(float) for runs in self.runs]

    def by_task(self, strata: Sequence[Array]) -> list[Array]:
        """Find the array of every task's stratum."""
        return [strata[index] for index in self.tasks]

    def mean(self, values: Sequence[npt.ArrayLike]) -> Estimate | None:
        """Estimate the mean over tasks of values [n_i] of every stratum."""
        return estimate(values, [self.tasks.count(index) for index in range(len(self.runs))])

    def resampled(
        self,
        statistic: Callable[[Sequence[Array]], Array],
        reps: int,
        limits: tuple[npt.ArrayLike, npt.ArrayLike],
        values: Sequence[Array] = (),
    ) -> tuple[Array, Array, Array]:
        """Compute the `bootstrap` of a statistic of every task's `values` [n_i, ...]: its final scores by default."""
        return bootstrap(values or self.finals, lambda strata: statistic(self.by_task(strata)), reps, limits)


def sample(study: Results, method: str) -> Sample | None:
    """Collect the runs of a method; None unless it has a finished and no diverged run on every task."""
    runs = cells(study)
    places = [runs.place(dataset, method) for dataset in study.datasets]
    groups = {place: runs[place, method] for place in places}
    finished = [mine[mine["finished"]] for mine in groups.values()]
    if not all(len(mine) for mine in finished) or any(mine["diverged"].any() for mine in groups.values()):
        return None
    return Sample(finished, [list(groups).index(place) for place in places])


@lru_cache(maxsize=16)
def samples(study: Results) -> dict[str, Sample]:
    """Collect every method that has a finished and no diverged run on all tasks; none in a study of one task."""
    methods = ordered(study.methods) if len(study.datasets) > 1 and cells(study) else []
    return {method: found for method in methods if (found := sample(study, method))}


def iqm_by_step(study: Results) -> dict[str, Curve]:
    """Return each method's IQM over tasks at every evaluation. Raises UserError if its runs were evaluated apart."""
    scores, limits = study.select(SCORE), score_range(study, study.datasets)
    wide = scores.pivot_table(index="run", columns="env_steps", values="value", aggfunc="mean")
    out = {}
    for method, found in samples(study).items():
        strata = [wide.loc[mine["run"]] for mine in found.runs]
        evaluated = pd.concat(strata).dropna(axis=1, how="all")
        if evaluated.isna().to_numpy().any():
            problem = f"runs of {method} were evaluated at different steps"
            raise UserError(f"study {study.name}: column env_steps: {problem}")
        values = [stratum[evaluated.columns].to_numpy(float) for stratum in strata]
        ends = found.resampled(lambda tasks: intervals.iqm(tasks).T, DRAWN_REPS, limits, values)
        out[method] = Curve(evaluated.columns.to_numpy(float), *ends)
    return out


@lru_cache(maxsize=16)  # the main table and the figure have the same
def final_statistics(study: Results) -> dict[str, dict[str, Interval]]:
    """Return IQM, mean and optimality gap of each method's final scores (0-100); the mean's interval is Student's."""
    out, (low, high) = {}, score_range(study, study.datasets)
    for method, found in samples(study).items():
        ends = found.resampled(
            lambda tasks: np.stack([intervals.iqm(tasks), intervals.optimality_gap(tasks)]),
            REPS, ((low, 0.0), (high, 100.0 - low)),
        )  # fmt: skip
        count, mean = sum(map(len, found.runs)), found.mean(found.finals)
        iqm, gap = (Interval(float(mid), float(a), float(b), count) for mid, a, b in zip(*ends, strict=True))
        if mean:
            out[method] = {"IQM": iqm, "mean": mean.interval(limits=(low, high)), "optimality gap": gap}
    return out


def profiles(study: Results) -> dict[str, Curve]:
    """Return each method's share of runs with a final score above each of 101 thresholds (0-100 and all that occur)."""
    finals = [runs for found in samples(study).values() for runs in found.finals]
    x = np.linspace(min([0.0, *map(np.min, finals)]), max([100.0, *map(np.max, finals)]), 101)
    return {
        method: Curve(x, *found.resampled(lambda tasks: intervals.profile(tasks, x), DRAWN_REPS, (0.0, 1.0)))
        for method, found in samples(study).items()
    }


def improvements(study: Results) -> dict[str, Interval]:
    """Return P(reference > other) of every other method, in hundredths; none if the reference lacks a task."""
    found = samples(study)
    if study.main not in found:
        return {}
    ours, out = found[study.main], {}
    count = len(ours.runs)
    for method, theirs in found.items():

        def chance(strata: Sequence[Array], theirs: Sample = theirs) -> Array:
            mine, other = ours.by_task(strata[:count]), theirs.by_task(strata[count:])
            return 100 * np.atleast_2d(intervals.improvement(mine, other))

        if method != study.main:
            (point,), (low,), (high,) = bootstrap([*ours.finals, *theirs.finals], chance, DRAWN_REPS, (0.0, 100.0))
            out[method] = Interval(point, low, high, sum(map(len, ours.runs)))
    return out
