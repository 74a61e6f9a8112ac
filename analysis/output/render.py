"""One table, four outputs with the same numbers: Markdown, LaTeX (booktabs), CSV (a line per number) and rich."""

import csv
import html
import io
import re
from collections.abc import Callable, Iterable, Mapping

import rich.box
import rich.markup
import rich.table

from analysis.output.tables import CLOSE, Cell, Table
from analysis.stats.intervals import Interval

LONG = 40  # rows of a table that goes over pages
NO_LABELS: Mapping[str, str] = {}
MISSING = "–"  # noqa: RUF001
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "→": r"$\rightarrow$",
    "–": "--", "≥": r"$\ge$", "α": r"$\alpha$", "²": "$^2$", "†": r"\textsuperscript{\dag}", "<": "$<$", ">": "$>$",  # noqa: RUF001
})  # fmt: skip


def number(value: float, decimals: int) -> str:
    """Write fixed decimals, and no minus sign in front of a rounded zero."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval_text(value: Interval, decimals: int = 1, brackets: bool = False) -> str:
    """Write `12.3 ± 4.5`, `12.3 [7.8, 16.8]`, or `12.3` alone where one run allows no interval."""
    mean = number(value.mean, decimals)
    if not value.known:
        return mean
    if brackets:
        return f"{mean} [{number(value.low, decimals)}, {number(value.high, decimals)}]"
    return f"{mean} ± {number(value.half_width, decimals)}"


def to_markdown(table: Table) -> str:
    """Write a GitHub table, the caption as the paragraph below it, and the notes folded below that."""

    def show(cell: Cell) -> str:
        text = cell_text(cell, table, lambda text: f"**{text}**", lambda n: f"<sup>n={n}</sup>", escape_markdown)
        return text.replace("|", "\\|")

    lines = ["| " + " | ".join(map(escape_markdown, (*table.heads, *table.columns))) + " |"]
    lines.append("|" + " --- |" * len(table.heads) + (" --- |" if table.words else " ---: |") * len(table.columns))
    for heads, cells in table.rows:
        lines.append("| " + " | ".join((*map(escape_markdown, heads), *map(show, cells))) + " |")
    notes = f"\n{folded('Notes', bullets(table.notes))}" if table.notes else ""
    return "\n".join(lines) + "\n" + (f"\n{table.caption}\n" if table.caption else "") + notes


def bullets(lines: Iterable[str]) -> str:
    """Write a Markdown list."""
    return "".join(f"- {line}\n" for line in lines)


def folded(title: str, text: str) -> str:
    """Hide Markdown behind a title that opens it."""
    return f"<details><summary>{title}</summary>\n\n{text}\n</details>\n"


def escape_markdown(text: str) -> str:
    """Escape what would be HTML."""
    return html.escape(text, quote=False)


def to_latex(table: Table, labels: Mapping[str, str] = NO_LABELS) -> str:
    """Write a `table`, or a `longtable` beyond `LONG` rows, with a short caption and the rest of it as a note.

    labels: names for people, by id. Needs booktabs, siunitx (v2 or 3), graphicx and longtable. A table that is wider
    than the line is made smaller; numbers that stand alone in their cells are aligned at the point.
    """
    single = not table.words and all(len(cell.parts) < 2 for _, cells in table.rows for cell in cells)

    def show(cell: Cell) -> str:
        value = cell.parts[-1][1] if cell.parts else ""
        if single and isinstance(value, Interval) and not cell.brackets:
            bold = r"\bfseries " * cell.bold
            half = f" +- {number(value.half_width, cell.decimals)}" if value.known else ""
            close = r"\textsuperscript{\dag}" * cell.close
            return f"{bold}{number(value.mean, cell.decimals)}{half}{close}"
        text = cell_text(cell, table, lambda text: f"\\textbf{{{text}}}", lambda n: f"$^{{n={n}}}$", escape_latex)
        if table.words:
            text = text.replace(r"\_", r"\_\allowbreak{}").replace(".", r".\allowbreak{}")
        return f"{{{text}}}" if single else text

    def line(heads: Iterable[str], cells: Iterable[str]) -> str:
        return " & ".join((*(escape_latex(labels.get(head, head)) for head in heads), *cells)) + r" \\"

    body = [line(heads, map(show, cells)) for heads, cells in table.rows]
    if table.aggregates:
        body.insert(len(body) - table.aggregates, r"\midrule")
    names = (escape_latex(labels.get(name, name)) for name in table.columns)
    head = line(table.heads, (f"{{{name}}}" if single else name for name in names))
    width = f">{{\\raggedright\\arraybackslash}}p{{{0.92 / (1 + len(table.columns)):.2f}\\linewidth}}"  # of words
    aligned = r"S[table-format=-4.1(4.1), table-space-text-post=\textsuperscript{\dag}]"
    value = width if table.words else aligned if single else "r"
    columns = (width if table.words else "l") * len(table.heads) + value * len(table.columns)
    short, note = re.fullmatch(r"(.*?)(?:[;.:] (.*))?", table.caption, re.DOTALL).groups()  # type: ignore[union-attr]
    caption = f"\\caption{{{escape_latex(short.rstrip('.'))}.}}\\label{{tab:{table.name}}}"
    small = r"\scriptsize" if len(body) > LONG else r"\footnotesize"
    small += r"\setlength{\tabcolsep}{2pt}\sisetup{separate-uncertainty, detect-weight}"
    below = [f"\\par\\smallskip {escape_latex(note[:1].upper() + note[1:])}"] if note else []
    if len(body) > LONG:
        top = [f"\\begin{{longtable}}{{{columns}}}", rf"{caption} \\", r"\toprule", head, r"\midrule", r"\endhead"]
        return "\n".join(["{" + small, *top, *body, r"\bottomrule", r"\end{longtable}", *below, "}", ""])
    start, end = f"\\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    if not table.words:
        start, end = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{" + start, end + "}"
    whole = [start, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end]
    return "\n".join([r"\begin{table}[t]", r"\centering" + small, caption, *whole, *below, r"\end{table}", ""])


def to_csv(table: Table) -> str:
    """Write a line per number, rounded as in the other outputs; the column `text` holds what is not a number."""
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


def to_rich(table: Table, labels: Mapping[str, str] = NO_LABELS) -> rich.table.Table:
    """Make a table for a terminal; cells wrap where they do not fit, the caption stands below, labels are by id."""
    escape = rich.markup.escape

    def show(cell: Cell) -> str:
        return cell_text(cell, table, lambda text: f"[bold]{text}[/bold]", lambda n: f" (n={n})", escape)

    out = rich.table.Table(box=rich.box.SIMPLE_HEAD, caption=escape(table.caption), caption_justify="left")
    for name in (*table.heads, *table.columns):
        right = name in table.columns and not table.words
        out.add_column(escape(labels.get(name, name)), justify="right" if right else "left", overflow="fold")
    for index, (heads, cells) in enumerate(table.rows):
        last = index == len(table.rows) - table.aggregates - 1
        out.add_row(*(escape(labels.get(head, head)) for head in heads), *map(show, cells), end_section=last)
    return out


def escape_latex(text: str) -> str:
    """Escape LaTeX's special characters; puts the symbols of a caption in math and `code` in typewriter."""
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", text.translate(LATEX))


def cell_text(
    cell: Cell,
    table: Table,
    strong: Callable[[str], str],
    superscript: Callable[[int], str],
    escape: Callable[[str], str] = str,
) -> str:
    """Write the cell in one output's own marks for bold and for a number of seeds other than the table's."""
    if not cell.parts:
        return escape(MISSING)
    texts = [p if isinstance(p, str) else interval_text(p, cell.decimals, cell.brackets) for _, p in cell.parts]
    texts = [escape(text) for text in texts]
    if cell.bold:
        texts[-1] = strong(texts[-1])
    if cell.close:
        texts[-1] += escape(CLOSE)
    marked = "" if cell.seeds is None or cell.seeds == table.seeds else superscript(cell.seeds)
    return escape(table.joiner).join(texts) + marked
