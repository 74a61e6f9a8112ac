"""What a reader of a study's numbers should know, once for each study: where they come from and what is left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from analysis.io.methods import IMPORTED, REFERENCES, listed, ordered
from analysis.io.rows import SCORE, Results
from analysis.io.settings import budgets, deviations, frozen, untrained, values
from analysis.io.stages import offline_problems, one_stage, stages
from analysis.stats.compare import cells, most_seeds
from analysis.stats.sweeps import sweeps
from analysis.stats.transfer import problems, summarise
from moore.base.machine import short
from moore.data.mismatch import PhysicsMismatch

TO_LOOK_AT = "quick"  # the scale of `make quick`


def notes(study: Results) -> list[str]:
    """List the sentences that hold for every table and figure of a study; only those that say something."""
    runs, episodes = summarise(study), study.manifest.get("config", {}).get("eval_episodes")
    said = "" if episodes is None else f"; {episodes} episodes in an evaluation, deterministic policy"
    bare, fixed = untrained(study), frozen(study)
    scratch = [m for m in ordered(study.methods) if m in REFERENCES or values(study, m, "dataset") == [None]]
    found = [
        not_to_cite(study),
        _provenance(study),
        *(_overlay(study, entry) for entry in study.manifest.get("overlays", [])),
        f"{study.online_steps} online steps{said}. A superscript n=… marks a cell with a different number of seeds.",
        _verb(scratch, "learn", "from scratch on the same online steps: no offline stage."),
        _verb(bare, "start", "with the dataset but untrained: no offline stage, J_0 is of an untrained policy."),
        *_shared_stages(study),
        *_sweep(study),
        _verb(fixed, "keep", "the offline policy: later scores are evaluations of it."),
        budgets(study),
        deviations(study),
        _joined("Stopped early, so without a final score: ", problems(runs, study.online_steps)),
        _joined("Offline stage diverged: ", offline_problems(study)),
        _joined("Fewer runs than seeds: ", _gaps(study), ", "),
    ]
    for entry in study.manifest.get("physics_mismatch") or []:
        if entry["dataset"] in study.datasets:
            numbers = {key: value for key, value in entry.items() if key != "dataset"}
            found.append(PhysicsMismatch(**numbers).sentence(entry["dataset"]))
    return [sentence for sentence in found if sentence]


def not_to_cite(study: Results) -> str:
    """Say that a study is too small for anything but to see it run."""
    return "NOT FOR CITING: a look at how it runs." if study.manifest.get("scale") == TO_LOOK_AT else ""


def _provenance(study: Results) -> str:
    """Where the numbers come from; keys that the manifest lacks are left out."""
    m = study.manifest
    machine = f" on {m['machine']}" if m.get("machine") else ""
    facts = {
        "scale": f"scale {m.get('scale')}",
        "date": str(m.get("date")),
        "cpu_seconds": f"{(m.get('cpu_seconds') or 0) / 3600:.2f} CPU h{machine}",
        "git_commit": f"commit {short(str(m.get('git_commit')))}",
        "command": f"command `{m.get('command')}`",
        "imported": f"imported from {m.get('file')} (sha256 {str(m.get('sha256'))[:12]}), not run here",
    }
    return ", ".join([f"Study {study.name}", *(text for key, text in facts.items() if m.get(key))]) + "."


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


def _shared_stages(study: Results) -> list[str]:
    """Which methods start from one offline stage, where not all do."""
    if one_stage(study, SCORE):
        return []
    groups = dict.fromkeys(stage.methods for several in stages(study, SCORE).values() for stage in several)
    shared = [f"; {listed(group)} share one offline run, drawn as {group[0]}" for group in groups if len(group) > 1]
    return [f"Offline curves look like the method that continues from them{''.join(shared)}."]


def _sweep(study: Results) -> Iterator[str]:
    """Which number all variants differ in, where that is one."""
    for sweep in sweeps(study):
        if len(sweep.values) == len(set(study.methods) - set(REFERENCES)):
            first, *_, last = map(sweep.text, sweep.values)
            base = sweep.text(sweep.reference)
            yield f"Light to dark: `{sweep.key}` from {first} to {last}, in the reference {base}."


def _gaps(study: Results) -> Iterator[str]:
    """Every method with fewer runs on a dataset than the study has seeds."""
    runs, expected = cells(study), most_seeds(study)
    for method in (method for method in ordered(study.methods) if not method.endswith(IMPORTED)):
        for dataset in dict.fromkeys(runs.place(name, method) for name in study.datasets):
            if (count := len(runs[dataset, method])) < expected:
                yield f"{method} on {dataset} ({count} of {expected})"


def _verb(names: Sequence[str], verb: str, rest: str) -> str:
    """Say what methods do, or nothing without them."""
    return f"{listed(names)} {verb}{'s' * (len(names) == 1)} {rest}" if names else ""


def _joined(words: str, parts: Iterable[str], comma: str = "; ") -> str:
    return f"{words}{comma.join(found)}." if (found := list(parts)) else ""
