"""Captions, from the manifest and the rows: what the numbers are, how the intervals were made, what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.deviations import deviations
from analysis.methods import IMPORTED, REFERENCES, listed, ordered
from analysis.rows import SCORE, Study, source_of
from analysis.settings import budgets, frozen, untrained
from analysis.stages import offline_problems, one_stage, stages
from analysis.stats import REPS
from analysis.sweeps import sweeps
from analysis.transfer import GAIN, LAST, problems
from moore.base.machine import short
from moore.data.mismatch import PhysicsMismatch

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
        facts.append(f"commit {short(str(m['git_commit']))}")
    if m.get("command"):
        facts.append(f"command `{m['command']}`")
    if m.get("imported"):
        facts.append(f"imported from {m.get('file')} (sha256 {str(m.get('sha256'))[:12]}), not run here")
    return joined(", ".join(facts) + ".", *(_overlay(study, entry) for entry in m.get("overlays", [])))


def _overlay(study: Study, entry: Mapping[str, Any]) -> str:
    """Whose curves lie over a study's own."""
    cut = f"; steps after {study.online_steps} are left out" if entry["cut"] else ""
    return (
        f"{entry['name']}:...{IMPORTED}: other people's curves under their own protocol, from {entry['file']} (sha256 "
        f"{entry['sha256'][:12]}), not run here, in no paired comparison and not in the number of seeds{cut}."
    )


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
    if lost := offline_problems(study):
        clauses.append(f"Offline stage diverged: {'; '.join(lost)}.")
    return " ".join(clauses)


def gaps_clause(study: Study, runs: pd.DataFrame) -> str:
    """Every method with fewer runs on a dataset than the study has seeds, or nothing."""
    ours = [method for method in ordered(study.methods) if not method.endswith(IMPORTED)]
    counts = runs[runs["method"].isin(ours)].groupby(["method", "dataset"]).size().to_dict()
    expected, clauses = max(counts.values(), default=0), []
    for method in ours:
        for dataset in dict.fromkeys(source_of(name, method, runs) for name in study.datasets):
            if (count := counts.get((method, dataset), 0)) < expected:
                clauses.append(f"{method} on {dataset} ({count} of {expected})")
    return f"Fewer runs than seeds: {', '.join(clauses)}." if clauses else ""


def physics_clause(study: Study) -> str:
    """Every dataset that was recorded with another physics than its runs have, or with an unknown one, or nothing."""
    sentences = []
    for entry in study.manifest.get("physics_mismatch") or []:
        measured = dict(entry)
        dataset = measured.pop("dataset")
        if dataset in study.datasets:
            sentences.append(PhysicsMismatch(**measured).sentence(dataset))
    return joined(*sentences)


def main(study: Study, runs: pd.DataFrame, seeds: int, aggregates: str) -> str:
    """`aggregates`: which part of the table holds mean and IQM over tasks, "rows" or "columns", or nothing."""
    finished = runs.loc[runs["finished"], "evaluations"]
    used = min(LAST, int(finished.min())) if len(finished) else LAST
    text = [
        "Normalised score (0-100), offline → online: the evaluation before the first online step (J_0) → the mean of "
        f"the last {used} evaluations of {study.online_steps} online steps; {episodes(study)} episodes each, "
        "deterministic policy.",
        starts_clause(study, runs),
        frozen_clause(study),
        budgets(study),
        deviations(study),
        f"{seeds_clause(seeds).capitalize()}. {T_INTERVAL}.",
        "Bold: the best mean and every method whose 95 % interval of the paired difference to it (same dataset and "
        "seed) includes 0.",
    ]
    if aggregates:
        text.append(
            f"Last {aggregates}: online score with its 95 % stratified bootstrap interval ({REPS} resamples of runs "
            "within tasks); missing where a task is missing or diverged."
        )
    return joined(*text, runs_clause(study, runs), physics_clause(study), provenance(study))


def offline(study: Study, seeds: int) -> str:
    return joined(
        f"Normalised score (0-100), mean of the last {LAST} offline evaluations, {episodes(study)} episodes each.",
        deviations(study),
        f"{seeds_clause(seeds).capitalize()}. {T_INTERVAL}.",
        physics_clause(study),
        provenance(study),
    )


def transfer(study: Study, runs: pd.DataFrame, seeds: int) -> str:
    return joined(
        "Transfer metrics per run, averaged over seeds, in score points (0-100) and environment steps. Drop, first "
        f"10 %: J_0 minus the lowest score in the first 10 % of the {study.online_steps} online steps; worst drop: the "
        "same over all steps (negative: never below J_0). AUC: mean score over steps (trapezoids). Steps to J_0 + "
        f"{GAIN:.0f}: first evaluation that far above J_0; n counts the runs that got there. A run from scratch has an "
        "AUC only.",
        f"So has {listed(untrained(study))}: no offline stage, J_0 is an untrained policy." if untrained(study) else "",
        frozen_clause(study),
        f"{seeds_clause(seeds).capitalize()}. {T_INTERVAL}.",
        runs_clause(study, runs),
        physics_clause(study),
        provenance(study),
    )


def learning_curves(study: Study, runs: pd.DataFrame, seeds: int) -> str:
    return joined(
        f"Learning curves of {study.name}: evaluation score (0-100, {episodes(study)} episodes, no smoothing), mean "
        f"over {seeds} seed{'' if seeds == 1 else 's'} with the 95 % Student-t band, cut where it goes beyond the "
        "panel. Left of the vertical rule: "
        f"{'the shared offline stage' if one_stage(study, SCORE) else 'the offline stages (means, thin)'}, "
        "gradient updates squeezed onto a quarter of the online axis; right: environment steps since the switch.",
        stages_clause(study, SCORE),
        sweep_clause(study),
        starts_clause(study, runs),
        frozen_clause(study),
        budgets(study),
        "" if runs["finished"].all() else "A run that diverged or is unfinished is a thin line that ends in a cross.",
        runs_clause(study, runs),
        gaps_clause(study, runs),
        physics_clause(study),
        provenance(study),
    )


def sweep_clause(study: Study) -> str:
    """Which number all variants differ in, where that is one, or nothing."""
    sentences = []
    for sweep in sweeps(study):
        if len(sweep.values) == len(set(study.methods) - set(REFERENCES)):
            first, *_, last = sweep.values
            span = f"from {sweep.text(first)} to {sweep.text(last)}"
            sentences.append(f"Light to dark: `{sweep.key}` {span}, in the reference {sweep.text(sweep.reference)}.")
    return joined(*sentences)


def stages_clause(study: Study, metric: str) -> str:
    """Whose offline stage a coloured line is, where methods have their own, or nothing."""
    if one_stage(study, metric):
        return ""
    groups = dict.fromkeys(stage.methods for dataset in study.datasets for stage in stages(study, dataset, metric))
    shared = [f"{listed(group)} start from one, drawn as {group[0]}" for group in groups if len(group) > 1]
    return f"Each is drawn like the method that starts from it{''.join(f'; {words}' for words in shared)}."


def starts_clause(study: Study, runs: pd.DataFrame) -> str:
    """Which methods have no offline stage, or nothing."""
    scratch = [name for name in REFERENCES if name in set(runs["method"])]
    bare = untrained(study)
    return joined(
        f"{listed(scratch)} learn{_s(scratch)} from scratch on the same online steps: no offline stage."
        if scratch
        else "",
        f"{listed(bare)} start{_s(bare)} with the dataset but untrained: no offline stage, J_0 is an untrained policy."
        if bare
        else "",
    )


def frozen_clause(study: Study) -> str:
    """Which methods do not learn online, or nothing."""
    names = frozen(study)
    return f"{listed(names)} keep{_s(names)} the offline policy: later scores are evaluations of it." if names else ""


def methods(study: Study, reference: str) -> str:
    return joined(
        "As run: gradient updates of the offline stage, and for every online environment step. Real batches: the "
        "strategy that draws from offline and online transitions, with their share of a batch where the rest is "
        "imagined. Settings: keys of `moore/algorithm/config.py` with values other than its "
        "defaults, of the algorithm's own "
        f"sections all, of the others those that differ from `{reference}`; what is the same there is the scale's. "
        "`or`: it depends on the task.",
        provenance(study),
    )


def _s(names: Sequence[str]) -> str:
    """The ending of a verb."""
    return "s" if len(names) == 1 else ""


def joined(*sentences: str) -> str:
    """One paragraph of those that say something."""
    return " ".join(sentence for sentence in sentences if sentence)
