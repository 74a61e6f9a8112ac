"""Aggregates over tasks: interquartile means, performance profiles, probability of improvement.

After Agarwal et al. 2021 (arXiv 2108.13264). They take at least two tasks, and a method enters only if it has a
finished and no diverged run on each: other tasks would be another mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from analysis.io.methods import ordered
from analysis.io.rows import SCORE, Results, reject_mixed_sources
from analysis.stats import intervals
from analysis.stats.compare import cells
from analysis.stats.intervals import DRAWN_REPS, Array, Interval, bootstrap, estimate
from analysis.stats.transfer import score_range
from moore.base.errors import UserError

Band = tuple[Array, Array, Array, Array]  # x, point, low, high: [P] each


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


@lru_cache(maxsize=2)
def samples(study: Results) -> dict[str, Sample]:
    """Collect every method that has a finished and no diverged run on all tasks; none in a study of one task."""
    reject_mixed_sources(study)
    runs, found = cells(study), {}
    for method in ordered(study.methods) if len(study.datasets) > 1 and runs else []:
        places = [runs.place(dataset, method) for dataset in study.datasets]
        groups = {place: runs[place, method] for place in places}
        finished = [mine[mine["finished"]] for mine in groups.values()]
        if all(len(mine) for mine in finished) and not any(mine["diverged"].any() for mine in groups.values()):
            found[method] = Sample(finished, [list(groups).index(place) for place in places])
    return found


def iqm_by_step(study: Results) -> dict[str, Band]:
    """Return each method's IQM over tasks at every evaluation. Raises UserError if its runs were evaluated apart."""
    scores, limits = study.select(SCORE), score_range(study, study.datasets)
    wide = scores.pivot_table(index="run", columns="env_steps", values="value", aggfunc="mean")
    out = {}
    for method, sample in samples(study).items():
        strata = [wide.loc[mine["run"]] for mine in sample.runs]
        evaluated = pd.concat(strata).dropna(axis=1, how="all")
        if evaluated.isna().to_numpy().any():
            problem = f"runs of {method} were evaluated at different steps"
            raise UserError(f"study {study.name}: column env_steps: {problem}")
        values = [stratum[evaluated.columns].to_numpy(float) for stratum in strata]
        out[method] = (evaluated.columns.to_numpy(float), *intervals.bootstrap_curve(values, sample.tasks, limits))
    return out


@lru_cache(maxsize=2)  # the main table and the figure have the same
def final_statistics(study: Results) -> dict[str, dict[str, Interval]]:
    """Return IQM, mean and optimality gap of each method's final scores (0-100); the mean's interval is Student's."""
    out, (low, high) = {}, score_range(study, study.datasets)
    for method, sample in samples(study).items():
        mean = estimate(sample.finals, [sample.tasks.count(index) for index in range(len(sample.runs))])

        def both(strata: Sequence[Array], tasks: Sequence[int] = sample.tasks) -> Array:
            scores = [strata[index] for index in tasks]
            return np.stack([intervals.iqm(scores), intervals.optimality_gap(scores)])

        ends = bootstrap(sample.finals, both, limits=((low, 0.0), (high, 100.0 - low)))
        count = sum(map(len, sample.runs))
        iqm, gap = (Interval(float(mid), float(a), float(b), count) for mid, a, b in zip(*ends, strict=True))
        if mean:
            out[method] = {"IQM": iqm, "mean": mean.interval(limits=(low, high)), "optimality gap": gap}
    return out


def profiles(study: Results) -> dict[str, Band]:
    """Return each method's share of runs with a final score (0-1) above each of 101 thresholds over all that occur."""
    found, out = samples(study), {}
    finals = [runs / 100 for sample in found.values() for runs in sample.finals]
    thresholds = np.linspace(min([0.0, *map(np.min, finals)]), max([1.0, *map(np.max, finals)]), 101)
    for method, sample in found.items():

        def share(strata: Sequence[Array], tasks: Sequence[int] = sample.tasks) -> Array:
            return intervals.profile([strata[index] / 100 for index in tasks], thresholds)

        out[method] = (thresholds, *bootstrap(sample.finals, share, DRAWN_REPS, (0.0, 1.0)))
    return out


def improvements(study: Results) -> dict[str, Interval]:
    """Return P(reference > other) of every other method, in hundredths; none if the reference lacks a task."""
    found = samples(study)
    if study.main not in found:
        return {}
    ours, out = found[study.main], {}
    for method, theirs in found.items():
        if method == study.main:
            continue

        def chance(strata: Sequence[Array], theirs: Sample = theirs) -> Array:
            mine, other = strata[: len(ours.runs)], strata[len(ours.runs) :]
            won = intervals.improvement([mine[i] for i in ours.tasks], [other[i] for i in theirs.tasks])
            return 100 * np.atleast_2d(won)

        (point,), (low,), (high,) = bootstrap([*ours.finals, *theirs.finals], chance, DRAWN_REPS, (0.0, 100.0))
        out[method] = Interval(point, low, high, sum(map(len, ours.runs)))
    return out
