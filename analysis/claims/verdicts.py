"""Hypotheses checked on the rows of one study: holds, does not hold, undecided or not enough data.

One rule for all. A hypothesis says that a mean over seeds lies above or below a threshold, or within a margin of 0. It
holds if the whole interval lies on its side, does not hold if the whole interval lies on the other side, and is
undecided otherwise, or if a compared run diverged. One seed has no interval: not enough data. So where the truth sits
on the threshold of a one-sided test, "holds" comes out in at most 2.5 % of studies. Nothing corrects for the number of
checks.

A drop is `early_drop` (J_0 minus the *mean* early score): the minimum of noisy evaluations lies below J_0 for any
policy, so the `drop` of the transfer table would find drops in pure noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pandas as pd

from analysis.claims.claims import FALL, Hypothesis, PaperClaim
from analysis.io.methods import REFERENCES, SAMPLING, ordered
from analysis.io.rows import SCORE, Results, select
from analysis.io.settings import frozen, only_other_numbers, without_stage
from analysis.stats.compare import by_seed, group
from analysis.stats.diagnostics import PENALTY
from analysis.stats.intervals import Interval, paired_interval, t_interval
from analysis.stats.transfer import EARLY, summarise

HOLDS, FAILS, UNDECIDED, NO_DATA = "holds", "does not hold", "undecided", "not enough data"


@dataclass(frozen=True)
class Comparison:
    """A hypothesis with the methods filled in; `kind` and `meaning` have X for a method that varies."""

    claim: PaperClaim
    hypothesis: Hypothesis
    ours: str
    theirs: str  # empty in a test of a mean
    kind: str
    meaning: str

    @property
    def name(self) -> str:
        return self.hypothesis.says.format(ours=self.ours, theirs=self.theirs)

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.ours, self.theirs) if self.theirs else (self.ours,)


@dataclass(frozen=True)
class Finding:
    """The verdict on one comparison for one dataset.

    `used`: (run, metric) -> rows, of the evaluations or logged uncertainties that entered the interval.
    """

    study: str
    dataset: str
    comparison: Comparison
    verdict: str
    interval: Interval | None
    diverged: int
    used: Mapping[tuple[str, str], int]


def decide(interval: Interval | None, bound: str, threshold: float) -> str:
    """Apply the rule in the module's second paragraph; `bound` is above, below or within."""
    if interval is None or not interval.known:
        return NO_DATA
    if bound == "within":
        inside = -threshold < interval.low and interval.high < threshold
        outside = interval.low >= threshold or interval.high <= -threshold
        return HOLDS if inside else FAILS if outside else UNDECIDED
    above, under = interval.low > threshold, interval.high <= threshold
    if bound == "below":
        above, under = under, above
    return HOLDS if above else FAILS if under else UNDECIDED


def conjunction(verdicts: Iterable[str]) -> str:
    """Give the verdict on a claim that says several things: it fails if one fails and holds if all hold."""
    found = set(verdicts)
    return next((verdict for verdict in (FAILS, UNDECIDED, NO_DATA) if verdict in found), HOLDS if found else NO_DATA)


def comparisons(study: Results, claims: Sequence[PaperClaim]) -> list[Comparison]:
    """List what this study can speak to: every hypothesis with every pair of methods that it ran."""
    found = []
    for claim in claims:
        for hypothesis in claim.hypotheses:
            if not fnmatchcase(study.name, hypothesis.study) or not _datasets(study, hypothesis):
                continue
            ours = _chosen(study, hypothesis.ours)
            theirs = _chosen(study, hypothesis.theirs) if hypothesis.theirs else [""]
            pairs = [(one, other) for one in ours for other in theirs if one != other]
            if not pairs:
                continue
            shown = _shown(hypothesis.ours, ours, "X")
            names = {"ours": shown, "theirs": _shown(hypothesis.theirs, theirs, "Y" if shown == "X" else "X")}
            kind, meaning = hypothesis.says.format(**names), hypothesis.meaning(**names)
            found += [Comparison(claim, hypothesis, one, other, kind, meaning) for one, other in pairs]
    return found


def check(study: Results, claims: Sequence[PaperClaim]) -> list[Finding]:
    """Judge every applicable comparison on every dataset."""
    runs = with_uncertainty_fall(study, summarise(study))
    counts = {name: select(study.rows, name, "online").groupby("run").size().to_dict() for name in (SCORE, PENALTY)}
    findings = []
    for comparison in comparisons(study, claims):
        hypothesis = comparison.hypothesis
        metric = PENALTY if hypothesis.metric == FALL else SCORE
        for dataset in _datasets(study, hypothesis):
            groups = [group(runs, dataset, method) for method in comparison.methods]
            values = [by_seed(mine, hypothesis.metric).dropna() for mine in groups]
            if len(values) == 1:
                interval = t_interval(values[0], hypothesis.confidence)
            else:
                interval = paired_interval(values[0], values[1], hypothesis.confidence)
            seeds = set.intersection(*(set(one.index) for one in values))
            compared = [run for mine in groups for run in mine.loc[mine["seed"].isin(seeds), "run"]]
            used = {(run, metric): counts[metric].get(run, 0) for run in compared}
            diverged = sum(int(mine["diverged"].sum()) for mine in groups)
            verdict = UNDECIDED if diverged else decide(interval, hypothesis.bound, hypothesis.threshold)
            findings.append(Finding(study.name, dataset, comparison, verdict, interval, diverged, used))
    return findings


def with_uncertainty_fall(study: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """Give the runs a column more: 1 - (mean uncertainty of the last 10 % of the budget) / (that of the first 10 %)."""
    rows = select(study.rows, PENALTY, "online")
    early = rows["env_steps"] <= EARLY * study.online_steps
    late = rows["env_steps"] > (1 - EARLY) * study.online_steps
    first, last = (rows[part].groupby("run")["value"].mean() for part in (early, late))
    fall = 1 - last / first.where(first > 0)
    return runs.assign(**{FALL: runs["run"].map(fall)})


def _datasets(study: Results, hypothesis: Hypothesis) -> list[str]:
    return [name for name in study.datasets if fnmatchcase(name, hypothesis.datasets)]


def _chosen(study: Results, names: Sequence[str]) -> list[str]:
    """The methods of a study that a hypothesis' names, patterns and groups stand for."""
    others = [name for name in study.methods if name not in (study.main, *SAMPLING)]
    controls = {*REFERENCES, *frozen(study)}
    rivals = [name for name in others if name not in controls and not only_other_numbers(study, name)]
    bare = without_stage(study)
    groups = {
        "main": [study.main],
        "rivals": rivals,
        "pretrained": [name for name in rivals if name not in bare],
        "controls": [name for name in others if name in controls],
    }
    found = [groups.get(name, [method for method in study.methods if fnmatchcase(method, name)]) for name in names]
    return ordered(method for methods in found for method in methods if method in study.methods)


def _shown(names: Sequence[str], methods: Sequence[str], letter: str) -> str:
    """The method that a hypothesis is about, or a letter where it may be many."""
    fixed = len(names) == 1 and (names[0] == "main" or names[0] in methods)
    return methods[0] if fixed else letter
