"""Every study as one page that needs nothing else: claims, and for each study tables, figures, provenance and cost.

The page is Markdown, rendered. It has its figures inside, no script, and no link to anything outside.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from analysis.claims.claims import load_claims
from analysis.claims.tables import all_findings, comparisons_table, verdicts_table
from analysis.io.rows import Results, split_by_source
from analysis.output.facts import costs_table, provenance_table
from analysis.output.notes import notes
from analysis.output.render import bullets, escape_markdown, folded, to_markdown
from analysis.output.report import sections, tables
from analysis.plots.figures import drawings, picture
from moore.base.errors import UserError

STYLE = Path(__file__).parent / "html.css"


def write_page(studies: Sequence[Results], file: Path) -> int:
    """Write the page; returns its size in bytes. Raises UserError if it cannot be written."""
    content = page(studies).encode()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise UserError(f"--page: cannot write {file} ({error.strerror}); choose another file") from None
    return len(content)


def page(studies: Sequence[Results]) -> str:
    """Render the whole page. Draws every figure."""
    claims = load_claims()
    findings = all_findings(studies, claims)
    parts = [
        "# MOORe: results\n\nEvery number comes from the raw rows of finished runs; each study says what made it.\n",
        bullets(["[Claims of the paper](#claims)", *(f"[{escape(s.name)}](#{escape(s.name)})" for s in studies)]),
        f'<h2 id="claims">Claims of the paper</h2>\n\n{to_markdown(verdicts_table(studies, claims))}',
    ]
    for claim in claims:
        table = comparisons_table(claim, findings)
        if table.rows:
            parts.append(folded(f"Every comparison: {claim.sentence}", to_markdown(table)))
    parts += [_section(study) for study in studies]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<title>MOORe: results</title>\n'
        '<link rel="icon" href="data:,">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + MarkdownIt("commonmark").enable("table").render("\n".join(parts))
        + "</body>\n</html>\n"
    )


def _section(study: Results) -> str:
    """One study: where it comes from, what its tables say, what it looks like, what it cost."""
    name = escape(study.name)
    parts = [f'<h2 id="{name}">{name}</h2>\n', to_markdown(provenance_table(study))]
    parts.append(bullets(map(escape_markdown, notes(study))))
    for part in split_by_source(study):
        parts += [sections(tables(part), "###"), "### Figures\n"]
        for _, figure, caption in drawings(part):
            parts.append(f"{_embedded(figure, caption)}\n\n{escape_markdown(caption)}\n")
    return "\n".join([*parts, folded("Cost of every run", to_markdown(costs_table(study)))])


def _embedded(figure: Figure, caption: str) -> str:
    """A figure inside the page."""
    image = base64.b64encode(picture(figure)).decode("ascii")
    alt = escape(caption.split(". ")[0])
    return f'<figure><img src="data:image/png;base64,{image}" alt="{alt}" loading="lazy"></figure>'
