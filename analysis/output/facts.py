"""Tables besides the results: what methods were run with and given, what others published, origin and cost of rows."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.io import settings
from analysis.io.methods import REFERENCES, ordered
from analysis.io.published import VALUE, Source, load_published
from analysis.io.rows import Results, environment, quality, source
from analysis.io.settings import UPDATES, UTD, frozen, text, values
from analysis.output.render import number
from analysis.output.tables import Cell, Table, main_cell
from analysis.stats.aggregates import sample
from analysis.stats.compare import cells, costs, most_seeds, scores_at_equal_arithmetic
from analysis.stats.transfer import score_range, summarise
from moore.data.d4rl import D4RL_RETURNS
from moore.data.scores import normalized_score

APART = 2.0  # methods whose arithmetic differs by more are also compared at that of the cheapest one
OURS = "this study"
BEHAVIOURS = Path(__file__).resolve().parents[2] / "moore" / "data" / "behaviours"
FACTS = {  # what a page says -> key of the manifest
    "scale": "scale", "date": "date", "command": "command", "commit": "git_commit", "machine": "machine",
    "imported from": "file", "sha256 of the file": "sha256",
}  # fmt: skip


def methods_table(study: Results) -> Table:
    """Rows: methods; columns: what they were run with, as text; no rows where the manifest has no configs."""
    names = [name for name in ordered(study.methods) if values(study, name, UTD)]
    reference = study.main if study.main in names else next(iter(names), "")
    rows = []
    for name in names:
        offline = [0] if name in REFERENCES else values(study, name, UPDATES)
        own = ", ".join(f"{key} {value}" for key, value in settings.own_settings(study, name, reference).items())
        updates = text(offline), text(values(study, name, UTD))
        shown = (settings.algorithm(study, name), *updates, _real_batches(study, name), own)
        rows.append(((name,), tuple(Cell.said("setting", words) for words in shown)))
    caption = (
        "Gradient updates as run. Real batches: who draws the real part of a batch, and its share. Settings: values "
        f"that differ from the code's defaults and from `{reference}`; of a penalty, from the defaults."
    )
    columns = ("algorithm", "offline updates", "updates per online step", "real batches", "settings")
    return Table("methods", ("method",), columns, tuple(rows), most_seeds(study), caption, words=True)


def budgets_table(study: Results) -> Table:
    """Rows: methods; columns: updates, critics, arithmetic and processor time of one run, and what it scored.

    No rows where the manifest does not say what a run computes. A score over tasks is missing where a method lacks a
    finished run on one or diverged.
    """
    spent = costs(study)
    rows: list[tuple[tuple[str, ...], tuple[Cell, ...]]] = []
    if spent["online tflop"].isna().all():
        return Table("budgets", ("method",), (), (), 0, "")
    spent["minutes"] = (spent["online seconds"] + spent["offline seconds"]) / 60
    heads = {"offline tflop": "offline TFLOP", "online tflop": "online TFLOP", "minutes": "CPU min"}
    means = spent.groupby("method")[[*heads]].mean().dropna(axis=1, how="all")
    learning = means["online tflop"].drop(frozen(study))
    apart = bool(learning.max() > APART * learning.min())
    scores = [summarise(study).set_index("run")["final"], *[scores_at_equal_arithmetic(study)] * apart]
    limits = score_range(study, study.datasets)
    for name in ordered(study.methods):
        agents, critics = (text(values(study, name, f"agent.{key}")) for key in ("num_agents", "num_critics"))
        spend = ["" if math.isnan(value) else f"{value:.3g}" for value in means.loc[name].to_numpy(float)]
        said = (text(values(study, name, UTD)), f"{agents} of {critics}" if agents else critics, *spend)
        cells, found = [Cell.said("setting", one) for one in said], sample(study, name)
        for score in scores:
            mean = found.mean([runs["run"].map(score) for runs in found.runs]) if found else None
            cells.append(replace(Cell.measured("score", mean.interval(limits=limits) if mean else None), seeds=None))
        rows.append(((name,), tuple(cells)))
    columns = ("updates per step", "critics", *(heads[str(part)] for part in means), "final score")
    columns += ("at equal arithmetic",) * apart
    caption = (
        "Means of one run over tasks and seeds. TFLOP: 10^12 operations in matrix products, without evaluation."
        + " CPU min: a run's share of its process's processor time, both stages." * ("minutes" in means)
        + " Scores: mean over tasks ± half of the 95 % t interval."
        + " At equal arithmetic: the score when a run has spent what the cheapest method's online stage takes." * apart
    )
    return Table("budgets", ("method",), columns, tuple(rows), most_seeds(study), caption)


def published_table(study: Results) -> Table:
    """Rows: our methods, then all published ones with their source; columns: tasks of D4RL's, without which no rows."""
    sources = load_published()
    theirs = {task for one in sources for task in one.values}
    tasks = {name: task for name in study.datasets if (task := f"{environment(name)}-{quality(name)}") in theirs}
    if not tasks or not most_seeds(study):
        return Table("published", ("source", "method"), (), (), 0, "")
    rows = [
        ((OURS, method), tuple(main_cell(cells(study)[dataset, method], method) for dataset in tasks))
        for method in ordered(study.methods)
    ]
    used = [one for one in sources if set(one.values) & set(tasks.values())]
    for one in used:
        for index, method in enumerate(one.methods):
            texts = {dataset: one.values.get(task) for dataset, task in tasks.items()}
            known = (Cell() if text is None else _cell(one, text[index], tasks[d]) for d, text in texts.items())
            rows.append(((one.name, method), tuple(known)))
    caption = (
        "Other people's published scores beside ours, for orientation, not as a target: budgets and data differ. "
        "Offline → online or online alone; returns converted with D4RL's references."
    )
    kind = source(study.datasets[0])
    data = {"self": "self-made data, not D4RL's files", "d4rl": "D4RL's files"}.get(kind, f"{kind} data")
    notes = (f"This study: {data}, {study.online_steps} online steps.", *(one.described for one in used))
    heads, columns = ("source", "method"), tuple(tasks)
    return Table("published", heads, columns, tuple(rows), most_seeds(study), caption, notes=notes)


def provenance_table(study: Results) -> Table:
    """Rows: what the manifest says of origin and cost; a row that it lacks is left out."""
    m = study.manifest
    facts = {name: str(m[key]) for name, key in FACTS.items() if m.get(key)}
    for name, key in (("processor time", "cpu_seconds"), ("wall time", "wall_seconds")):
        if isinstance(s := m.get(key), (int, float)):
            facts[name] = f"{s:.0f} s ({s / 3600:.2f} h)"
    if m.get("peak_memory_mb"):
        facts["peak memory"] = f"{m['peak_memory_mb']} MB"
    if isinstance(m.get("packages"), dict):
        facts["packages"] = ", ".join(f"{name} {version}" for name, version in m["packages"].items())
    rows = tuple(((name,), (Cell.said("fact", fact),)) for name, fact in facts.items())
    return Table("provenance", ("study",), (study.name,), rows, 0, "", words=True)


def costs_table(study: Results) -> Table:
    """Rows: runs; columns: their share of processor time and how far they came."""
    spent = study.manifest.get("run_cpu_seconds", {})
    last = study.rows.groupby(["run", "phase"])[["env_steps", "updates"]].max()
    rows = []
    for owner in study.owners.sort_values(["phase", "method", "dataset", "seed"]).to_dict("records"):
        steps, updates = last.loc[(owner["run"], owner["phase"])]
        seconds = spent.get(owner["run"])
        texts = ("" if seconds is None else f"{seconds:.1f}", f"{steps}", f"{updates}")
        heads = (owner["method"], owner["dataset"], str(owner["seed"]), owner["phase"])
        rows.append((heads, tuple(Cell.said("cost", text) for text in texts)))
    heads, columns = ("method", "dataset", "seed", "stage"), ("CPU s", "steps", "updates")
    return Table("costs", heads, columns, tuple(rows), 0, "")


def behaviours_table() -> Table:
    """Rows: environments; columns: scores of the shipped behaviour policies, D4RL's in brackets, and their cost."""
    rows = []
    for path in sorted(BEHAVIOURS.glob("*.json")):
        facts, env = json.loads(path.read_text(encoding="utf-8")), path.stem
        with np.load(path.with_suffix(".npz")) as stored:
            scores = stored["scores"]
        texts = []
        for level in ("medium", "expert"):
            mean = D4RL_RETURNS.get(env, {}).get(level)
            theirs = "" if mean is None else f" ({normalized_score(env, mean):.0f})"
            texts.append(f"{scores[facts[level]]:.0f}{theirs}" if facts.get(level) is not None else "")
        texts += [f"{facts['curve'][-1][0]}", f"{facts['wall_seconds'] / 3600:.1f}"]
        rows.append(((env,), tuple(Cell.said("fact", text) for text in texts)))
    caption = (
        "Normalised score of the stochastic policy over 10 episodes at the snapshots behind `medium` and `expert`, in "
        "brackets that of D4RL's set. The training commands are in moore/data/behaviours/."
    )
    return Table("behaviours", ("environment",), ("medium", "expert", "steps", "wall h"), tuple(rows), 0, caption)


def _real_batches(study: Results, method: str) -> str:
    """How a batch is drawn from the real transitions, and their share where others are imagined; frozen: nothing."""
    if method in frozen(study):
        return ""
    strategy = "online" if method in REFERENCES else text(values(study, method, settings.REAL_BATCHES))
    share = text(100 * ratio for ratio in values(study, method, "real_ratio"))
    return f"{share} % {strategy}" if settings.is_model_based(study, method) else strategy


def _cell(one: Source, value: str, task: str) -> Cell:
    """Return the published text in score points, as precise as it was printed."""
    match = VALUE.fullmatch(value)
    assert match is not None  # checked when it was read
    start, end, spread = match.groups()
    env = task.split("-")[0]
    texts = [
        text if one.unit == "score" else number(normalized_score(env, float(text)), 0) for text in (start, end) if text
    ]
    texts[-1] += f" ± {spread}" if spread else ""
    names = ("offline",) if one.offline else ("offline", "online") if start is not None else ("online",)
    return Cell(tuple(zip(names, texts, strict=True)))
