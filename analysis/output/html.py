"""`python -m analysis.output.html`: every study as one page that needs nothing else: build/report.html.

Claims, and for each study its tables, figures, provenance and cost. The file has its figures inside, no script, and no
link to anything outside.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from analysis.claims.claims import load_claims
from analysis.claims.tables import all_findings, comparisons_table, verdicts_table
from analysis.io.rows import RESULTS, Results, load_studies, split_by_source, study_folders
from analysis.output.facts import costs_table, provenance_table
from analysis.output.notes import notes
from analysis.output.render import html_code, to_html
from analysis.output.report import TITLES, tables
from analysis.plots.figures import drawings, png
from moore.base.errors import UserError

OUT = Path("build/report.html")
STYLE = Path(__file__).parent / "html.css"


def page(studies: Sequence[Results]) -> str:
    """The whole page. Draws every figure."""
    claims = load_claims()
    findings = all_findings(studies, claims)
    parts = [_contents(studies), '<section id="claims">\n<h2>Claims of the paper</h2>\n']
    parts.append(to_html(verdicts_table(studies, claims)))
    for claim in claims:
        table = comparisons_table(claim, findings)
        if table.rows:
            parts.append(_folded(f"Every comparison: {claim.sentence}", to_html(table)))
    parts.append("</section>\n")
    parts += [_section(study) for study in studies]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<title>MOORe: results</title>\n'
        '<link rel="icon" href="data:,">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f"{''.join(parts)}</body>\n</html>\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.output.html", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="folders under the results root; default: all")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results root")
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write")
    options = parser.parse_args(arguments)
    try:
        text = page(load_studies(study_folders(options.results, options.studies)))
        try:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--out: cannot write {options.out} ({error.strerror}); choose another file") from None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(text.encode()) / 1e6:.1f} MB")
    return 0


def _contents(studies: Sequence[Results]) -> str:
    items = "".join(f'<li><a href="#{escape(study.name)}">{escape(study.name)}</a></li>\n' for study in studies)
    return (
        "<header>\n<h1>MOORe: results</h1>\n<p>Every number comes from the raw rows of finished runs; each study says "
        "which code, command and machine made it.</p>\n"
        f'<nav aria-label="Contents">\n<ul>\n<li><a href="#claims">Claims of the paper</a></li>\n{items}</ul>\n</nav>\n'
        "</header>\n"
    )


def _section(study: Results) -> str:
    """One study: where it comes from, what its tables say, what it looks like, what it cost."""
    parts = [f'<section id="{escape(study.name)}">\n<h2>{escape(study.name)}</h2>\n', to_html(provenance_table(study))]
    items = "".join(f"<li>{html_code(sentence)}</li>\n" for sentence in notes(study))
    parts.append(f"<ul>\n{items}</ul>\n")
    for part in split_by_source(study):
        parts += [f"<h3>{escape(TITLES[table.name])}</h3>\n{to_html(table)}" for table in tables(part)]
        parts += ["<h3>Figures</h3>\n", *(_embedded(figure, caption) for _, figure, caption in drawings(part))]
    parts += [_folded("Cost of every run", to_html(costs_table(study))), "</section>\n"]
    return "".join(parts)


def _embedded(figure: Figure, caption: str) -> str:
    """A figure inside the page, and its caption."""
    image = base64.b64encode(png(figure)).decode("ascii")
    alt = escape(caption.split(". ")[0], quote=True)
    return (
        f'<figure>\n<img src="data:image/png;base64,{image}" alt="{alt}" loading="lazy">\n'
        f"<figcaption>{html_code(caption)}</figcaption>\n</figure>\n"
    )


def _folded(title: str, text: str) -> str:
    return f"<details>\n<summary>{escape(title)}</summary>\n{text}</details>\n"


if __name__ == "__main__":
    sys.exit(main())
