"""Other people's published numbers beside a study's own, where its tasks are D4RL's: for orientation, not a target."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from analysis import captions
from analysis.methods import ordered
from analysis.panels import quality
from analysis.render import number
from analysis.rows import Study, environment, reject_mixed_sources, source
from analysis.tables import Cell, Table, group, main_cell, most_seeds
from analysis.transfer import summarise
from moore.base.errors import UserError

PUBLISHED = Path(__file__).parent / "published.yaml"
UNITS = ("score", "return")
VALUE = re.compile(r"(?:(-?[\d.]+) -> )?(-?[\d.]+)(?: ± ([\d.]+))?")
OURS = "this study"


@dataclass(frozen=True)
class Source:
    """One published table or figure; `values`: task (`hopper-medium`) -> one text for every method."""

    name: str
    source: str
    by_eye: bool
    unit: str
    data: str
    budget: str
    seeds: str
    spread: str | None
    methods: list[str]
    values: dict[str, list[str]]
    offline: bool = False


def published_table(study: Study) -> Table:
    """Rows: this study's methods, then every published one with its source; columns: the tasks that both have.

    No rows where no task is one of D4RL's. UserError for datasets of several sources.
    """
    reject_mixed_sources(study)
    sources = load_published()
    known = {task for one in sources for task in one.values}
    tasks = {name: task for name in study.datasets if (task := f"{environment(name)}-{quality(name)}") in known}
    runs = summarise(study)
    if not tasks or not len(runs):
        return Table("published", ("source", "method"), (), (), 0, "")
    rows = [
        ((OURS, method), tuple(main_cell(group(runs, dataset, method), method) for dataset in tasks))
        for method in ordered(study.methods)
    ]
    used = []
    for one in sources:
        if not set(one.values) & set(tasks.values()):
            continue
        used.append(one)
        for index, method in enumerate(one.methods):
            texts = {dataset: one.values.get(task) for dataset, task in tasks.items()}
            cells = tuple(Cell() if text is None else _cell(one, text[index], tasks[d]) for d, text in texts.items())
            rows.append(((one.name, method), cells))
    seeds = most_seeds(runs)
    caption = " ".join(
        [
            "Other people's published numbers beside ours, for orientation: they are no target, and budgets and data "
            "differ. Normalised scores, offline → online or online alone; returns are converted with D4RL's reference "
            "returns.",
            *(_described(one) for one in used),
            f"This study: {_data(study)}; {captions.seeds_clause(seeds)}; {captions.T_INTERVAL}.",
            captions.provenance(study),
        ]
    )
    return Table("published", ("source", "method"), tuple(tasks), tuple(rows), seeds, caption)


@lru_cache(maxsize=2)
def load_published(path: Path = PUBLISHED) -> list[Source]:
    """The sources of a file. Raises UserError naming the file, the source and what is accepted."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            one = Source(**entry)
        except TypeError as error:
            raise UserError(f"{path}: {str(error).removeprefix('Source.__init__() ')}") from None
        if one.unit not in UNITS:
            raise UserError(f"{path}: {one.name}: unit {one.unit!r} is not accepted; expected {' or '.join(UNITS)}")
        for task, values in one.values.items():
            if len(values) != len(one.methods) or not all(VALUE.fullmatch(str(value)) for value in values):
                raise UserError(
                    f"{path}: {one.name}: {task}: expected {len(one.methods)} values `end`, `end ± spread` or "
                    f"`start -> end`, one for each of {', '.join(one.methods)}"
                )
        found.append(one)
    if not found:
        raise UserError(f"{path}: expected a list of sources")
    return found


def _cell(one: Source, value: str, task: str) -> Cell:
    """The published text in score points, as precise as it was printed."""
    match = VALUE.fullmatch(value)
    assert match is not None  # checked when it was read
    start, end, spread = match.groups()
    texts = [_score(one, text, task) for text in (start, end) if text is not None]
    texts[-1] += f" ± {spread}" if spread else ""
    names = ("offline",) if one.offline else ("offline", "online") if start is not None else ("online",)
    return Cell(tuple(zip(names, texts, strict=True)))


def _score(one: Source, text: str, task: str) -> str:
    from moore.data.scores import normalized_score  # here, not above: it brings torch

    return text if one.unit == "score" else number(normalized_score(task.split("-")[0], float(text)), 0)


def _described(one: Source) -> str:
    facts: list[Any] = [one.data, one.budget, f"seeds: {one.seeds}"]
    facts += [f"± is {one.spread}"] if one.spread else []
    facts += ["read off the figure by eye"] if one.by_eye else []
    return f"{one.name}: {one.source}; {'; '.join(facts)}."


def _data(study: Study) -> str:
    """Whose data this study's tasks are."""
    kinds = sorted({source(name) for name in study.datasets} - {"none"})
    words = {"self": "self-made data, not D4RL's files", "d4rl": "D4RL's files"}
    return f"{' and '.join(words.get(kind, f'{kind} data') for kind in kinds)}, {study.online_steps} online steps"
