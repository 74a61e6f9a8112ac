"""The paper's claims as checks on the rows: supported, not supported or inconclusive, always with the numbers.

One rule for all: a claim says that a mean over seeds exceeds a threshold. It is supported if the whole 95 % Student-t
interval lies above the threshold, not supported if the whole interval lies at or below it, inconclusive otherwise. So
where the truth sits on the threshold, a check calls "supported" in at most 2.5 % of studies. Thresholds are `MARGIN`
score points for a drop worth the name and for "no worse than"; zero for the rest.

"Drop" here is `early_drop` (J_0 minus the *mean* early score): the minimum of noisy evaluations lies below J_0 for any
policy, so the `drop` of the transfer table would find drops in pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import captions
from analysis.methods import MOORE, REFERENCES, SAMPLING, ordered
from analysis.rows import Study, select
from analysis.settings import without_stage
from analysis.stats import Interval, paired_interval, t_interval
from analysis.tables import Cell, Table, by_seed, group, most_seeds
from analysis.transfer import EARLY, summarise

MARGIN = 5.0
SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive"
Values = Callable[[Study, pd.DataFrame, str], "Interval | None"]


@dataclass(frozen=True)
class Claim:
    """`quantity` of a dataset exceeds `threshold`, or stays below it (`below`); it needs runs of `methods`.

    `kind` is the name, or with an X in it that of many claims with one meaning.
    """

    name: str
    kind: str
    meaning: str
    methods: tuple[str, ...]
    quantity: Values
    threshold: float = 0.0
    below: bool = False


@dataclass(frozen=True)
class Finding:
    """The verdict on one claim for one dataset; a diverged run among the compared makes it inconclusive."""

    claim: str
    dataset: str
    verdict: str
    interval: Interval | None
    diverged: int


def decide(interval: Interval | None, threshold: float, below: bool = False) -> str:
    """The rule in the module's first paragraph; `below` turns it into a claim of staying below the threshold."""
    if interval is None or not interval.known:
        return INCONCLUSIVE
    above, under = interval.low > threshold, interval.high <= threshold
    if below:
        above, under = under, above
    return SUPPORTED if above else NOT_SUPPORTED if under else INCONCLUSIVE


def difference(runs: pd.DataFrame, dataset: str, ours: str, theirs: str, metric: str) -> Interval | None:
    """Paired difference `ours - theirs` of one metric on one dataset, over common seeds."""
    return paired_interval(by_seed(group(runs, dataset, ours), metric), by_seed(group(runs, dataset, theirs), metric))


def uncertainty_fall(study: Study, runs: pd.DataFrame, dataset: str) -> Interval | None:
    """Relative fall of MOORe's `penalty/mean`, 1 - (last 10 % of the budget) / (first 10 %); over runs with both."""
    rows = select(study.rows, "penalty/mean", "online")
    rows = rows[(rows["method"] == study.main) & (rows["dataset"] == dataset)]
    falls = []
    for _, run in rows.groupby("seed"):
        first = run.loc[run["env_steps"] <= EARLY * study.online_steps, "value"].mean()
        last = run.loc[run["env_steps"] > (1 - EARLY) * study.online_steps, "value"].mean()
        falls.append(1 - last / first if first > 0 else math.nan)
    return t_interval(np.array(falls, dtype=float))


def _early_drop(method: str) -> Values:
    return lambda study, runs, dataset: t_interval(group(runs, dataset, method)["early_drop"])


def _lead(metric: str, over: str) -> Values:
    return lambda study, runs, dataset: difference(runs, dataset, study.main, over, metric)


def claims(study: Study) -> list[Claim]:
    """The claims that this study can speak to: those whose methods it ran."""
    falls = "uncertainty falls online"
    meaning = "relative fall of the mean uncertainty from the first to the last 10 % of online steps, above 0"
    uncertainty = Claim(falls, falls, meaning, (study.main,), uncertainty_fall)
    every = [*_of_sampling(study.main), *_of_methods(study), uncertainty]
    return [claim for claim in every if set(claim.methods) <= set(study.methods)]


def _of_sampling(main: str) -> list[Claim]:
    """What the paper says of the other sampling strategies at the start of the online stage."""
    slower, meaning = "uniform adapts slower", f"AUC of {main} - AUC of uniform, above 0"
    return [
        _drops("half_half", "half_half"),
        _drops("pure_online", "pure_online"),
        _smooth("uniform", "uniform is smooth"),
        Claim(slower, slower, meaning, (main, "uniform"), _lead("auc", "uniform")),
    ]


def _of_methods(study: Study) -> list[Claim]:
    """MOORe against every other method; its speed and the switch only where it meets other methods than its own."""
    main = study.main
    others = [name for name in ordered(study.methods) if name != main]
    every = []
    for other in others:
        if main == MOORE or other not in REFERENCES:
            shown = "X" if main == MOORE else other
            meaning = f"final score of {main} - {shown}, not below -{MARGIN:.0f}"
            name, kind = (f"{main} ends no worse than {method}" for method in (other, shown))
            every.append(Claim(name, kind, meaning, (main, other), _lead("final", other), -MARGIN))
    if main != MOORE:
        return every
    rivals = [name for name in others if name not in SAMPLING]
    for other in rivals:
        name, kind = (f"{main} adapts faster than {method}" for method in (other, "X"))
        meaning = f"AUC of {main} - AUC of X, above 0"
        every.append(Claim(name, kind, meaning, (main, other), _lead("auc", other)))
    every.append(_smooth(main, f"{main} is smooth at the switch"))
    return [*every, *(_drops(name, "X") for name in rivals if name not in without_stage(study))]


def _drops(method: str, shown: str) -> Claim:
    meaning = f"J_0 - mean early score, more than {MARGIN:.0f} points"
    name, kind = (f"{who} drops at the switch" for who in (method, shown))
    return Claim(name, kind, meaning, (method,), _early_drop(method), MARGIN)


def _smooth(method: str, name: str) -> Claim:
    meaning = f"its drop stays below {MARGIN:.0f} points"
    return Claim(name, name, meaning, (method,), _early_drop(method), MARGIN, below=True)


def check(study: Study) -> list[Finding]:
    """Every applicable claim on every dataset."""
    runs, findings = summarise(study), []
    for claim in claims(study):
        for dataset in study.datasets:
            interval = claim.quantity(study, runs, dataset)
            diverged = sum(int(group(runs, dataset, method)["diverged"].sum()) for method in claim.methods)
            verdict = INCONCLUSIVE if diverged else decide(interval, claim.threshold, claim.below)
            findings.append(Finding(claim.name, dataset, verdict, interval, diverged))
    return findings


def claims_table(study: Study) -> Table:
    """Rows: claims; columns: datasets and the count of supported ones; cells: verdict and interval."""
    found = {(finding.claim, finding.dataset): finding for finding in check(study)}
    runs, rows = summarise(study), []
    meanings = dict.fromkeys(f"{claim.kind} = {claim.meaning}" for claim in claims(study))
    for claim in claims(study):
        mine = [found[claim.name, dataset] for dataset in study.datasets]
        total = sum(finding.verdict == SUPPORTED for finding in mine)
        count = Cell((("count", f"{total} of {len(mine)}"),))
        decimals = 2 if claim.name == "uncertainty falls online" else 1
        rows.append(((claim.name,), (*(_finding_cell(finding, decimals) for finding in mine), count)))
    seeds = most_seeds(runs)
    caption = " ".join(
        [
            "A claim is supported (not supported) if the 95 % Student-t interval over seeds, in brackets, lies wholly "
            "on its (the other) side of the threshold, and inconclusive otherwise or if a compared run diverged. No "
            "correction for the number of checks.",
            "In numbers: " + "; ".join(meanings) + ".",
            captions.frozen_clause(study),
            f"{captions.seeds_clause(seeds).capitalize()}.",
            captions.provenance(study),
        ]
    )
    caption = " ".join(caption.split())
    return Table("claims", ("claim",), (*study.datasets, "supported"), tuple(rows), seeds, caption, joiner=": ")


def differences_table(study: Study) -> Table:
    """Rows: dataset and method; columns: paired difference to MOORe; no rows in a study without it."""
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


def _finding_cell(finding: Finding, decimals: int) -> Cell:
    verdict = finding.verdict + (f" ({finding.diverged} diverged)" if finding.diverged else "")
    if finding.interval is None:
        return Cell((("verdict", verdict),))
    return Cell(
        (("verdict", verdict), ("value", finding.interval)), decimals=decimals, brackets=True, seeds=finding.interval.n
    )
