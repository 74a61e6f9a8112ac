"""Every study on one page that needs nothing else: verdicts, and for each study figures, tables, captions and origin.

page.html is its template: figures are SVG inside of it; page.js sorts and hides, page.css lays out. Links lead to CSV,
LaTeX and PDF in the folders of the studies beside the page, which are written with it.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup
from matplotlib.colors import to_hex

from analysis.claims.claims import PaperClaim, load_claims
from analysis.claims.tables import RULE, WORDS, all_findings, comparisons_table, verdicts_table
from analysis.claims.verdicts import CANNOT, FAILS, HOLDS, UNDECIDED, Finding, conjunction, distinct
from analysis.io.rows import Results
from analysis.output.facts import costs_table, provenance_table
from analysis.output.notes import not_to_cite, notes
from analysis.output.page_figures import add_seeds, to_svg
from analysis.output.pages import SECTIONS
from analysis.output.render import cell_text, escape_markdown, to_csv
from analysis.output.report import TITLES, parts, tables, write_figures, write_tables
from analysis.output.tables import Cell, Table, labels, scores_first
from analysis.plots.figures import FIGURES, draw
from analysis.plots.looks import Drawn
from analysis.plots.view import COLUMN, view
from analysis.stats.compare import most_seeds
from analysis.stats.intervals import Interval
from moore.base.errors import UserError

MARKS = {HOLDS: ("holds", "✓"), FAILS: ("fails", "✗"), UNDECIDED: ("undecided", "?"), CANNOT: ("cannot", "–")}  # noqa: RUF001
MARKDOWN = MarkdownIt("commonmark")
TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)


@dataclass(frozen=True)
class Section:
    """One study of one source: its anchor, what it shows, and where the page finds its files."""

    name: str
    title: str
    size: str
    link: str
    study: Results
    looks: Mapping[str, Drawn]
    figures: Mapping[str, Markup]
    tables: Sequence[tuple[str, Table]]
    labels: Mapping[str, str]
    lines: Sequence[str]  # captions and notes
    origin: Table


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


def page(studies: Iterable[Results], out: Path, place: Path) -> str:
    """Render the whole page, for a file in the folder `place`; writes every table and figure to `out`/<study>/ too."""
    order, claims = list(SECTIONS), load_claims()
    studies = sorted(studies, key=lambda one: order.index(one.name) if one.name in order else len(order))
    findings, sections, styles = all_findings(studies, claims), list[Section](), dict[str, str]()
    for name, part in [part for study in studies for part in parts(study).items()]:
        link = Path(os.path.relpath(out / name, place)).as_posix()
        try:
            sections.append(_section(name, part, out / name, link, styles))
        except UserError as error:
            if part.pure:
                raise
            print(f"warning: {error}; left out", file=sys.stderr)  # other people's rows stop nothing of ours
    lead = next((one for one in sections if "curves" in one.figures and one.study.pure), None)
    summary_iqm = None
    with suppress(UserError):  # no method has all tasks
        if lead:
            iqm, _ = draw(lead.study, "iqm", width=COLUMN)
            summary_iqm = to_svg(iqm, "Aggregates over tasks", lead.study.methods, styles)
    anchors: dict[str, str] = {}
    for one in sections:
        if not one.study.imported:
            anchors.setdefault(one.study.name, one.name)
    judged, explained = verdicts_table(studies, claims), []
    for claim, (_, cells) in zip(claims, judged.rows, strict=True):
        effects = Markup(cell_text(cells[1], judged, str, str, escape))
        explained.append((claim, effects, comparisons_table(claim, findings)))
    return TEMPLATES.get_template("page.html").render(
        sections=sections, lead=lead, summary_iqm=summary_iqm, titles=FIGURES, styles=styles, claims=explained,
        anchors=anchors, matrix=_matrix(claims, [*anchors], findings), marks=MARKS, rule=RULE,
    )  # fmt: skip


def _section(name: str, study: Results, folder: Path, link: str, styles: dict[str, str]) -> Section:
    """Draw and judge one study, and write its figures and tables to `folder`."""
    figures, captions, known, shown = dict[str, Markup](), list[str](), notes(study), list[tuple[str, Table]]()
    drawn = view(study) if study.online_steps else None
    for figure_name, figure, caption, _ in write_figures(study, folder):
        if drawn and figure_name == "curves":
            add_seeds(figure, drawn)
        title = FIGURES[figure_name][0]
        figures[figure_name] = to_svg(figure, f"{title}, {name}", study.methods, styles)
        captions.append(f"{title}: {caption}")
    built = tables(study)
    write_tables(built, known, folder, labels(study))
    (folder / "costs.csv").write_text(to_csv(costs_table(study)), encoding="utf-8")
    for table in built:
        shown.append((TITLES[table.name], scores_first(table) if table.name == "main" else table))
        captions += [f"{TITLES[table.name]}: {table.caption}", *table.notes]
    size = f"{len(study.datasets)} tasks, {len(study.methods)} methods, {most_seeds(study)} seeds"
    return Section(
        name, SECTIONS.get(study.name, (study.name,))[0], f"{name}: {size}. {not_to_cite(study)}", link, study,
        drawn.looks if drawn else {}, figures, shown, labels(study), [*captions, *known], provenance_table(study),
    )  # fmt: skip


def _matrix(
    claims: Sequence[PaperClaim], studies: Sequence[str], findings: Sequence[Finding]
) -> list[tuple[PaperClaim, list[tuple[str, str, str]]]]:
    """Class, explanation and mark of every claim in every study, pale where the same runs count in another one."""
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
            said = f"{study}: {verdict} ({said})" + "; the same runs count in another study" * again
            cells.append((kind + " again" * again, said, mark))
        rows.append((claim, cells))
    return rows


def _cell(cell: Cell, table: Table) -> Markup:
    """A cell with its last number, by which a column is sorted."""
    numbers = [part for _, part in cell.parts if isinstance(part, Interval)]
    value = f' data-v="{numbers[-1].mean:.4g}"' if numbers else ""
    text = cell_text(cell, table, lambda text: f"<b>{text}</b>", lambda n: f"<sup>n={n}</sup>", escape)
    return Markup(f"<td{value}>{text}</td>")


TEMPLATES.filters["cell"], TEMPLATES.filters["hex"] = _cell, to_hex
TEMPLATES.filters["words"] = lambda text: Markup(MARKDOWN.renderInline(escape_markdown(text)))  # text with `code`
