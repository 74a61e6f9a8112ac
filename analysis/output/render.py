"""One table, five outputs with the same numbers: Markdown, LaTeX (booktabs), CSV (a line per number), HTML and rich."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from analysis.output.tables import Cell, Table
from analysis.stats.intervals import Interval

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MISSING = "–"  # noqa: RUF001
_KIND = {True: ' class="words"', False: ""}  # attribute of a cell: words start at the left
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "→": r"$\rightarrow$",
    "–": "--", "≥": r"$\ge$", "α": r"$\alpha$", "²": "$^2$", "<": "$<$", ">": "$>$",  # noqa: RUF001
}  # fmt: skip


def number(value: float, decimals: int) -> str:
    """Fixed decimals, and no minus sign in front of a rounded zero."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval_text(value: Interval, decimals: int = 1, brackets: bool = False, plus_minus: str = " ± ") -> str:
    """`12.3 ± 4.5`, `12.3 [7.8, 16.8]`, or `12.3` alone where one run allows no interval."""
    mean = number(value.mean, decimals)
    if not value.known:
        return mean
    if brackets:
        return f"{mean} [{number(value.low, decimals)}, {number(value.high, decimals)}]"
    return f"{mean}{plus_minus}{number(value.half_width, decimals)}"


def to_markdown(table: Table) -> str:
    """A GitHub table, the caption as the paragraph below it, and the notes folded below that."""

    def show(cell: Cell) -> str:
        return _cell(cell, table, lambda text: f"**{text}**", lambda n: f"<sup>n={n}</sup>").replace("|", "\\|")

    lines = ["| " + " | ".join((*table.heads, *table.columns)) + " |"]
    lines.append("|" + " --- |" * len(table.heads) + (" --- |" if table.words else " ---: |") * len(table.columns))
    lines += ["| " + " | ".join((*heads, *(show(cell) for cell in cells))) + " |" for heads, cells in table.rows]
    notes = f"\n{folded('Notes', bullets(table.notes))}" if table.notes else ""
    return "\n".join(lines) + "\n" + (f"\n{table.caption}\n" if table.caption else "") + notes


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "".join(f"- {line}\n" for line in lines)


def folded(title: str, text: str) -> str:
    """Markdown behind a title that opens it."""
    return f"<details><summary>{title}</summary>\n\n{text}\n</details>\n"


def to_latex(table: Table) -> str:
    """A `table` environment that needs the booktabs package."""

    def show(cell: Cell) -> str:
        return _cell(cell, table, lambda text: f"\\textbf{{{text}}}", lambda n: f"$^{{n={n}}}$", escape_latex)

    body = [
        " & ".join((*map(escape_latex, heads), *(show(cell) for cell in cells))) + r" \\" for heads, cells in table.rows
    ]
    if table.aggregates:
        body.insert(len(body) - table.aggregates, r"\midrule")
    head = " & ".join(map(escape_latex, (*table.heads, *table.columns))) + r" \\"
    widths = f"p{{{0.9 / (1 + len(table.columns)):.2f}\\linewidth}}"  # of words
    aligned = (widths if table.words else "r") * len(table.columns)
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            f"\\caption{{{escape_latex(table.caption)}}}",
            f"\\begin{{tabular}}{{{(widths if table.words else 'l') * len(table.heads)}{aligned}}}",
            r"\toprule", head, r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    ) + "\n"  # fmt: skip


def to_csv(table: Table) -> str:
    """A line per number, rounded as in the other outputs; the column `text` holds what is not a number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*table.heads, "column", "part", "value", "low", "high", "n", "bold", "text"])
    for heads, cells in table.rows:
        for column, cell in zip(table.columns, cells, strict=True):
            for index, (name, part) in enumerate(cell.parts or (("", MISSING),)):
                bold = int(cell.bold and index == len(cell.parts) - 1)
                if isinstance(part, str):
                    numbers, text = ["", "", "", ""], part
                else:
                    bounds = [number(v, cell.decimals) if part.known else "" for v in (part.low, part.high)]
                    numbers, text = [number(part.mean, cell.decimals), *bounds, str(part.n)], ""
                writer.writerow([*heads, column, name, *numbers, bold, text])
    return out.getvalue()


def to_html(table: Table) -> str:
    """A `figure` of the table, inside a container that scrolls by itself, and the caption."""

    def show(cell: Cell) -> str:
        return _cell(cell, table, lambda text: f"<strong>{text}</strong>", lambda n: f"<sup>n={n}</sup>", html_code)

    columns = [*((_KIND[True], head) for head in table.heads), *((_KIND[table.words], name) for name in table.columns)]
    head = "".join(f'<th scope="col"{kind}>{html.escape(name)}</th>' for kind, name in columns)
    body, caption = [], " ".join([table.caption, *table.notes])
    for index, (heads, cells) in enumerate(table.rows):
        apart = ' class="apart"' if table.aggregates and index == len(table.rows) - table.aggregates else ""
        names = "".join(f'<th scope="row">{html_code(name)}</th>' for name in heads)
        body.append(f"<tr{apart}>{names}{''.join(f'<td{_KIND[table.words]}>{show(cell)}</td>' for cell in cells)}</tr>")
    return (
        f'<figure>\n<div class="scroll" tabindex="0">\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(body)
        + f"\n</tbody>\n</table>\n</div>\n<figcaption>{html_code(caption)}</figcaption>\n</figure>\n"
    )


def html_code(text: str) -> str:
    """Escaped text with `code` as an element."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def to_rich(table: Table, width: int) -> RichTable:
    """For a terminal of `width` characters; the caption is rich's caption below the table.

    Where the columns do not fit side by side, each cell gets a line of its own below its row's heads.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable
    from rich.text import Text

    def show(cell: Cell) -> str:
        return _cell(cell, table, lambda text: f"[bold]{text}[/bold]", lambda n: f" (n={n})", escape)

    rows = [(list(map(escape, heads)), [show(cell) for cell in cells]) for heads, cells in table.rows]
    lines = [[*map(escape, (*table.heads, *table.columns))], *([*heads, *cells] for heads, cells in rows)]
    needed = sum(2 + max(Text.from_markup(text).cell_len for text in column) for column in zip(*lines, strict=True))
    out = RichTable(box=box.SIMPLE_HEAD, caption=escape(table.caption), caption_justify="left")
    if needed > width:
        names = [", ".join(table.heads), *("  ".join(heads) for heads, _ in rows), *(f"  {c}" for c in table.columns)]
        texts = [text for _, cells in rows for text in cells]
        widest = [max(Text.from_markup(text).cell_len for text in column or [""]) for column in (names, texts)]
        long = sum(widest) + 4 > width  # sentences: they wrap instead of being cut off
        out.add_column(escape(", ".join(table.heads)), no_wrap=not long, max_width=width // 3 if long else None)
        out.add_column("", no_wrap=not long, overflow="fold")
        for heads, cells in rows:
            out.add_row("  ".join(heads), "")
            for column, text in zip(table.columns, cells, strict=True):
                out.add_row(f"  {escape(column)}", text)
            out.add_section()
        return out
    for head in table.heads:
        out.add_column(escape(head), no_wrap=True, overflow="fold")
    for column in table.columns:
        out.add_column(escape(column), justify="left" if table.words else "right", overflow="fold")
    for index, (heads, cells) in enumerate(rows):
        out.add_row(*heads, *cells, end_section=index == len(rows) - table.aggregates - 1)
    return out


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters escaped, the symbols of a caption in math and `code` in typewriter."""
    pieces = re.split(r"`([^`]*)`", text)
    escaped = ["".join(LATEX.get(letter, letter) for letter in piece) for piece in pieces]
    return "".join(f"\\texttt{{{piece}}}" if index % 2 else piece for index, piece in enumerate(escaped))


def _cell(
    cell: Cell,
    table: Table,
    strong: Callable[[str], str],
    superscript: Callable[[int], str],
    escape: Callable[[str], str] = str,
) -> str:
    """The cell in one output's own marks for bold and for a number of seeds other than the table's."""
    if not cell.parts:
        return escape(MISSING)
    texts = [p if isinstance(p, str) else interval_text(p, cell.decimals, cell.brackets) for _, p in cell.parts]
    texts = [escape(text) for text in texts]
    if cell.bold:
        texts[-1] = strong(texts[-1])
    marked = "" if cell.seeds is None or cell.seeds == table.seeds else superscript(cell.seeds)
    return escape(table.joiner).join(texts) + marked
