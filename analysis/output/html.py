"""Every study on one page that needs nothing else: verdicts, and for each study figures, tables, captions and origin.

The figures are SVG inside of it; page.js sorts and hides, page.css lays out. Links lead to CSV, LaTeX and PDF in the
folders of the studies beside the page, which are written with it.
"""

import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from urllib.parse import quote

from markdown_it import MarkdownIt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.claims.claims import PaperClaim, load_claims
from analysis.claims.tables import RULE, all_findings, comparisons_table, verdicts_table
from analysis.claims.verdicts import Finding
from analysis.io.rows import Results
from analysis.output.facts import costs_table, provenance_table
from analysis.output.notes import not_to_cite, notes
from analysis.output.page_figures import add_seeds, share_styles, to_svg
from analysis.output.page_tables import matrix, to_html
from analysis.output.pages import SECTIONS
from analysis.output.render import cell_text, escape_markdown, to_csv
from analysis.output.report import TITLES, parts, tables, write_figures, write_tables
from analysis.output.tables import labels, scores_first
from analysis.plots.figures import draw
from analysis.plots.view import COLUMN, View, view
from analysis.stats.compare import most_seeds
from moore.base.errors import UserError

FIGURES = {  # name -> title
    "curves": "Learning curves", "iqm": "Aggregates over tasks", "profiles": "Performance profiles",
    "improvement": "Probability of improvement", "forest": "Differences to the reference", "sweep": "Swept numbers",
    "share": "Online share of batches", "uncertainty": "Uncertainty", "calibration": "Calibration of the ensemble",
    "model-error": "Error of the model", "cost": "Cost",
}  # fmt: skip
MARKDOWN = MarkdownIt("commonmark")
CURVES = re.compile(r'<figure class="curves">.*?</figure>', re.DOTALL)


@dataclass(frozen=True)
class Section:
    """One study of one source.

    name: its anchor. folder: of its files, and the same as the page names it. numbers: counts the page's figures.
    """

    name: str
    study: Results
    folder: Path
    link_to: str
    numbers: Iterator[int]

    @cached_property
    def view(self) -> View | None:
        """What is drawn; nothing without an online stage."""
        return view(self.study) if self.study.online_steps else None

    def figure(self, name: str, drawn: Figure) -> str:
        """Embed a figure; curves with every seed."""
        if name == "curves" and self.view:
            add_seeds(drawn, self.view)
        title = FIGURES.get(name, name)
        image = to_svg(drawn, next(self.numbers), self.study.methods, f"{title}, {self.name}")
        hint = " · click a curve for its seeds, a seed to mark it" * (name == "curves")
        return (
            f'<figure class="{name}"><figcaption>{title} '
            f"{self.link(f'{name}.pdf', 'PDF')}<small>{hint}</small></figcaption>"
            f'<div class="scroll">{image}</div></figure>'
        )

    def link(self, file: str, text: str) -> str:
        """Link to a file in the study's folder."""
        return f'<a class="file" href="{escape(quote(f"{self.link_to}/{file}"))}">{text}</a>'

    def toolbar(self) -> str:
        """Offer a button for each method, which hides it."""
        buttons = [
            f'<button type="button" data-m="{escape(name)}" aria-pressed="true">'
            f'<i style="background:{to_hex(look.colour)}"></i>{escape(look.label)}</button>'
            for name, look in (self.view.looks.items() if self.view else ())
        ]
        return f'<div class="toolbar">{"".join(buttons)}</div>'


def write_page(studies: Sequence[Results], file: Path, out: Path | None = None) -> int:
    """Write the page, and every table and figure to `out`/<study>/, by default beside it; returns its size in bytes.

    UserError if it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")  # before the figures are drawn
    except OSError as error:
        raise UserError(f"--page: cannot write {file} ({error.strerror}); choose another file") from None
    return file.write_bytes(page(studies, out or file.parent, file.parent).encode())


def page(studies: Sequence[Results], out: Path, place: Path) -> str:
    """Render the whole page, for a file in the folder `place`; writes every table and figure to `out`/<study>/ too."""
    order, numbers, claims = list(SECTIONS), itertools.count(), load_claims()
    ordered = sorted(studies, key=lambda one: order.index(one.name) if one.name in order else len(order))
    found = [part for study in ordered for part in parts(study).items()]
    findings, sections, texts = all_findings(ordered, claims), list[Section](), list[str]()
    for name, part in found:
        section = Section(name, part, out / name, Path(os.path.relpath(out / name, place)).as_posix(), numbers)
        try:
            texts.append(_study(section))
            sections.append(section)
        except UserError as error:
            if part.pure:
                raise
            print(f"warning: {error}; left out", file=sys.stderr)  # other people's rows stop nothing of ours
    names = ["summary", "claims", *(section.name for section in sections)]
    outline = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names)
    body = [
        f'<nav>{outline}<button type="button" id="theme">dark</button></nav>\n<main>',
        _summary(sections, texts, claims, findings),
        _claims(ordered, claims, findings),
        *texts,
        "</main>",
    ]
    content, shared = share_styles("\n".join(body))
    css, js = ((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>MOORe: results</title>\n'
        f'<link rel="icon" href="data:,">\n<style>\n{css}{shared}</style>\n</head>\n<body>\n'
        f"{content}\n<script>\n{js}</script>\n</body>\n</html>\n"
    )


def _summary(
    sections: Sequence[Section], texts: list[str], claims: Sequence[PaperClaim], findings: Sequence[Finding]
) -> str:
    """The first screen: verdicts, and intervals and curves of the first study, whose section gives its curves to it."""
    shown = {section.study.name: section.name for section in reversed(sections) if not section.study.imported}
    text = [matrix(claims, dict(reversed(shown.items())), findings)]
    lead = next((n for n, one in enumerate(sections) if CURVES.search(texts[n]) and one.study.pure), None)
    if lead is not None:
        try:
            text.append(sections[lead].figure("iqm", draw(sections[lead].study, "iqm", width=COLUMN)[0]))
        except UserError:  # no method has all tasks
            text.append("")
        curves = CURVES.search(texts[lead])
        assert curves is not None
        text += [curves[0], sections[lead].toolbar()]
        texts[lead] = CURVES.sub('<p><a href="#summary">Learning curves</a></p>', texts[lead])
    return f'<section id="summary"><h1>MOORe: results</h1><div class="first">{"".join(text)}</div></section>'


def _claims(studies: Sequence[Results], claims: Sequence[PaperClaim], findings: Sequence[Finding]) -> str:
    """Every claim with its effects, and the comparisons behind its verdicts."""
    judged = verdicts_table(studies, claims)
    rule = _folded("How claims are judged", f"<p>{_words(RULE)}</p>")
    text = [f'<section id="claims"><h2>Claims of the paper</h2>{rule}']
    for claim, (_, cells) in zip(claims, judged.rows, strict=True):
        effects = cell_text(cells[1], judged, str, str, escape)
        text.append(f'<h3 id="claim-{claim.key}">{escape(claim.sentence)}</h3><p>{effects}</p>')
        table = comparisons_table(claim, findings)
        inner = to_html(table, {}) if table.rows else ""
        text.append(_folded(f"{len(table.rows)} comparisons", f"{inner}<p>{_words(table.caption)}</p>"))
    return f"{''.join(text)}</section>"


def _study(section: Section) -> str:
    """One study: what it looks like, its tables, and folded what they show, where they come from and what they cost."""
    study, name, known = section.study, section.name, notes(section.study)
    title = SECTIONS.get(study.name, (study.name,))[0]
    size = f"{len(study.datasets)} tasks, {len(study.methods)} methods, {most_seeds(study)} seeds"
    size = f"{name}: {size}. {not_to_cite(study)}"
    text = [
        f'<section id="{escape(name)}"><h2>{escape(title)}</h2><p>{escape(size)}</p>{section.toolbar()}',
        '<input type="search" placeholder="filter table rows"><div class="figures">',
    ]
    captions = []
    for figure_name, figure, caption, _ in write_figures(study, section.folder):
        text.append(section.figure(figure_name, figure))
        captions.append(f"{FIGURES.get(figure_name, figure_name)}: {caption}")
    text.append("</div>")
    built = tables(study)
    write_tables(built, known, section.folder, labels(study))
    for table in built:
        links = section.link(f"{table.name}.csv", "CSV") + " " + section.link(f"{table.name}.tex", "LaTeX")
        shown = scores_first(table) if table.name == "main" else table
        text.append(f"<h3>{TITLES[table.name]} {links}</h3>{to_html(shown, labels(study))}")
        captions += [f"{TITLES[table.name]}: {table.caption}", *table.notes]
    lines = [f"<li>{_words(line)}</li>" for line in (*captions, *known)]
    origin = to_html(provenance_table(study), {})
    text.append(_folded("Captions, notes and origin", f"<ul>{''.join(lines)}</ul>{origin}"))
    (section.folder / "costs.csv").write_text(to_csv(costs_table(study)), encoding="utf-8")
    text.append(f"<p>Cost of every run: {section.link('costs.csv', 'CSV')}</p>")
    return f"{''.join(text)}</section>"


def _folded(title: str, inside: str) -> str:
    return f"<details><summary>{title}</summary>{inside}</details>"


def _words(text: str) -> str:
    """Text with `code`, as HTML."""
    return MARKDOWN.renderInline(escape_markdown(text))
