"""Captions, from the manifest and the rows: what the numbers are, how the intervals were made, what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.methods import MAIN, REFERENCES
from analysis.rows import Study, offline_problems, several_offline_stages
from analysis.stats import REPS
from analysis.transfer import GAIN, LAST, problems

T_INTERVAL = "± is half of the 95 % Student-t interval over seeds (std with ddof = 1)"


def provenance(study: Study) -> str:
    """Where the numbers come from; keys that the manifest lacks are left out."""
    m = study.manifest
    facts = [f"Study {study.name}"]
    if m.get("scale"):
        facts.append(f"scale {m['scale']}")
    if m.get("date"):
        facts.append(str(m["date"]))
    if isinstance(m.get("cpu_seconds"), (int, float)):
        machine = f" on {m['machine']}" if m.get("machine") else ""
        facts.append(f"{m['cpu_seconds'] / 3600:.2f} CPU h{machine}")
    if m.get("git_commit"):
        commit, *state = str(m["git_commit"]).split("-", 1)
        facts.append("-".join([f"commit {commit[:10]}", *state]))
    if m.get("command"):
        facts.append(f"command `{m['command']}`")
    return ", ".join(facts) + "."


def episodes(study: Study) -> int:
    """Episodes in one evaluation, from the study's config; the protocol's ten where it does not say."""
    return int(study.setting("eval_episodes", "episodes") or 10)


def seeds_clause(seeds: int) -> str:
    few = "" if seeds >= 5 else "; fewer than the 5 that a claim needs"
    return f"{seeds} seed{'s' if seeds != 1 else ''}{few}; n marks a cell with another number of runs"


def runs_clause(study: Study, runs: pd.DataFrame) -> str:
    """Every run that is not in the means, or nothing."""
    clauses = []
    if listed := problems(runs, study.online_steps):
        clauses.append(f"Stopped early, so without a final score: {'; '.join(listed)}.")
    if stages := offline_problems(study):
        clauses.append(f"Offline stage diverged, so no online run: {'; '.join(stages)}.")
    return " ".join(clauses)


def main(study: Study, runs: pd.DataFrame, seeds: int, aggregated: bool) -> str:
    finished = runs.loc[runs["finished"], "evaluations"]
    used = min(LAST, int(finished.min())) if len(finished) else LAST
    text = [
        "Normalised score (0-100), offline → online: the evaluation before the first online step (J_0) → the mean of "
        f"the last {used} evaluations of {study.online_steps} online steps; {episodes(study)} episodes each, "
        "deterministic policy.",
        _scratch(runs),
        f"{seeds_clause(seeds).capitalize()}. {T_INTERVAL}.",
        "Bold: the best mean and every method whose 95 % interval of the paired difference to it (same dataset and "
        "seed) includes 0.",
    ]
    if aggregated:
        text.append(
            f"Last rows: online score with its 95 % stratified bootstrap interval ({REPS} resamples of runs within "
            "tasks); missing where a task is missing or diverged."
        )
    return _join(*text, runs_clause(study, runs), provenance(study))


def offline(study: Study, seeds: int) -> str:
    return _join(
        f"Normalised score (0-100), mean of the last {LAST} offline evaluations, {episodes(study)} episodes each.",
        f"{seeds_clause(seeds).capitalize()}. {T_INTERVAL}.",
        provenance(study),
    )


def transfer(study: Study, runs: pd.DataFrame, seeds: int) -> str:
    return _join(
        "Transfer metrics per run, averaged over seeds, in score points (0-100) and environment steps. Drop, first "
        f"10 %: J_0 minus the lowest score in the first 10 % of the {study.online_steps} online steps; worst drop: the "
        "same over all steps (negative: never below J_0). AUC: mean score over steps (trapezoids). Steps to J_0 + "
        f"{GAIN:.0f}: first evaluation that far above J_0; n counts the runs that got there. A run from scratch has an "
        "AUC only.",
        f"{seeds_clause(seeds).capitalize()}. {T_INTERVAL}.",
        runs_clause(study, runs),
        provenance(study),
    )


def learning_curves(study: Study, runs: pd.DataFrame, seeds: int) -> str:
    return _join(
        f"Learning curves of {study.name}: evaluation score (0-100, {episodes(study)} episodes, no smoothing), mean "
        f"over {seeds} seeds with the 95 % Student-t band. Left of the vertical rule: the shared offline stage, "
        "gradient updates squeezed onto a quarter of the online axis; right: environment steps since the switch.",
        "Variants have offline stages of their own; the grey line is the mean of all."
        if several_offline_stages(study)
        else "",
        _scratch(runs),
        "" if runs["finished"].all() else "A run that diverged or is unfinished is a thin line that ends in a cross.",
        runs_clause(study, runs),
        provenance(study),
    )


def online_share(study: Study, drawn: Sequence[str], missing: Sequence[str]) -> str:
    formula = f"Dashed: the closed form α S t² / (α S t² + N_off) of `{MAIN}` at the end of epoch t."  # noqa: RUF001
    closed = formula if drawn else ""
    lacking = f"No closed form for {', '.join(missing)}: the manifest does not give N_off, S and the decay rate."
    unknown = lacking if missing else ""
    what = (
        "Share of online transitions among the draws of an epoch, mean over the seeds that finished; solid: batches of "
        "the dynamics model, dotted: start states of rollouts."
    )
    return _join(what, closed, unknown, provenance(study))


def penalty(study: Study, banded: str) -> str:
    return _join(
        "Mean ensemble uncertainty u of imagined transitions, before the penalty coefficient, mean over the "
        f"seeds that finished; the band is the 20-80 % range of u in `{banded}`, averaged over seeds. Left of the "
        "rule: the offline stage.",
        provenance(study),
    )


def _scratch(runs: pd.DataFrame) -> str:
    present = [name for name in REFERENCES if name in set(runs["method"])]
    return f"{' and '.join(present)} learn from scratch on the same online steps: no offline stage." if present else ""


def _join(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
