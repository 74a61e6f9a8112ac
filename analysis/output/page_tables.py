"""Tables of the page, and the matrix of claims and studies."""

from collections.abc import Mapping, Sequence
from html import escape

from analysis.claims.claims import PaperClaim
from analysis.claims.tables import WORDS
from analysis.claims.verdicts import CANNOT, FAILS, HOLDS, UNDECIDED, Finding, conjunction, distinct
from analysis.output.render import cell_text
from analysis.output.tables import Cell, Table
from analysis.stats.intervals import Interval

MARKS = {HOLDS: ("holds", "✓"), FAILS: ("fails", "✗"), UNDECIDED: ("undecided", "?"), CANNOT: ("cannot", "–")}  # noqa: RUF001


def to_html(table: Table, labels: Mapping[str, str]) -> str:
    """Write a table that scrolls inside itself; rows of a method hide with it, columns sort by their last number.

    labels: of methods and tasks, by id.
    """
    place = table.heads.index("method") if "method" in table.heads else None
    body = []
    for heads, cells in table.rows:
        method = None if place is None else heads[place]
        marked = "" if method is None else f' data-m="{escape(method)}"'
        words = "".join(f"<th>{escape(labels.get(text, text))}</th>" for text in heads)
        body.append(f"<tr{marked}>{words}{''.join(_cell(cell, table) for cell in cells)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in table.heads)
    head += "".join(f'<th class="value">{escape(labels.get(name, name))}</th>' for name in table.columns)
    kind = "words" if table.words else "numbers"
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def matrix(claims: Sequence[PaperClaim], studies: Mapping[str, str], findings: Sequence[Finding]) -> str:
    """Write claims in rows, studies in columns, one verdict in each cell, pale where the same runs count elsewhere.

    studies: name -> anchor. Heads link there, and to the claims' `claim-KEY`.
    """
    counted = {(one.comparison.claim.key, one.study) for one in distinct(findings)}
    rows = []
    for claim in claims:
        cells = []
        for study in studies:
            mine = [one.verdict for one in findings if one.comparison.claim == claim and one.study == study]
            verdict = conjunction(mine)
            kind, mark = MARKS.get(verdict, ("", ""))
            again = bool(mine) and (claim.key, study) not in counted
            said = ", ".join(f"{one} {mine.count(one)}" for one in WORDS if one in mine) or verdict
            title = f"{study}: {verdict} ({said})" + "; the same runs count in another study" * again
            kind += " again" * again
            cells.append(f'<td class="{kind}" title="{escape(title)}">{mark}</td>')
        rows.append(f'<tr><th><a href="#claim-{claim.key}">{escape(claim.sentence)}</a></th>{"".join(cells)}</tr>')
    heads = "".join(f'<th><a href="#{escape(to)}"><span>{escape(name)}</span></a></th>' for name, to in studies.items())
    legend = "".join(f'<span class="{kind}">{mark}</span> {word} ' for word, (kind, mark) in MARKS.items())
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="legend">{legend}<span></span> not enough data. Pale: runs that count in another study.</p>'
    )


def _cell(cell: Cell, table: Table) -> str:
    numbers = [part for _, part in cell.parts if isinstance(part, Interval)]
    value = f' data-v="{numbers[-1].mean:.4g}"' if numbers else ""
    text = cell_text(cell, table, lambda text: f"<b>{text}</b>", lambda n: f"<sup>n={n}</sup>", escape)
    return f"<td{value}>{text}</td>"
