"""What `moore reproduce` ends with: at most 45 lines of 80 columns, our scores beside the published rows of the study.

One table, a verdict on each of the paper's claims, and where everything else is. The same lines in a terminal, a
notebook or a log: marks are characters, not colours.
"""

import sys
from collections.abc import Mapping, Sequence
from textwrap import shorten, wrap

from analysis.claims.claims import load_claims
from analysis.claims.verdicts import CANNOT, NO_DATA, check, conjunction
from analysis.io.rows import MANIFEST, RESULTS, Results, load_study, source, split_by_source
from analysis.output.notes import not_to_cite
from analysis.output.render import MISSING, interval_text, number
from analysis.output.tables import CLOSE, Cell, Table, labels, main_table, transposed
from analysis.stats.agreement import AGREES, DIFFERS, LEVEL, OTHER, SAME, UNTESTED, Agreement, agreements
from moore.base.errors import UserError
from moore.base.machine import short

LINES, WIDTH = 45, 80
NARROW = 9  # a column at least
INDENT = 17  # of a claim behind its verdict
MARKS = {SAME: "=", AGREES: "≈", DIFFERS: "≠", UNTESTED: "?", OTHER: "!"}
MEANINGS = {
    SAME: "every evaluation is the published number",
    AGREES: "no difference by a t-test, paired by seed",
    DIFFERS: f"a difference by it, Holm-corrected, {100 * LEVEL:.0f} % for all cells together",
    UNTESTED: "too few seeds in common to compare",
    OTHER: "the published runs have other settings",
}
Agreements = Mapping[tuple[str, str], Agreement]


def summary(study: Results, published: Results | None, end: Sequence[str]) -> list[str]:
    """Write the lines; `published`: the rows in git of the same study; `end`: what else to say.

    Where not all fits, claims are cut to a line each, then tables end in a line that says so.
    """
    said = [line for words in end for line in wrap(words, WIDTH, break_long_words=False, break_on_hyphens=False)]
    parts, judged = list[tuple[list[str], list[str], list[str]]](), verdicts(study)
    for part in split_by_source(study):
        compared = agreements(part, published) if published is not None else {}
        table = main_table(part)
        foot = [*wrap(table.caption.replace("Bold:", "*"), WIDTH), *wrap(_agreement(part, published, compared), WIDTH)]
        parts.append((wrap(_head(part), WIDTH), _grid(table, part, compared), foot))
    fixed, claims = 2 + len(said) + sum(len(head) + len(foot) for head, _, foot in parts), _claims(judged, 2 * WIDTH)
    if fixed + len(claims) + sum(len(grid) for _, grid, _ in parts) > LINES:
        claims = _claims(judged, WIDTH - INDENT)
    room, lines = (LINES - fixed - len(claims)) // len(parts), list[str]()
    for head, grid, foot in parts:
        cut = len(grid) > room
        lines += [*head, *grid[: room - cut], *["More does not fit here: --verbose has it."] * cut, *foot]
    return [*lines, "", *claims, "", *said]


def published_rows(name: str) -> Results | None:
    """Read the published rows of a study, by name; None where there are none. Damaged ones are said and left out."""
    try:
        return load_study(RESULTS / name) if (RESULTS / name / MANIFEST).is_file() else None
    except UserError as error:  # after hours of training, nobody's own fault
        print(f"moore: warning: {error}", file=sys.stderr)
        return None


def verdicts(study: Results) -> list[tuple[str, str]]:
    """Give the sentence of every claim of the paper, or about this study, and the word for it on this study."""
    about = [claim for claim in load_claims() if any(one.covers(study.name) for one in claim.hypotheses)]
    claims = [claim for claim in load_claims() if claim in about or claim.sentence[0].isdigit()]
    found = check(study, load_claims())  # as the page has them
    words = [conjunction(one.verdict for one in found if one.comparison.claim == claim) for claim in claims]
    return [(one.sentence, CANNOT if word == NO_DATA else word) for one, word in zip(claims, words, strict=True)]


def _head(study: Results) -> str:
    """Say what was compared."""
    counted = ((study.methods, "method"), (study.datasets, "task"), (study.owners["seed"].unique(), "seed"))
    counts = ", ".join(f"{len(names)} {word}{'s' * (len(names) != 1)}" for names, word in counted)
    kind = {"self": "self-made", "d4rl": "D4RL's"}.get(source(study.datasets[0]), source(study.datasets[0]))
    return f"{study.name}: {counts}, {study.online_steps} steps, {kind} data. {not_to_cite(study)}".strip()


def _agreement(study: Results, published: Results | None, compared: Agreements) -> str:
    """Say what the marks mean, how often each stands, and how far the furthest cell is from the published one."""
    if published is None or not compared:
        return f"Nothing published to compare with: analysis/results has no {study.name}."
    words = [one.word for one in compared.values()]
    marks = [f"{MARKS[word]} {MEANINGS[word]} ({words.count(word)})" for word in MARKS if word in words]
    commit = short(str(published.manifest.get("git_commit", "unknown")))
    said = f"Right of the mark: published, analysis/results/{study.name} (commit {commit}). {'; '.join(marks)}."
    tested = [(c, one.difference) for c, one in compared.items() if one.difference and one.word in (AGREES, DIFFERS)]
    if not tested:
        return said
    (dataset, method), difference = max(tested, key=lambda item: abs(item[1].mean))
    return f"{said} Furthest off: {method} on {dataset}, {interval_text(difference, brackets=True)}."


def _claims(judged: Sequence[tuple[str, str]], room: int) -> list[str]:
    """Write the verdict on every claim, and its sentence in at most `room` letters."""
    said = (f"{word:{INDENT}}{shorten(sentence, room, placeholder=' ...')}" for sentence, word in judged)
    return [line for words in said for line in wrap(words, WIDTH, subsequent_indent=" " * INDENT)]


def _grid(table: Table, study: Results, compared: Agreements) -> list[str]:
    """Lay the table out, a line a method, the mean first: with a decimal unless that takes more lines."""
    table = table if table.heads == ("method",) else transposed(table, "method")
    shown = [name for name in table.columns if name.startswith("mean")] + study.datasets
    names, layouts = labels(study), []
    for decimals in (1, 0):
        columns = []
        for name in shown:
            cells = ((heads[0], row[table.columns.index(name)]) for heads, row in table.rows)
            texts = [_text(cell, compared.get((name, method)), decimals) for method, cell in cells]
            columns.append([names.get(name, name), *texts])
        layouts.append(_blocks([heads[0] for heads, _ in table.rows], columns))
    return min(layouts, key=len)


def _text(cell: Cell, agreement: Agreement | None, decimals: int) -> str:
    """`*65→99±2=99`: best, offline, online, its interval, the mark, published."""
    parts = [
        part if isinstance(part, str) else
        number(part.mean, decimals) if name == "offline" or not part.known else
        f"{number(part.mean, decimals)}±{number(part.half_width, decimals)}"
        for name, part in cell.parts
    ]  # fmt: skip
    there = f"{MARKS[agreement.word]}{number(agreement.published, decimals)}" if agreement else ""
    return "*" * cell.bold + CLOSE * cell.close + ("→".join(parts) or MISSING) + there


def _blocks(methods: Sequence[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """Set columns, each a head and its cells, beside the methods: as many as fit the width, the others below them."""
    first = max(map(len, methods))
    groups, left = list[list[list[str]]](), 0
    for head, *cells in columns:
        width = 1 + max(NARROW, *map(len, cells))
        if not groups or width > left:
            groups.append([])
            left = WIDTH - first
        left -= width
        groups[-1].append([text.rjust(width) for text in (*wrap(head, width - 1), *cells)])
    lines = []
    for group in groups:
        tallest = max(map(len, group))
        padded = [[" " * len(column[0])] * (tallest - len(column)) + column for column in group]
        names = [*[""] * (tallest - len(methods)), *methods]
        lines += [name.ljust(first) + "".join(cells) for name, *cells in zip(names, *padded, strict=True)]
    return lines
