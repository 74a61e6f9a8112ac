"""Captions of the figures besides the learning curves: what is drawn, how the intervals were made, what is left out."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.captions import (
    gaps_clause,
    joined,
    physics_clause,
    provenance,
    runs_clause,
    seeds_clause,
    stages_clause,
)  # fmt: skip
from analysis.methods import listed, ordered
from analysis.rows import Study
from analysis.stats import REPS
from analysis.sweeps import Sweep
from analysis.tables import most_seeds
from analysis.transfer import summarise


def online_share(study: Study, closed: bool, lacking: Sequence[str]) -> str:
    """`closed`: whether a closed form is drawn; `lacking`: the method and dataset of every one that is not."""
    return joined(
        "Share of online transitions among the draws of an epoch, mean over the seeds that finished; solid: batches of "
        "the dynamics model, dotted: start states of rollouts.",
        "Dashed: the closed form n / (n + N_off / (α t)) of each prioritised variant, "  # noqa: RUF001
        "n online steps so far in epoch t, averaged over the retrainings of the epoch."
        if closed
        else "",
        f"No closed form for {', '.join(lacking)}: the manifest does not give N_off, S and the decay rate."
        if lacking
        else "",
        *_ending(study),
    )


def penalty(study: Study, banded: str, metric: str) -> str:
    return joined(
        "Mean ensemble uncertainty u of imagined transitions, before the penalty coefficient, mean over the "
        f"seeds that finished; the bands are the 20-80 % range of u in `{banded}` and in its offline stage, averaged "
        "over seeds. Left of the rule: the offline stage, whose band may go beyond the panel.",
        stages_clause(study, metric),
        *_ending(study),
    )


def open_loop(study: Study, methods: Sequence[str]) -> str:
    return joined(
        "Root mean squared error of the state that the elites' mean predicts after h steps along real actions, from "
        "transitions that the ensemble has not been trained on yet, in standard deviations of its training inputs. A "
        "run's value is its mean over the epochs of a third that have h steps in a row.",
        _thirds(study, methods),
        "Vertical: the rollout length H." if study.manifest.get("configs") else "",
        *_ending(study),
    )


def calibration(study: Study, methods: Sequence[str]) -> str:
    return joined(
        "Share of real next states and rewards, not trained on yet, that lie inside the elites' central intervals "
        "(every elite and dimension by itself), against the nominal mass of these intervals; below the diagonal the "
        "ensemble is too sure.",
        _thirds(study, methods),
        *_ending(study),
    )


def rank_correlation(study: Study) -> str:
    return joined(
        "Spearman's rank correlation between the uncertainty u and the one-step error of the ensemble on transitions "
        "that it has not been trained on yet, mean over the seeds that finished"
        f"; band: 95 % Student-t interval of `{study.main}`.",
        *_ending(study),
    )


def relative_error(study: Study, method: str, outer: float, undefined: int) -> str:
    """`outer`: share of the points beyond an edge; `undefined`: epochs with a value that is not finite."""
    return joined(
        "Relative uncertainty error. The paper shows its density without a definition; here it is (u after a "
        "retraining - u before it) / u before it, on a fixed set of offline transitions that never train the ensemble, "
        f"in the last retraining of every epoch of `{method}`. Gaussian kernel density of the 20 quantiles of equal "
        "mass that each run and epoch logs, pooled over seeds and the epochs of a third of the online steps; the outer "
        f"{100 * outer:g} % on either side are beyond the edges.",
        f"Without {undefined} epochs of a run that have no finite value." if undefined else "",
        *_ending(study),
    )


def robustness(study: Study, sweep: Sweep) -> str:
    return joined(
        f"Final score and worst drop (J_0 minus the lowest online score) against `{sweep.key}`: mean over seeds of the "
        "methods that differ in nothing else, with the 95 % Student-t interval. Dotted: the reference "
        f"`{sweep.reference}`.",
        _seeds(study),
        *_ending(study),
    )


def forest(study: Study) -> str:
    return joined(
        f"Paired difference to `{study.main}` (same dataset and seed) of the final score and of the area under the "
        "learning curve, in score points; left of 0 the method is worse. A dataset's panel shows means over seeds with "
        "the 95 % Student-t interval.",
        "The mean over tasks has a 95 % stratified bootstrap interval "
        f"({REPS} resamples of the differences within tasks)."
        if len(study.datasets) > 1
        else "",
        _seeds(study),
        *_ending(study),
    )


def iqm_curves(study: Study, methods: Sequence[str]) -> str:
    return joined(
        f"Interquartile mean over the runs of all {len(study.datasets)} tasks at every evaluation (score 0-100, no "
        f"smoothing) with its pointwise 95 % stratified bootstrap band ({REPS} resamples of runs within tasks).",
        *_aggregate(study, methods),
    )


def interval_plot(study: Study, methods: Sequence[str]) -> str:
    return joined(
        "Aggregates of the final scores on the scale 0-1 (score / 100) with 95 % stratified bootstrap intervals "
        f"({REPS} resamples of runs within tasks): IQM, interquartile mean of all runs; mean and median of the task "
        "means; optimality gap, by how much scores fall short of 1 on average (less is better).",
        *_aggregate(study, methods),
    )


def profiles(study: Study, methods: Sequence[str]) -> str:
    return joined(
        "Share of runs with a final score above a threshold, averaged over "
        f"{len(study.datasets)} tasks, with the pointwise 95 % stratified bootstrap band ({REPS} resamples of runs "
        "within tasks).",
        *_aggregate(study, methods),
    )


def improvement_plot(study: Study, others: Sequence[str]) -> str:
    return joined(
        f"Probability that a run of `{study.main}` ends with a higher score than a run of the other method on the same "
        "task (ties one half), averaged over tasks, with its 95 % stratified bootstrap interval "
        f"({REPS} independent resamples of both methods' runs within tasks).",
        *_aggregate(study, [study.main, *others]),
    )


def _thirds(study: Study, methods: Sequence[str]) -> str:
    """What the lines of a figure of thirds are."""
    band = "; band: 95 % Student-t interval" if len(methods) == 1 else ""
    return (
        f"Mean over the seeds of {listed([f'`{name}`' for name in methods])} that finished, in each third of the "
        f"{study.online_steps} online steps{band}."
    )


def _aggregate(study: Study, methods: Sequence[str]) -> tuple[str, ...]:
    """Who is not in an aggregate, the number of seeds, and what every caption says last."""
    without = [name for name in ordered(study.methods) if name not in methods]
    why = "a task is missing, unfinished or diverged"
    return f"Not shown: {listed(without)} ({why})." if without else "", _seeds(study), *_ending(study)


def _seeds(study: Study) -> str:
    return f"{seeds_clause(most_seeds(summarise(study))).split(';')[0].capitalize()}."


def _ending(study: Study) -> tuple[str, ...]:
    """What every caption says last."""
    runs = summarise(study)
    return runs_clause(study, runs), gaps_clause(study, runs), physics_clause(study), provenance(study)
