"""`python -m analysis.claims`: the paper's claims, judged on the rows of every study.

First the verdict on every claim, then every comparison behind it with its effect, interval and the rows used. The exit
code is 0 whatever the verdicts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from analysis.claims.claims import CLAIMS, FALL, PaperClaim, load_claims
from analysis.claims.verdicts import (
    FAILS,
    HOLDS,
    NO_DATA,
    UNDECIDED,
    Comparison,
    Finding,
    check,
    comparisons,
    conjunction,
)
from analysis.io.rows import RESULTS, Results, load_studies, reject_mixed_sources, study_folders
from analysis.output.render import interval_text, number, to_rich
from analysis.output.tables import Cell, Table, seeds_clause
from analysis.stats.compare import most_seeds
from analysis.stats.intervals import Interval
from analysis.stats.transfer import summarise
from moore.base.errors import UserError

RULE = (
    f'A comparison "{HOLDS}" if its 95 % Student-t interval over seeds, in brackets, lies wholly on its side of the '
    f'threshold, "{FAILS}" if wholly on the other side, and is "{UNDECIDED}" otherwise or if a compared run diverged; '
    f'"{NO_DATA}": methods, datasets or a second seed are missing. No correction for the number of checks.'
)
Part = tuple[str, Interval | str]
WIDTH = 180  # characters, where the output is no terminal


def claims_table(study: Results, claims: Sequence[PaperClaim] | None = None) -> Table:
    """Rows: comparisons; columns: datasets and on how many it holds; cells: verdict and interval.

    UserError for datasets of several sources.
    """
    reject_mixed_sources(study)
    claims = load_claims() if claims is None else claims
    found: dict[Comparison, dict[str, Finding]] = {one: {} for one in comparisons(study, claims)}
    for finding in check(study, claims):
        found[finding.comparison][finding.dataset] = finding
    rows = []
    for one, mine in found.items():
        cells = [_finding_cell(mine[name]) if name in mine else Cell() for name in study.datasets]
        total = sum(finding.verdict == HOLDS for finding in mine.values())
        rows.append(((one.name,), (*cells, Cell.said("count", f"{total} of {len(mine)}"))))
    seeds = most_seeds(summarise(study))
    meanings = dict.fromkeys(f"{one.kind}: {one.meaning}." for one in found)
    caption = f"Verdict and 95 % Student-t interval over seeds of every comparison; {seeds_clause(seeds)}."
    columns = (*study.datasets, HOLDS)
    return Table("claims", ("claim",), columns, tuple(rows), seeds, caption, joiner=": ", notes=(RULE, *meanings))


def verdicts_table(studies: Iterable[Results], claims: Sequence[PaperClaim] | None = None) -> Table:
    """Rows: claims; columns: verdict counted over the tasks of every study, effects, rows used."""
    claims = load_claims() if claims is None else claims
    findings = all_findings(studies, claims)
    rows = []
    for claim in claims:
        mine = [finding for finding in findings if finding.comparison.claim == claim]
        cells = (_verdict_cell(claim, mine), Cell(tuple(_effects(mine)), brackets=True), Cell(tuple(_used(mine))))
        rows.append(((claim.sentence,), cells))
    caption = (
        "A claim holds on a task if all of its comparisons hold. Effects: a single comparison's with its interval, or "
        "the lowest and the highest mean. Unnumbered lines are no sentences of the paper."
    )
    columns = ("verdict", "effects", "rows used")
    return Table("verdicts", ("claim",), columns, tuple(rows), 0, caption, joiner="; ", words=True, notes=(RULE,))


def comparisons_table(claim: PaperClaim, findings: Sequence[Finding]) -> Table:
    """Rows: comparison, study and dataset of one claim; columns: verdict, effect, rows used."""
    mine, rows = [finding for finding in findings if finding.comparison.claim == claim], []
    for finding in mine:
        verdict, *effect = _finding_cell(finding).parts
        used = f"{_count(len(finding.used), 'run')}, {_count(sum(finding.used.values()), 'row')}"
        cells = (Cell((verdict,)), Cell(tuple(effect), False, _decimals(finding), True), Cell.said("rows", used))
        rows.append(((finding.comparison.name, finding.study, finding.dataset), cells))
    meanings = dict.fromkeys(f"{f.comparison.kind} = {f.comparison.meaning}" for f in mine)
    caption = "; ".join([*meanings, *_lacking(claim, mine)])
    heads = ("comparison", "study", "dataset")
    return Table(claim.key, heads, ("verdict", "effect", "rows used"), tuple(rows), 0, f"{caption}.", words=True)


def all_findings(studies: Iterable[Results], claims: Sequence[PaperClaim]) -> list[Finding]:
    """Every comparison in every study whose runs are our own."""
    return [finding for study in studies if not study.imported for finding in check(study, claims)]


def main(arguments: Sequence[str] | None = None) -> int:
    from rich.console import Console
    from rich.markup import escape

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


def _finding_cell(finding: Finding) -> Cell:
    verdict = finding.verdict + (f" ({finding.diverged} diverged)" if finding.diverged else "")
    cell = Cell.measured("value", finding.interval, _decimals(finding), brackets=True)
    return replace(cell, parts=(("verdict", verdict), *cell.parts))


def _verdict_cell(claim: PaperClaim, findings: Sequence[Finding]) -> Cell:
    """One part for every study, `sampling-mini: holds on 3 of 4 tasks, undecided on 1`, then what none could check."""
    parts: list[Part] = []
    for study, mine in _grouped(findings, lambda finding: finding.study).items():
        by_task = _grouped(mine, lambda finding: finding.dataset)
        verdicts = [conjunction(finding.verdict for finding in on_task) for on_task in by_task.values()]
        words = [f"{HOLDS} on {verdicts.count(HOLDS)} of {_count(len(verdicts), 'task')}"]
        words += [f"{one} on {verdicts.count(one)}" for one in (FAILS, UNDECIDED, NO_DATA) if one in verdicts]
        parts.append((study, f"{study}: {', '.join(words)}"))
    return Cell((*parts, *(("lacking", text) for text in _lacking(claim, findings))))


def _lacking(claim: PaperClaim, findings: Sequence[Finding]) -> list[str]:
    """`not enough data: needs ...` for every hypothesis that no study could check."""
    checked = {finding.comparison.hypothesis for finding in findings}
    return list(dict.fromkeys(f"{NO_DATA}: {one.needs}" for one in claim.hypotheses if one not in checked))


def _effects(findings: Sequence[Finding]) -> list[Part]:
    """One part for every kind of comparison: a single one's interval, or the range of their means."""
    parts: list[Part] = []
    for kind, mine in _grouped(findings, lambda finding: finding.comparison.kind).items():
        intervals, decimals = [one.interval for one in mine if one.interval is not None], _decimals(mine[0])
        means = [number(one, decimals) for one in sorted(interval.mean for interval in intervals)]
        if intervals:
            words = interval_text(intervals[0], decimals, True) if len(means) == 1 else f"{means[0]} to {means[-1]}"
            parts.append((kind, f"{kind}: {words}"))
    return parts


def _used(findings: Sequence[Finding]) -> list[Part]:
    """`sampling-mini: 80 runs, 3360 rows`; a run that stands in several comparisons counts once."""
    parts: list[Part] = []
    for study, mine in _grouped(findings, lambda finding: finding.study).items():
        counted = {key: rows for finding in mine for key, rows in finding.used.items()}
        runs = _count(len({run for run, _ in counted}), "run")
        parts.append((study, f"{study}: {runs}, {_count(sum(counted.values()), 'row')}"))
    return parts


def _grouped(findings: Iterable[Finding], key: Callable[[Finding], str]) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(key(finding), []).append(finding)
    return groups


def _decimals(finding: Finding) -> int:
    return 2 if finding.comparison.hypothesis.metric == FALL else 1


def _count(many: int, noun: str) -> str:
    return f"{many} {noun}{'s' if many != 1 else ''}"
