"""Hypotheses checked on the rows of one study: holds, does not hold, undecided, cannot be tested, not enough data.

One rule for all. A comparison says that a mean, or a paired difference, lies above or below a threshold, or within a
margin of 0. Its effect is the mean over tasks of the means over seeds. It is tested in both directions by one-sided
t-tests with the variance of seeds within tasks, and the smaller p-value is corrected by Holm's method for all
comparisons of its claim in its study: a wrong "does not hold" is as rare with ten rivals as with one, and rivals that
are clearly beaten change nothing for the others. It holds, or does not hold, if the corrected p-value is at most the
level, and is undecided otherwise or if a compared run diverged. Not enough data: no task has two seeds.

A claim holds in a study if all of its comparisons do, and does not hold if one does not.

A drop needs room to fall and a gain room to rise: a task is left out where a compared method's mean J_0 is less than
`ROOM` from that end of the scale (`score_range`), and a comparison without a task cannot be tested.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import nan

from analysis.claims.claims import FALLS, Hypothesis, PaperClaim
from analysis.io.methods import REFERENCES, SAMPLING, ordered
from analysis.io.rows import SCORE, Cells, Results
from analysis.io.settings import frozen, only_other_numbers, without_stage
from analysis.stats.compare import DELTA, over_tasks, pair
from analysis.stats.diagnostics import PENALTY, uncertainty_falls
from analysis.stats.intervals import Estimate, Interval, estimate, holm
from analysis.stats.transfer import curves, score_range, summarise
from moore.base.groups import grouped

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
CANNOT, NO_DATA = "cannot be tested", "not enough data"
ROOM = DELTA  # score points: the threshold of a drop


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
    """The verdict on one comparison in one study; `p` is NaN where nothing was tested.

    `interval`: of the mean over the tested tasks. `by_task`: of every task with two seeds. `used`: (run, metric) ->
    rows of the evaluations or uncertainties compared; a run is known by its data, not by its name (`_identities`).
    """

    study: str
    comparison: Comparison
    verdict: str
    p: float
    interval: Interval | None
    by_task: Mapping[str, Interval]
    untestable: tuple[str, ...]
    diverged: int
    used: Mapping[tuple[int, str], int]


def p_values(found: Estimate, bound: str, threshold: float) -> tuple[float, float]:
    """Test that an effect is on its side of a threshold, and that it is on the other: two one-sided p-values."""
    above, under = found.p_above(threshold), 1 - found.p_above(threshold)
    if bound == "within":
        above_lowest = found.p_above(-threshold)
        return max(above_lowest, under), min(above, 1 - above_lowest)
    return (above, under) if bound == "above" else (under, above)


def on_most(several: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Test that effects are on their side on more than half of the tasks, and that they are not, from each task's.

    Partial conjunction (Benjamini and Heller 2008): that at least u of n hold has the p-value (n - u + 1) p_(u).
    """
    holds, fails = (sorted(column) for column in zip(*several, strict=True))
    n, most = len(several), len(several) // 2 + 1
    return min(1.0, (n - most + 1) * holds[most - 1]), min(1.0, most * fails[n - most])


def judge(sides: Sequence[tuple[float, float]], levels: Sequence[float]) -> list[tuple[float, str]]:
    """Return the corrected p-value of every comparison of a claim and its verdict, from its p-values on both sides."""
    corrected = holm([min(both) for both in sides])
    return [
        (p, UNDECIDED if not p <= level else HOLDS if holds < fails else FAILS)
        for p, (holds, fails), level in zip(corrected, sides, levels, strict=True)
    ]


def conjunction(verdicts: Iterable[str]) -> str:
    """Give the verdict on a claim that says several things; what cannot be tested does not count beside what can."""
    found = set(verdicts)
    found = found - {CANNOT} or found
    return next((verdict for verdict in (FAILS, UNDECIDED, NO_DATA, HOLDS, CANNOT) if verdict in found), NO_DATA)


def comparisons(study: Results, claims: Sequence[PaperClaim]) -> list[Comparison]:
    """List what this study can speak to: every hypothesis with every pair of methods that it ran."""
    found = []
    for claim in claims:
        for hypothesis in claim.hypotheses:
            datasets = fnmatch.filter(study.datasets, hypothesis.datasets)
            if not hypothesis.covers(study.name) or len(datasets) < 1 + (hypothesis.tasks == "most"):
                continue
            ours = _chosen(study, hypothesis.ours)
            theirs = _chosen(study, hypothesis.theirs) if hypothesis.theirs else [""]
            chosen = [(one, other) for one in ours for other in theirs if one != other]
            if not chosen:
                continue
            shown = _shown(hypothesis.ours, ours, "X")
            names = {"ours": shown, "theirs": _shown(hypothesis.theirs, theirs, "Y" if shown == "X" else "X")}
            kind, meaning = hypothesis.says.format(**names), hypothesis.meaning(**names)
            found += [Comparison(claim, hypothesis, one, other, kind, meaning) for one, other in chosen]
    return found


@lru_cache(maxsize=16)  # studies, of which one page has the verdicts twice
def check(study: Results, claims: tuple[PaperClaim, ...]) -> tuple[Finding, ...]:
    """Judge every applicable comparison."""
    joined, identities = summarise(study).join(uncertainty_falls(study), on="run"), _identities(study)
    runs = Cells(joined.set_axis(joined["seed"].to_numpy()))
    counts = {name: study.select(name).groupby("run").size().to_dict() for name in (SCORE, PENALTY)}
    findings: list[Finding] = []
    for claim in claims:
        raw = [_tested(study, runs, one) for one in comparisons(study, [claim])]
        levels = [finding.comparison.hypothesis.level for finding, _, _ in raw]
        for (finding, _, compared), (p, verdict) in zip(raw, judge([s for _, s, _ in raw], levels), strict=True):
            metric = PENALTY if finding.comparison.hypothesis.metric in FALLS else SCORE
            used = {(identities[run], metric): counts[metric].get(run, 0) for run in compared}
            decided = finding.verdict == UNDECIDED and not finding.diverged
            findings.append(replace(finding, verdict=verdict if decided else finding.verdict, p=p, used=used))
    return tuple(findings)


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out every finding whose runs another study has already compared under the same hypothesis.

    So no run counts twice. Studies with more runs come first, so that a part is left out beside the whole.
    """
    studies = grouped(findings, lambda finding: (finding.comparison.claim.key, finding.study))
    kept, seen = list[Finding](), dict[Hypothesis, list[set[int]]]()
    for mine in sorted(studies.values(), key=lambda mine: -len(_runs(mine))):
        kept += [f for f in mine if not any(_runs([f]) <= runs for runs in seen.get(f.comparison.hypothesis, []))]
        for hypothesis, several in grouped(mine, lambda one: one.comparison.hypothesis).items():
            seen.setdefault(hypothesis, []).append(_runs(several))
    return kept


def _runs(findings: Iterable[Finding]) -> set[int]:
    return {run for finding in findings for run, _ in finding.used}


def _tested(study: Results, runs: Cells, comparison: Comparison) -> tuple[Finding, tuple[float, float], set[str]]:
    """Return a finding before the correction, its p-values in both directions, and the runs compared."""
    hypothesis, methods, metric = comparison.hypothesis, comparison.methods, comparison.hypothesis.metric
    by_task: dict[str, Estimate] = {}
    testable, compared, diverged = {}, set[str](), 0
    for dataset in fnmatch.filter(study.datasets, hypothesis.datasets):
        groups = [runs[dataset, method] for method in methods]
        diverged += sum(int(mine["diverged"].sum()) for mine in groups)
        stratum, values = pair(runs, dataset, comparison.ours, comparison.theirs, metric)
        compared |= {run for mine in groups for seed, run in mine["run"].items() if seed in values}
        found = estimate([[*values.values()]])
        if found is not None and found.n > 1:
            by_task[dataset] = found
            starts, (floor, ceiling) = [mine["j0"].mean() for mine in groups], score_range(study, [dataset])
            room = {"early_drop": min(starts) - floor, "auc_gain": ceiling - max(starts)}  # for what a metric measures
            if room.get(metric, ROOM) >= ROOM:
                testable[dataset] = stratum, values
    over, sides = over_tasks(testable.values()), (nan, nan)
    if over is not None:
        judged = [by_task[name] for name in testable] if hypothesis.tasks == "most" else [over]
        sides = on_most([p_values(one, hypothesis.bound, hypothesis.threshold) for one in judged])
    finding = Finding(
        study.name, comparison,
        UNDECIDED if testable else CANNOT if by_task else NO_DATA,
        nan, over.interval(hypothesis.confidence) if over else None,
        {name: one.interval(hypothesis.confidence) for name, one in by_task.items()},
        tuple(name for name in by_task if name not in testable), diverged, {},
    )  # fmt: skip
    return finding, sides, compared


def _identities(study: Results) -> dict[str, int]:
    """Know every online run by dataset, seed and evaluations: studies give the same run other names and ids."""
    seen, owners = curves(study), study.owners[study.owners["phase"] == "online"]
    return {
        run: hash((dataset, seed, seen[run].tobytes() if run in seen else run))
        for run, dataset, seed in zip(owners["run"], owners["dataset"], owners["seed"], strict=True)
    }


def _chosen(study: Results, names: Sequence[str]) -> list[str]:
    """List the methods of a study that a hypothesis' names, patterns and groups stand for."""
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
    found = [groups.get(name) or fnmatch.filter(study.methods, name) for name in names]
    return ordered(method for methods in found for method in methods if method in study.methods)


def _shown(names: Sequence[str], methods: Sequence[str], letter: str) -> str:
    """Name the method that a hypothesis is about, or a letter where it may be many."""
    fixed = len(names) == 1 and (names[0] == "main" or names[0] in methods)
    return methods[0] if fixed else letter
