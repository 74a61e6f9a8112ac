"""The structure of a table, which `analysis.render` turns into text, and the two result tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from analysis import captions
from analysis.methods import IMPORTED, REFERENCES, ordered
from analysis.rows import SCORE, Study, reject_mixed_sources, select, source_of
from analysis.settings import algorithm, frozen, is_model_based, own_settings, text, values, without_stage
from analysis.stats import Interval, bootstrap_intervals, iqm, mean_over_tasks, paired_interval, t_interval
from analysis.transfer import LAST, summarise

WIDE = 6  # methods that fit side by side on a page
TRANSFER_COLUMNS = {  # metric -> (header, decimals)
    "drop": ("drop, first 10 %", 1),
    "worst_drop": ("worst drop", 1),
    "auc": ("AUC", 1),
    "steps_to_gain": ("steps to J_0 + 10", 0),
}


@dataclass(frozen=True)
class Cell:
    """`parts` are (name, interval or text), shown side by side; no parts is a missing result, shown as a dash."""

    parts: tuple[tuple[str, Interval | str], ...] = ()
    bold: bool = False  # the last part
    decimals: int = 1
    brackets: bool = False  # "m [low, high]" instead of "m ± half-width": for intervals that need not be symmetric
    seeds: int | None = None  # shown when it differs from the table's


@dataclass(frozen=True)
class Table:
    """`rows` are (row heads, one cell per column); the last `aggregates` are set apart; `joiner` joins parts.

    `words`: the cells hold words, not numbers, so they start at the left and may go over several lines.
    """

    name: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]
    seeds: int
    caption: str
    aggregates: int = 0
    joiner: str = " → "
    words: bool = False


def main_table(study: Study) -> Table:
    """Rows: datasets; columns: methods; cells: offline → online score; last rows: mean and IQM over tasks.

    With more than `WIDE` methods, these are the rows and everything else is a column. UserError for several sources.
    """
    reject_mixed_sources(study)
    runs = summarise(study)
    if not len(runs):
        return _offline_table(study)
    methods, datasets = ordered(study.methods), study.datasets
    seeds = most_seeds(runs)
    groups = {(d, m): group(runs, d, m) for d in datasets for m in methods}
    rows = []
    for dataset in datasets:
        cells = {method: main_cell(groups[dataset, method], method) for method in methods}
        for method in _winners({method: groups[dataset, method] for method in methods}):
            cells[method] = replace(cells[method], bold=True)
        rows.append(((dataset,), tuple(cells.values())))
    if len(datasets) > 1:
        sources = {m: [source_of(d, m, runs) for d in datasets] for m in methods}
        pairs = [_aggregates([groups[d, m] for d in datasets], sources[m]) for m in methods]
        for index, label in enumerate(("mean", "IQM")):
            rows.append(((f"{label} over {len(datasets)} tasks",), tuple(pair[index] for pair in pairs)))
    aggregates, wide = len(rows) - len(datasets), len(methods) > WIDE
    place = "" if not aggregates else "columns" if wide else "rows"
    caption = captions.main(study, runs, seeds, place)
    table = Table("main", ("dataset",), tuple(methods), tuple(rows), seeds, caption, aggregates)
    return transposed(table, "method") if wide else table


def transposed(table: Table, head: str) -> Table:
    """The same cells with rows and columns exchanged; `head` names the new row heads."""
    columns = tuple(" ".join(heads) for heads, _ in table.rows)
    cells = zip(*(cells for _, cells in table.rows), strict=True)
    rows = tuple(((name,), mine) for name, mine in zip(table.columns, cells, strict=True))
    return replace(table, heads=(head,), columns=columns, rows=rows, aggregates=0)


def transfer_table(study: Study) -> Table:
    """Rows: dataset and method; columns: `TRANSFER_COLUMNS`. A run without an offline stage only has an AUC.

    UserError for datasets of several sources.
    """
    reject_mixed_sources(study)
    runs = summarise(study)
    seeds, rows, no_switch = most_seeds(runs), [], without_stage(study)
    for dataset in study.datasets:
        for method in ordered(runs["method"]):
            mine = group(runs, dataset, method)
            cells = []
            for metric, (_, decimals) in TRANSFER_COLUMNS.items():
                value = None if method in no_switch and metric != "auc" else t_interval(mine[metric])
                parts = () if value is None else ((metric, value),)
                cells.append(Cell(parts, decimals=decimals, seeds=value.n if value else None))
            rows.append(((dataset, method), tuple(cells)))
    heads = tuple(header for header, _ in TRANSFER_COLUMNS.values())
    return Table("transfer", ("dataset", "method"), heads, tuple(rows), seeds, captions.transfer(study, runs, seeds))


def methods_table(study: Study) -> Table:
    """Rows: methods; columns: what they were run with, as text; no rows where the manifest has no configs."""
    names = [name for name in ordered(study.methods) if values(study, name, "online.utd_ratio")]
    reference = study.main if study.main in names else next(iter(names), "")
    rows = []
    for name in names:
        kind = algorithm(study, name) + (" with model" if is_model_based(study, name) else "")
        offline = [0] if name in REFERENCES else values(study, name, "offline.updates")
        own = own_settings(study, name, reference)
        shown = [kind, text(offline), text(values(study, name, "online.utd_ratio")), _real_batches(study, name)]
        shown.append(", ".join(f"{key} {value}" for key, value in own.items()))
        rows.append(((name,), tuple(Cell((("setting", words),)) if words else Cell() for words in shown)))
    seeds, caption = most_seeds(summarise(study)), captions.methods(study, reference)
    columns = ("algorithm", "offline updates", "updates per online step", "real batches", "settings")
    return Table("methods", ("method",), columns, tuple(rows), seeds, caption, words=True)


def group(runs: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """The runs of one method that stand in the row of one task, references included."""
    return runs[(runs["method"] == method) & (runs["dataset"] == source_of(dataset, method, runs))]


def by_seed(runs: pd.DataFrame, metric: str) -> pd.Series[float]:
    """One metric of the runs of one cell, indexed by seed."""
    return runs.set_index("seed")[metric]


def most_seeds(runs: pd.DataFrame) -> int:
    """The table's number of seeds: the largest number of runs of any method on any dataset."""
    ours = runs[~runs["method"].str.endswith(IMPORTED)]
    return int(ours.groupby(["dataset", "method"]).size().max()) if len(ours) else 0


def main_cell(runs: pd.DataFrame, method: str) -> Cell:
    """Offline → online score of the runs of one cell, or what became of them."""
    offline = None if method in REFERENCES else t_interval(runs["j0"])
    online = t_interval(runs["final"])
    diverged = int(runs["diverged"].sum())
    parts: list[tuple[str, Interval | str]] = [] if offline is None else [("offline", offline)]
    if diverged:
        parts.append(("online", f"diverged ({diverged}/{len(runs)})"))
    elif online is not None:
        parts.append(("online", online))
    elif len(runs):
        parts.append(("online", "unfinished"))
    return Cell(tuple(parts), seeds=online.n if online and not diverged else None)


def _real_batches(study: Study, method: str) -> str:
    """How a batch is drawn from the real transitions, and their share where others are imagined; frozen: nothing."""
    if method in frozen(study):
        return ""
    strategy = "online" if method in REFERENCES else text(values(study, method, "sampling.real_batches"))
    share = text(100 * ratio for ratio in values(study, method, "real_ratio"))
    return f"{share} % {strategy}" if is_model_based(study, method) else strategy


def _comparable(runs: pd.DataFrame) -> bool:
    return bool(len(runs)) and not runs["diverged"].any() and bool(runs["final"].notna().any())


def _winners(groups: dict[str, pd.DataFrame]) -> list[str]:
    """The highest mean and all whose paired difference to it includes 0; none where one seed allows no interval.

    Imported curves share no seeds with ours, so they are not compared.
    """
    compared = {method: runs for method, runs in groups.items() if not method.endswith(IMPORTED) and _comparable(runs)}
    finals = {method: by_seed(runs, "final") for method, runs in compared.items()}
    if not finals:
        return []
    best = max(finals, key=lambda method: finals[method].mean())
    if finals[best].notna().sum() < 2:
        return []
    differences = {method: paired_interval(finals[best], finals[method]) for method in finals}
    return [method for method, d in differences.items() if method == best or (d is not None and d.known and d.low <= 0)]


def _aggregates(groups: list[pd.DataFrame], sources: list[str]) -> list[Cell]:
    """Mean and IQM of one method; missing if one task is missing or diverged, since other tasks are another mean."""
    if not all(_comparable(runs) for runs in groups):
        return [Cell(), Cell()]
    strata = {name: runs["final"].dropna().to_numpy(float) for name, runs in zip(sources, groups, strict=True)}
    tasks = [list(strata).index(name) for name in sources]
    values = bootstrap_intervals(list(strata.values()), (mean_over_tasks, iqm), tasks)
    return [Cell((("online", value),), brackets=True) for value in values]


def _offline_table(study: Study) -> Table:
    """A study without an online stage: the mean of the last five offline evaluations of every method."""
    scores = select(study.rows, SCORE, "offline").sort_values("updates")
    last = scores.groupby(["dataset", "method", "seed"])["value"].apply(lambda y: y.iloc[-LAST:].mean())
    methods = ordered(study.methods)
    per_cell = last.groupby(["dataset", "method"]).apply(lambda y: t_interval(y)).to_dict() if len(last) else {}
    seeds = max((interval.n for interval in per_cell.values() if interval), default=0)
    rows = []
    for dataset in study.datasets:
        values = [per_cell.get((dataset, method)) for method in methods]
        cells = tuple(Cell((("offline", value),), seeds=value.n) if value else Cell() for value in values)
        rows.append(((dataset,), cells))
    caption = captions.offline(study, seeds)
    return Table("main", ("dataset",), tuple(methods), tuple(rows), seeds, caption)
