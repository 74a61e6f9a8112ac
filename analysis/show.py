"""Tables and figures of this package in a notebook."""

from __future__ import annotations

import os

from IPython.display import HTML, Image, Markdown, display
from matplotlib.figure import Figure

from analysis.embed import png
from analysis.render import to_html
from analysis.rows import RESULTS, Study, load_studies, split_by_source, study_folders
from analysis.tables import Table

Drawn = tuple[Figure, str]


def load() -> tuple[list[Study], list[Study]]:
    """Our studies, one for each dataset source, and imported ones, from MOORE_RESULTS or else analysis/results."""
    found = load_studies(study_folders(os.environ.get("MOORE_RESULTS", RESULTS)))
    ours = [part for study in found if study.pure for part in split_by_source(study)]
    return ours, [study for study in found if study.imported]


def figure(drawn: Drawn | None) -> None:
    """A figure and its caption, or a line that says that the rows do not have what it needs."""
    if drawn is None:
        display(Markdown("*Not drawn: the rows do not have what this figure needs.*"))
        return
    display(Image(png(drawn[0])), Markdown(drawn[1]))


def table(shown: Table) -> None:
    """A table and its caption."""
    display(HTML(to_html(shown)))
