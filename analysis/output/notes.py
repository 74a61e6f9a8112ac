"""What a reader of a study's numbers should know, once for each study: where they come from and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.io.methods import IMPORTED, REFERENCES, listed, ordered
from analysis.io.rows import SCORE, Results, source_of
from analysis.io.settings import budgets, deviations, frozen, untrained, values
from analysis.io.stages import offline_problems, one_stage, stages
from analysis.stats.compare import most_seeds
from analysis.stats.sweeps import sweeps
from analysis.stats.transfer import problems, summarise
from moore.base.machine import short
from moore.data.mismatch import PhysicsMismatch

TO_LOOK_AT = "quick"  # the scale of `make quick`


def notes(study: Results) -> list[str]:
    """List the sentences that hold for every table and figure of a study; only those that say something."""
    runs, episodes = summarise(study), study.setting("eval_episodes")
    said = "" if episodes is None else f"; {episodes} episodes in an evaluation, deterministic policy"
    found = [
        not_to_cite(study),
        provenance(study),
        *(_overlay(study, entry) for entry in study.manifest.get("overlays", [])),
        f"{study.online_steps} online steps{said}. A superscript n=… marks a cell with a different number of seeds.",
        *_starts(study),
        *_shared_stages(study),
        *_sweep(study),
        _frozen(study),
        budgets(study),
        deviations(study),
        *_stopped(study, runs),
        _gaps(study, runs),
        *_physics(study),
    ]
    return [sentence for sentence in found if sentence]


def not_to_cite(study: Results) -> str:
    """Say that a study is too small for anything but to see it run."""
    return "NOT FOR CITING: a look at how it runs." if study.manifest.get("scale") == TO_LOOK_AT else ""


def provenance(study: Results) -> str:
    """Say where the numbers come from; keys that the manifest lacks are left out."""
    m = study.manifest
    machine = f" on {m['machine']}" if m.get("machine") else ""
    facts = {
        "study": f"Study {study.name}",
        "scale": f"scale {m.get('scale')}",
        "date": str(m.get("date")),
        "cpu_seconds": f"{(m.get('cpu_seconds') or 0) / 3600:.2f} CPU h{machine}",
        "git_commit": f"commit {short(str(m.get('git_commit')))}",
        "command": f"command `{m.get('command')}`",
        "imported": f"imported from {m.get('file')} (sha256 {str(m.get('sha256'))[:12]}), not run here",
    }
    return ", ".join(text for key, text in facts.items() if m.get(key) or key == "study") + "."


def _overlay(study: Results, entry: Mapping[str, Any]) -> str:
    """Whose curves lie over a study's own."""
    cut = f"; steps after {study.online_steps} are left out" if entry["cut"] else ""
    cut += "".join(f"; {ours} is {theirs} there: other data" for theirs, ours in entry["aliases"].items())
    cut += "".join(f"; {one}: evaluated too far apart, at its own steps and in no table" for one in entry["apart"])
    return (
        f"{entry['name']}:...{IMPORTED}: other people's curves under their own protocol, from {entry['file']} (sha256 "
        f"{entry['sha256'][:12]}), not run here, in no paired comparison and not in the number of seeds; "
        f"interpolated at our steps{cut}."
    )


def _starts(study: Results) -> list[str]:
    """Which methods have no offline stage."""
    bare = untrained(study)
    scratch = [
        name for name in ordered(study.methods) if name in REFERENCES or values(study, name, "dataset") == [None]
    ]
    from_scratch = f"{listed(scratch)} learn{_s(scratch)} from scratch on the same online steps: no offline stage."
    from_data = (
        f"{listed(bare)} start{_s(bare)} with the dataset but untrained: no offline stage, J_0 is of an untrained "
    )
    return [from_scratch] * bool(scratch) + [f"{from_data}policy."] * bool(bare)


def _shared_stages(study: Results) -> list[str]:
    """Which methods start from one offline stage, where not all do."""
    if one_stage(study, SCORE):
        return []
    groups = dict.fromkeys(stage.methods for dataset in study.datasets for stage in stages(study, dataset, SCORE))
    shared = [f"{listed(group)} share one offline run, drawn as {group[0]}" for group in groups if len(group) > 1]
    return [f"Offline curves look like the method that continues from them{''.join(f'; {words}' for words in shared)}."]


def _sweep(study: Results) -> list[str]:
    """Which number all variants differ in, where that is one."""
    sentences = []
    for sweep in sweeps(study):
        if len(sweep.values) == len(set(study.methods) - set(REFERENCES)):
            first, *_, last = map(sweep.text, sweep.values)
            base = sweep.text(sweep.reference)
            sentences.append(f"Light to dark: `{sweep.key}` from {first} to {last}, in the reference {base}.")
    return sentences


def _frozen(study: Results) -> str:
    names = frozen(study)
    return f"{listed(names)} keep{_s(names)} the offline policy: later scores are evaluations of it." if names else ""


def _stopped(study: Results, runs: pd.DataFrame) -> list[str]:
    """Every run that is not in the means."""
    named = {
        "Stopped early, so without a final score": problems(runs, study.online_steps),
        "Offline stage diverged": offline_problems(study),
    }
    return [f"{words}: {'; '.join(found)}." for words, found in named.items() if found]


def _gaps(study: Results, runs: pd.DataFrame) -> str:
    """Every method with fewer runs on a dataset than the study has seeds, or nothing."""
    counts, expected, clauses = runs.groupby(["method", "dataset"]).size(), most_seeds(runs), []
    for method in (method for method in ordered(study.methods) if not method.endswith(IMPORTED)):
        for dataset in dict.fromkeys(source_of(name, method, runs) for name in study.datasets):
            if (count := counts.get((method, dataset), 0)) < expected:
                clauses.append(f"{method} on {dataset} ({count} of {expected})")
    return f"Fewer runs than seeds: {', '.join(clauses)}." if clauses else ""


def _physics(study: Results) -> list[str]:
    """Every dataset that was recorded with another physics than its runs have, or with an unknown one."""
    entries = [entry for entry in study.manifest.get("physics_mismatch") or [] if entry["dataset"] in study.datasets]
    numbers = [{key: value for key, value in entry.items() if key != "dataset"} for entry in entries]
    return [PhysicsMismatch(**of).sentence(e["dataset"]) for e, of in zip(entries, numbers, strict=True)]


def _s(names: Sequence[str]) -> str:
    """The ending of a verb."""
    return "s" if len(names) == 1 else ""
