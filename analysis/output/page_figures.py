"""A figure as SVG inside a page: text stays text, it is small, and every curve knows its method and its seed."""

import io
import re
from collections.abc import Collection
from html import escape, unescape

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.io.rows import SCORE, Cells
from analysis.plots.view import View

SEED = " seed "  # between method and seed in the name of a curve
PRIVATE = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # metadata that is left out


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
    for one in (figure, *figure.axes):
        one.patch.set_visible(False)
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
