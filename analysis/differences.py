"""Paired differences of every method to the study's MOORe."""

from __future__ import annotations

import pandas as pd

from analysis import captions
from analysis.methods import ordered
from analysis.rows import Study, reject_mixed_sources
from analysis.settings import without_stage
from analysis.stats import Interval, paired_interval
from analysis.tables import Cell, Table, by_seed, group, most_seeds
from analysis.transfer import summarise


def difference(runs: pd.DataFrame, dataset: str, ours: str, theirs: str, metric: str) -> Interval | None:
    """Paired difference `ours - theirs` of one metric on one dataset, over common seeds."""
    return paired_interval(by_seed(group(runs, dataset, ours), metric), by_seed(group(runs, dataset, theirs), metric))


def differences_table(study: Study) -> Table:
    """Rows: dataset and method; columns: paired difference to MOORe; no rows in a study without it.

    UserError for datasets of several sources.
    """
    reject_mixed_sources(study)
    runs, rows, reference, no_switch = summarise(study), [], study.main, without_stage(study)
    for dataset in study.datasets if reference in study.methods else []:
        for method in ordered(study.methods):
            if method == reference:
                continue
            cells = []
            for metric in ("final", "auc", "early_drop"):
                lacking = method in no_switch and metric == "early_drop"
                value = None if lacking else difference(runs, dataset, method, reference, metric)
                cells.append(Cell(((metric, value),), brackets=True, seeds=value.n) if value else Cell())
            rows.append(((dataset, method), tuple(cells)))
    seeds = most_seeds(runs)
    caption = " ".join(
        [
            f"Paired difference to `{reference}` (same dataset and seed), mean over seeds with its 95 % Student-t "
            "interval, in score points; early drop: J_0 minus the mean score in the first 10 % of the online steps.",
            f"{captions.seeds_clause(seeds).capitalize()}.",
            captions.runs_clause(study, runs),
            captions.provenance(study),
        ]
    )
    columns = ("final score", "AUC", "early drop")
    return Table("differences", ("dataset", "method"), columns, tuple(rows), seeds, " ".join(caption.split()))
