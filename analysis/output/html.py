"""Every study on one page that needs nothing else: verdicts, and for each study figures, tables, captions and origin.

page.html is its template: figures are SVG inside of it; page.js sorts and hides, page.css lays out. Links lead to CSV,
LaTeX and PDF in the folders of the studies beside the page, which are written with it.
"""

import io
import os
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from html import escape, unescape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.claims.claims import PaperClaim, load_claims
from analysis.claims.tables import RULE, all_findings, comparisons_table, counted, verdicts_table
from analysis.claims.verdicts import CANNOT, FAILS, HOLDS, UNDECIDED, Finding, conjunction, distinct
from analysis.io.rows import SCORE, Cells, Results
from analysis.output.facts import costs_table, provenance_table
from analysis.output.notes import not_to_cite, notes
from analysis.output.pages import SECTIONS
from analysis.output.render import cell_text, escape_markdown, to_csv
from analysis.output.report import TITLES, parts, tables, write_figures, write_tables
from analysis.output.tables import Cell, Table, labels, scores_first
from analysis.plots.figures import FIGURES, draw
from analysis.plots.view import COLUMN, View, view
from analysis.stats.compare import most_seeds
from analysis.stats.intervals import Interval
from moore.base.errors import UserError

MARKS = {HOLDS: ("holds", "✓"), FAILS: ("fails", "✗"), UNDECIDED: ("undecided", "?"), CANNOT: ("cannot", "–")}  # noqa: RUF001
MARKDOWN = MarkdownIt("commonmark")
SEED = " seed "  # between method and seed in the name of a curve
PRIVATE = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # metadata of a figure that is left out
TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)


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
    findings, sections, styles = all_findings(studies, claims), list[dict[str, Any]](), dict[str, str]()
    for name, part in [part for study in studies for part in parts(study).items()]:
        try:
            link = Path(os.path.relpath(out / name, place)).as_posix()
            sections.append({"name": name, "study": part, "link": link, **_section(name, part, out / name, styles)})
        except UserError as error:
            if part.pure:
                raise
            print(f"warning: {error}; left out", file=sys.stderr)  # other people's rows stop nothing of ours
    lead = next((one for one in sections if "curves" in one["figures"] and one["study"].pure), None)
    summary_iqm = None
    with suppress(UserError):  # no method has all tasks
        if lead:
            iqm, _ = draw(lead["study"], "iqm", width=COLUMN)
            summary_iqm = to_svg(iqm, "Aggregates over tasks", lead["study"].methods, styles)
    anchors = {one["study"].name: one["name"] for one in sections[::-1] if not one["study"].imported}
    anchors = dict(reversed(anchors.items()))  # of a study in parts, the first
    judged, explained = verdicts_table(studies, claims), []
    for claim, (_, cells) in zip(claims, judged.rows, strict=True):
        effects = Markup(cell_text(cells[1], judged, str, str, escape))
        explained.append((claim, effects, comparisons_table(claim, findings)))
    return TEMPLATES.get_template("page.html").render(
        sections=sections, lead=lead, summary_iqm=summary_iqm, titles=FIGURES, styles=styles, claims=explained,
        anchors=anchors, matrix=_matrix(claims, [*anchors], findings), marks=MARKS, rule=RULE,
    )  # fmt: skip


def _section(name: str, study: Results, folder: Path, styles: dict[str, str]) -> dict[str, Any]:
    """Return what the template shows of one study, whose figures and tables it writes to `folder`."""
    figures, captions, known, shown = dict[str, Markup](), list[str](), notes(study), []
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
    return {
        "title": SECTIONS.get(study.name, (study.name,))[0], "size": f"{name}: {size}. {not_to_cite(study)}",
        "looks": drawn.looks if drawn else {}, "labels": labels(study), "figures": figures, "tables": shown,
        "lines": [*captions, *known], "origin": provenance_table(study),
    }  # fmt: skip


def _matrix(
    claims: Sequence[PaperClaim], studies: Sequence[str], findings: Sequence[Finding]
) -> list[tuple[PaperClaim, list[tuple[str, str, str]]]]:
    """Class, explanation and mark of every claim in every study, pale where the same runs count in another one."""
    first = {(one.comparison.claim.key, one.study) for one in distinct(findings)}
    rows = []
    for claim in claims:
        cells = []
        for study in studies:
            mine = [one.verdict for one in findings if one.comparison.claim == claim and one.study == study]
            verdict = conjunction(mine)
            kind, mark = MARKS.get(verdict, ("", ""))
            again = bool(mine) and (claim.key, study) not in first
            said = f"{study}: {verdict} ({counted(mine) or verdict})" + "; the same runs count in another study" * again
            cells.append((kind + " again" * again, said, mark))
        rows.append((claim, cells))
    return rows


def _cell(cell: Cell, table: Table) -> Markup:
    """Return a cell with its last number, by which a column is sorted."""
    numbers = [part for _, part in cell.parts if isinstance(part, Interval)]
    value = f' data-v="{numbers[-1].mean:.4g}"' if numbers else ""
    text = cell_text(cell, table, lambda text: f"<b>{text}</b>", lambda n: f"<sup>n={n}</sup>", escape)
    return Markup(f"<td{value}>{text}</td>")


def add_seeds(figure: Figure, shown: View) -> None:
    """Add every run to learning curves against steps, drawn from `shown`; a page hides them at first."""
    scores, panels = Cells(shown.study.select(SCORE)), {axis.get_title(): axis for axis in figure.axes}
    for dataset, title in shown.titles.items():
        for method, look in shown.looks.items():
            for seed, own in scores[dataset, method].sort_values("env_steps").groupby("seed"):
                style = {"color": look.colour, "linewidth": 0.9, "gid": f"{method}{SEED}{seed}"}
                panels[title].plot(own["env_steps"], own["value"], **style)


def to_svg(figure: Figure, title: str, methods: Collection[str], styles: dict[str, str]) -> Markup:
    """Return a figure that is laid out as an SVG element, with coordinates rounded to 0.1 points.

    title: no other figure of the page has it, so that no ids are the same. styles: the page's classes by their CSS, to
    which this adds its own. A group that matplotlib wrote with a method as its id has it as data-m, a run's data-seed
    too; the other ids go.
    """

    def group(match: re.Match[str]) -> str:
        method, _, seed = unescape(match[1]).partition(SEED)
        if method not in methods:
            return "<g"
        return f'<g data-m="{escape(method)}"' + (f' data-seed="{seed}"' if seed else "")

    def path(match: re.Match[str]) -> str:
        points = " ".join(_rounded(match[1]).split())
        return f' d="{points if "C" in points else points.replace(" L ", " ")}"'  # further pairs after M are lines

    buffer = io.StringIO()
    for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
        patch.set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=PRIVATE)  # `savefig` would draw it twice
    text = buffer.getvalue()
    box = text.split('viewBox="', 1)[1].split('"', 1)[0]
    body = re.sub(r'<g id="([^"]*)"', group, text[text.index("<g id=") : text.rindex("</svg>")])
    body = re.sub(r' d="([^"]*)"', path, body)
    body = re.sub(r' (x|y|width|height)="([^"]*)"', lambda match: f' {match[1]}="{_rounded(match[2])}"', body)
    body = re.sub(r"font-family: [^;\"]*;? ?| transform=\"rotate\(-0 [^)]*\)\"|xlink:(?=href)", "", body)
    body = re.sub(r' style="([^"]*)"', lambda one: f' class="{styles.setdefault(one[1], f"s{len(styles)}")}"', body)
    body = re.sub(r">\s+<", "><", body).strip()
    head = f'<svg viewBox="{box}" style="--w:{box.split()[2]}" role="img" aria-label="{escape(title)}">'
    return Markup(f"{head}{body}</svg>")  # matplotlib escapes


def _rounded(numbers: str) -> str:
    """Numbers from 10 on with one decimal, smaller ones, of markers, with two."""
    return re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.{1 if abs(float(match[0])) >= 10 else 2}f}", numbers)


TEMPLATES.filters["cell"], TEMPLATES.filters["hex"] = _cell, to_hex
TEMPLATES.filters["words"] = lambda text: Markup(MARKDOWN.renderInline(escape_markdown(text)))  # text with `code`
