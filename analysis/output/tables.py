"""The structure of a table, which output/render.py turns into text, and the result tables of a study."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd

from analysis.io.methods import REFERENCES, listed, method_label, ordered
from analysis.io.rows import SCORE, Results, source, task_label
from analysis.io.settings import frozen, without_stage
from analysis.stats.aggregates import final_statistics
from analysis.stats.compare import DELTA, cells, difference, leaders, most_seeds
from analysis.stats.intervals import COVERAGE, Interval, t_interval
from analysis.stats.transfer import GAIN, LAST, summarise

CLOSE = "†"
OVER = ("mean over", "IQM over")
WIDE = 6  # methods that fit side by side on a page
TRANSFER_COLUMNS = {  # metric -> (header, decimals)
    "early_drop": ("early drop", 1),
    "auc": ("AUC", 1),
    "auc_gain": ("AUC above J_0", 1),
    "steps_to_gain": ("steps to J_0 + 10", 0),
}
DIFFERENCE_COLUMNS = {"final": "final score", "auc": "AUC", "early_drop": "early drop"}


@dataclass(frozen=True)
class Cell:
    """`parts` are (name, interval or text), shown side by side; no parts is a missing result, shown as a dash."""

    parts: tuple[tuple[str, Interval | str], ...] = ()
    bold: bool = False  # the last part
    decimals: int = 1
    brackets: bool = False  # "m [low, high]" instead of "m ± half-width": for intervals that need not be symmetric
    seeds: int | None = None  # shown when it differs from the table's
    close: bool = False  # the last part is marked as not worse than the best

    @classmethod
    def said(cls, name: str, *texts: str) -> Cell:
        """Make a cell of texts; an empty one is a missing result."""
        return cls(tuple((name, text) for text in texts if text))

    @classmethod
    def measured(cls, name: str, value: Interval | None, decimals: int = 1, brackets: bool = False) -> Cell:
        """Make a cell of one interval with its number of seeds; None is a missing result."""
        return cls(((name, value),), False, decimals, brackets, value.n) if value else cls()


@dataclass(frozen=True)
class Table:
    """`rows` are (row heads, one cell per column); the last `aggregates` are set apart; `joiner` joins parts.

    `words`: the cells hold words, not numbers, so they start at the left and may go over several lines. `notes`: what
    is too long for the caption.
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
    notes: tuple[str, ...] = ()


def seeds_clause(seeds: int) -> str:
    """Say how many seeds there are, and where these are too few."""
    few = "" if seeds >= 5 else ", fewer than the 5 that a claim needs"
    return f"{seeds} seed{'s' if seeds != 1 else ''}{few}"


def main_table(study: Results) -> Table:
    """Rows: datasets; columns: methods; cells: offline → online score; last rows: mean and IQM over tasks.

    With more than `WIDE` methods, these are the rows and everything else is a column.
    """
    methods, datasets, groups, seeds = ordered(study.methods), study.datasets, cells(study), most_seeds(study)
    runs = summarise(study)
    if not len(runs):
        return _offline_table(study)
    rows = []
    for dataset in datasets:
        shown = {method: main_cell(groups[dataset, method], method) for method in methods}
        best, close = leaders({method: groups[dataset, method] for method in methods})
        for method in [*close, *[best] * bool(best)]:
            shown[method] = replace(shown[method], bold=method == best, close=method != best)
        rows.append(((dataset,), tuple(shown.values())))
    if len(datasets) > 1:
        found = final_statistics(study)
        for label in ("mean", "IQM"):
            values = (found[method][label] if method in found else None for method in methods)
            aggregated = (Cell((("online", value),), brackets=True) if value else Cell() for value in values)
            rows.append(((f"{label} over {len(datasets)} tasks",), tuple(aggregated)))
    aggregates, wide = len(rows) - len(datasets), len(methods) > WIDE
    counts = runs.loc[runs["finished"], "evaluations"]
    used = min(LAST, int(counts.min())) if len(counts) else LAST
    caption = (
        f"Normalised score (0-100), offline → online (mean of the last {used} evaluations); {seeds_clause(seeds)}, ± "
        f"half of the 95 % t interval. Bold: best mean; {CLOSE}: less than {DELTA:g} below it (paired t-test, 5 %)."
        + (f" Over tasks: 95 % intervals; {COVERAGE}." if aggregates else "")
    )
    table = Table("main", ("dataset",), tuple(methods), tuple(rows), seeds, caption, aggregates)
    return transposed(table, "method") if wide else table


def transposed(table: Table, head: str) -> Table:
    """Exchange rows and columns; `head` names the new row heads."""
    columns = tuple(" ".join(heads) for heads, _ in table.rows)
    cells = zip(*(cells for _, cells in table.rows), strict=True)
    rows = tuple(((name,), mine) for name, mine in zip(table.columns, cells, strict=True))
    return replace(table, heads=(head,), columns=columns, rows=rows, aggregates=0)


def scores_first(table: Table, online_only: bool = False) -> Table:
    """Turn scores: methods are the rows, aggregates the first columns; online_only: without the offline scores."""
    if table.heads == ("dataset",):
        table = transposed(table, "method")
    order = sorted(range(len(table.columns)), key=lambda index: not table.columns[index].startswith(OVER))
    rows, caption = [(heads, [cells[index] for index in order]) for heads, cells in table.rows], table.caption
    if online_only:
        rows = [(heads, [replace(one, parts=one.parts[-1:], seeds=None) for one in cells]) for heads, cells in rows]
        caption = caption.replace("offline → online (", "final (")
    turned = tuple((heads, tuple(cells)) for heads, cells in rows)
    return replace(table, columns=tuple(table.columns[index] for index in order), rows=turned, caption=caption)


def labels(study: Results) -> dict[str, str]:
    """Map methods and tasks to names for people, as far as these tell them apart."""
    named = {name: method_label(name) for name in study.methods} | {name: task_label(name) for name in study.datasets}
    return {name: label for name, label in named.items() if [*named.values()].count(label) == 1}


def transfer_table(study: Results) -> Table:
    """Rows: dataset and method; columns: `TRANSFER_COLUMNS`. A run without an offline stage only has an AUC."""
    seeds, rows, no_switch = most_seeds(study), [], without_stage(study)
    for dataset in study.datasets if seeds else []:
        for method in ordered(study.methods):
            mine = cells(study)[dataset, method]
            shown = ("auc",) if method in no_switch else TRANSFER_COLUMNS
            values = {metric: t_interval(mine[metric]) for metric in shown}
            *before, last = (Cell.measured(n, values.get(n), digits) for n, (_, digits) in TRANSFER_COLUMNS.items())
            if "steps_to_gain" in shown and (high := int((mine["j0"] + GAIN > 100).sum())):
                last = Cell.said("reached", f"{high} of {len(mine)} start above {100 - GAIN:.0f}")
            elif last.parts:
                reached = f"{mine['gained'].sum():.0f} of {mine['gained'].count()}"
                last = replace(last, parts=(*last.parts, ("reached", reached)), seeds=None)
            rows.append(((dataset, method), (*before, last)))
    heads = tuple(header for header, _ in TRANSFER_COLUMNS.values())
    noise = f", of {listed(frozen(study))} noise alone" if frozen(study) else ""
    caption = (
        f"Mean ± half of the 95 % t interval over {seeds_clause(seeds)}. Early drop: J_0 minus the mean score of the "
        f"first 10 % of steps{noise}; AUC: mean over steps; steps to J_0 + {GAIN:.0f}: all if not reached."
    )
    return Table("transfer", ("dataset", "method"), heads, tuple(rows), seeds, caption, joiner=", ")


def differences_table(study: Results) -> Table:
    """Rows: dataset and method; columns: paired difference to the reference; no rows in a study without it."""
    runs, rows, reference, no_switch = cells(study), [], study.main, without_stage(study)
    for dataset in study.datasets if reference in study.methods else []:
        for method in ordered(set(study.methods) - {reference}):
            shown = [name for name in DIFFERENCE_COLUMNS if name != "early_drop" or method not in no_switch]
            values = {name: difference(runs, dataset, method, reference, name) for name in shown}
            measured = (Cell.measured(name, values.get(name), brackets=True) for name in DIFFERENCE_COLUMNS)
            rows.append(((dataset, method), tuple(measured)))
    seeds = most_seeds(study)
    caption = (
        f"Difference to `{reference}`, paired by dataset and seed: mean with its 95 % t interval, in score points; "
        f"{seeds_clause(seeds)}. Early drop: J_0 minus the mean score in the first 10 % of the steps."
    )
    columns = tuple(DIFFERENCE_COLUMNS.values())
    return Table("differences", ("dataset", "method"), columns, tuple(rows), seeds, caption)


def main_cell(runs: pd.DataFrame, method: str) -> Cell:
    """Show offline → online score of the runs of one cell, or what became of them."""
    from_scratch = method in REFERENCES or all(source(dataset) == "none" for dataset in runs["dataset"])
    offline = None if from_scratch else t_interval(runs["j0"])
    online = t_interval(runs["final"])
    if online and max(abs(online.mean - 100), online.half_width) < 0.05:  # at the ceiling: no spread is no certainty
        online = replace(online, low=math.nan, high=math.nan)
    diverged = int(runs["diverged"].sum())
    parts: list[tuple[str, Interval | str]] = [] if offline is None else [("offline", offline)]
    if diverged:
        parts.append(("online", f"diverged ({diverged}/{len(runs)})"))
    elif online is not None:
        parts.append(("online", online))
    elif len(runs):
        parts.append(("online", "unfinished" if runs["evaluations"].any() else "only drawn"))
    return Cell(tuple(parts), seeds=online.n if online and not diverged else None)


def _offline_table(study: Results) -> Table:
    """Make the table of a study without an online stage: means of the last five offline evaluations."""
    scores = study.select(SCORE, "offline").sort_values("updates")
    last = scores.groupby(["dataset", "method", "seed"])["value"].apply(lambda y: y.iloc[-LAST:].mean())
    found = {key: t_interval(values) for key, values in last.groupby(["dataset", "method"])}
    seeds, methods = max((interval.n for interval in found.values() if interval), default=0), ordered(study.methods)
    rows = []
    for dataset in study.datasets:
        rows.append(((dataset,), tuple(Cell.measured("offline", found.get((dataset, name))) for name in methods)))
    caption = (
        f"Normalised score (0-100), mean of the last {LAST} offline evaluations; {seeds_clause(seeds)}, ± half of the "
        "95 % t interval."
    )
    return Table("main", ("dataset",), tuple(methods), tuple(rows), seeds, caption)
