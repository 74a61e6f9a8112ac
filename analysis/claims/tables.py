"""`python -m analysis.claims`: the paper's claims, judged on the rows of every study.

First the verdict on every claim, then every comparison behind it with its effect, interval and the rows used. The exit
code is 0 whatever the verdicts.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from analysis.claims.claims import CLAIMS, FALLS, PaperClaim, load_claims
from analysis.claims.verdicts import CANNOT, FAILS, HOLDS, NO_DATA, ROOM, UNDECIDED, Finding, check, conjunction
from analysis.claims.verdicts import distinct as counted_once
from analysis.io.rows import RESULTS, Results, load_studies, study_folders
from analysis.output.render import interval_text, number, to_rich
from analysis.output.tables import Cell, Table, seeds_clause
from analysis.stats.compare import most_seeds
from analysis.stats.intervals import Interval
from moore.base.errors import UserError
from moore.base.groups import grouped

RULE = (
    f'A comparison is of the mean over tasks, of seeds paired within tasks. It "{HOLDS}" or "{FAILS}" by a one-sided '
    "t-test at 2.5 %, in an equivalence by two at 5 %, after Holm's correction for all comparisons of the claim in the "
    f'study; it is "{UNDECIDED}" otherwise or if a compared run diverged. A claim holds if all its comparisons do. '
    f'"{CANNOT}": on no task does J_0 leave {ROOM:g} points to fall or to rise; tasks without that room are left out. '
    f'"{NO_DATA}": methods, datasets or a second seed are missing.'
)
WORDS = (HOLDS, FAILS, UNDECIDED, CANNOT, NO_DATA)
WIDTH = 180  # characters, where the output is no terminal


def claims_table(study: Results) -> Table:
    """Rows: comparisons; columns: effect on every dataset and over tasks, corrected p-value, verdict."""
    findings, rows = check(study, load_claims()), []
    for f in findings:
        tasks = (_effect(f, f.by_task.get(name), name in f.untestable) for name in study.datasets)
        rows.append(((f.comparison.name,), (*tasks, *_judged(f))))
    seeds = most_seeds(study)
    meanings = dict.fromkeys(f"{f.comparison.kind}: {f.comparison.meaning}." for f in findings)
    caption = (
        f"Effect of every comparison with its Student-t interval over seeds, and over tasks; {seeds_clause(seeds)}; p: "
        "one-sided, corrected by Holm's method."
    )
    columns = (*study.datasets, "over tasks", "p", "verdict")
    return Table("claims", ("claim",), columns, tuple(rows), seeds, caption, joiner=", ", notes=(RULE, *meanings))


def verdicts_table(studies: Iterable[Results], claims: Sequence[PaperClaim] | None = None) -> Table:
    """Rows: claims; columns: one verdict for every study, effects, rows used. A run counts in one study only."""
    claims = load_claims() if claims is None else claims
    findings, rows = all_findings(studies, claims), []
    kept = counted_once(findings)
    for claim in claims:
        everywhere, mine = ([f for f in some if f.comparison.claim == claim] for some in (findings, kept))
        by_study = grouped(mine, lambda finding: finding.study)
        used = [f"{study}: {_used(several)}" for study, several in by_study.items()]
        said = {"verdict": _verdicts(claim, everywhere, mine), "effects": _effects(mine), "rows used": used}
        rows.append(((claim.sentence,), tuple(Cell.said(name, *texts) for name, texts in said.items())))
    caption = (
        "One verdict for every claim and study. Effects are means over tasks: a single comparison's with its interval, "
        "or the lowest and the highest. Unnumbered lines are no sentences of the paper."
    )
    columns = ("verdict", "effects", "rows used")
    return Table("verdicts", ("claim",), columns, tuple(rows), 0, caption, joiner="; ", words=True, notes=(RULE,))


def comparisons_table(claim: PaperClaim, findings: Sequence[Finding]) -> Table:
    """Rows: comparison and study of one claim; columns: verdict, corrected p-value, effect over tasks, rows used."""
    mine, rows = [finding for finding in findings if finding.comparison.claim == claim], []
    for finding in mine:
        tasks = f"{len(finding.by_task) - len(finding.untestable)} of {len(finding.by_task)}"
        effect, p, verdict = _judged(finding)
        cells = (verdict, p, effect, Cell.said("tasks", tasks), Cell.said("rows", _used([finding])))
        rows.append(((finding.comparison.name, finding.study), cells))
    meanings = dict.fromkeys(f"{f.comparison.kind} = {f.comparison.meaning}" for f in mine)
    caption = "; ".join([*meanings, *_lacking(claim, mine)])
    columns = ("verdict", "p", "effect over tasks", "tasks tested", "rows used")
    return Table(claim.key, ("comparison", "study"), columns, tuple(rows), 0, f"{caption}.", words=True)


def all_findings(studies: Iterable[Results], claims: Sequence[PaperClaim]) -> list[Finding]:
    """Every comparison in every study whose runs are our own."""
    return [finding for study in studies if not study.imported for finding in check(study, tuple(claims))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.claims", description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="folders under the results root; default: all")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results root")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help="file of hypotheses")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        studies, claims = load_studies(study_folders(options.results, options.studies)), load_claims(options.claims)
        findings = all_findings(studies, claims)
        console.print(to_rich(verdicts_table(studies, claims)))
        for claim in claims:
            console.print(f"\n[bold]{escape(claim.sentence)}[/bold]")
            table = comparisons_table(claim, findings)
            console.print(to_rich(table) if table.rows else f"  {escape(table.caption)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _effect(finding: Finding, interval: Interval | None, left_out: bool = False) -> Cell:
    """Without a mark for its number of seeds: over tasks that is the number of pairs."""
    parts: list[tuple[str, Interval | str]] = [("value", interval)] if interval else []
    return Cell((*parts, *[("left out", "left out")] * left_out), decimals=_decimals(finding), brackets=True)


def _judged(finding: Finding) -> tuple[Cell, Cell, Cell]:
    """Effect over tasks, corrected p-value and verdict."""
    p = "" if math.isnan(finding.p) else "<0.001" if finding.p < 0.001 else f"{finding.p:.3f}"
    verdict = finding.verdict + (f" ({finding.diverged} diverged)" if finding.diverged else "")
    return _effect(finding, finding.interval), Cell.said("p", p), Cell.said("verdict", verdict)


def counted(verdicts: Sequence[str]) -> str:
    """Count every verdict: `holds 3, undecided 1`."""
    return ", ".join(f"{one} {verdicts.count(one)}" for one in WORDS if one in verdicts)


def _verdicts(claim: PaperClaim, everywhere: Sequence[Finding], kept: Sequence[Finding]) -> list[str]:
    """`sampling-mini: undecided (holds 3, undecided 1)`, studies of the same runs, and what none could check."""
    texts, by_study = [], grouped(kept, lambda finding: finding.study)
    for study, mine in by_study.items():
        verdicts = [finding.verdict for finding in mine]
        details = counted(verdicts) if len(set(verdicts)) > 1 else _count(len(verdicts), "comparison")
        texts.append(f"{study}: {conjunction(verdicts)} ({details})")
    repeats = [
        f"{study} ({conjunction(finding.verdict for finding in mine)})"
        for study, mine in grouped(everywhere, lambda finding: finding.study).items()
        if study not in by_study
    ]
    if repeats:
        texts.append(f"of the same runs, not counted again: {', '.join(repeats)}")
    return [*texts, *_lacking(claim, everywhere)]


def _lacking(claim: PaperClaim, findings: Sequence[Finding]) -> list[str]:
    """`not enough data: needs ...` for every hypothesis that no study could check."""
    checked = {finding.comparison.hypothesis for finding in findings}
    return list(dict.fromkeys(f"{NO_DATA}: {one.needs}" for one in claim.hypotheses if one not in checked))


def _effects(findings: Sequence[Finding]) -> list[str]:
    """One text for every kind of comparison: a single one's interval, or the range of their means."""
    texts = []
    for kind, mine in grouped(findings, lambda finding: finding.comparison.kind).items():
        intervals, decimals = [one.interval for one in mine if one.interval is not None], _decimals(mine[0])
        means = [number(one, decimals) for one in sorted(interval.mean for interval in intervals)]
        if intervals:
            words = interval_text(intervals[0], decimals, True) if len(means) == 1 else f"{means[0]} to {means[-1]}"
            texts.append(f"{kind}: {words}")
    return texts


def _used(findings: Sequence[Finding]) -> str:
    """`80 runs, 3360 rows`; a run that stands in several comparisons counts once."""
    used = {key: rows for finding in findings for key, rows in finding.used.items()}
    return f"{_count(len({run for run, _ in used}), 'run')}, {_count(sum(used.values()), 'row')}"


def _decimals(finding: Finding) -> int:
    return 2 if finding.comparison.hypothesis.metric in FALLS else 1


def _count(many: int, noun: str) -> str:
    return f"{many} {noun}{'s' if many != 1 else ''}"
