"""A figure as SVG inside a page: text stays text, it is small, and every curve knows its method and its seed."""

import io
import re
from collections.abc import Collection
from html import escape, unescape

import matplotlib as mpl
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


def to_svg(figure: Figure, number: int, methods: Collection[str], title: str) -> str:
    """Return a figure that is laid out as an SVG element.

    number: in every id, so that the figures of a page do not share one. A group that matplotlib wrote with a method as
    its id has it as data-m, a run's data-seed too; the other ids go. Coordinates are rounded to 0.1 points.
    """
    buffer = io.StringIO()
    figure.patch.set_visible(False)
    for axis in figure.axes:
        axis.patch.set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "moore"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=PRIVATE)  # `savefig` would draw it twice
    text = buffer.getvalue()
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box is not None  # matplotlib writes one
    body = text[text.index("<g id=") : text.rindex("</svg>")]
    body = re.sub(r'<g id="([^"]*)"', lambda match: _group(unescape(match[1]), methods), body)
    body = re.sub(r'(id="|#)([mp][0-9a-f]{10})(?=[")])', rf"\g<1>f{number}\2", body)
    body = re.sub(r' d="([^"]*)"', lambda match: f' d="{_path(match[1])}"', body)
    body = re.sub(r' (x|y|width|height)="([^"]*)"', lambda match: f' {match[1]}="{_rounded(match[2])}"', body)
    body = re.sub(r"font-family: [^;\"]*;? ?| transform=\"rotate\(-0 [^)]*\)\"|xlink:(?=href)", "", body)
    width = box[1].split()[2]
    return (
        f'<svg viewBox="{box[1]}" style="--w:{width}" role="img" aria-label="{escape(title)}">'
        + re.sub(r">\s+<", "><", body).strip()
        + "</svg>"
    )


def share_styles(text: str) -> tuple[str, str]:
    """Replace the inline styles of figures, of which there are few, by classes; returns their rules too."""
    names: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        return f' class="{names.setdefault(match[1], f"s{len(names)}")}"'

    figures = re.compile(r"(?<=<svg ).*?</svg>", re.DOTALL)
    text = figures.sub(lambda match: re.sub(r' style="((?!--)[^"]*)"', named, match[0]), text)
    return text, "".join(f".{name}{{{style}}}\n" for style, name in names.items())


def _group(identity: str, methods: Collection[str]) -> str:
    """The start of a group that hides with its method."""
    method, _, seed = identity.partition(SEED)
    if method not in methods:
        return "<g"
    return f'<g data-m="{escape(method)}"' + (f' data-seed="{seed}"' if seed else "")


def _path(points: str) -> str:
    """The same path in fewer letters."""
    points = " ".join(_rounded(points).split())
    return points if "C" in points else points.replace(" L ", " ")  # further pairs after M are lines


def _rounded(numbers: str) -> str:
    """Numbers from 10 on with one decimal, smaller ones, of markers, with two."""
    return re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.{1 if abs(float(match[0])) >= 10 else 2}f}", numbers)
