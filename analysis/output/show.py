"""Tables and figures of this package in a notebook."""

from __future__ import annotations

import os

from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from analysis.io.rows import RESULTS, Results, load_studies, split_by_source, study_folders
from analysis.output.render import to_markdown
from analysis.output.tables import Table
from analysis.plots.figures import picture


def load() -> tuple[list[Results], list[Results]]:
    """Load our studies, one for each dataset source, and imported ones, from MOORE_RESULTS or analysis/results."""
    found = load_studies(study_folders(os.environ.get("MOORE_RESULTS", RESULTS)))
    ours = [part for study in found if study.pure for part in split_by_source(study)]
    return ours, [study for study in found if study.imported]


def figure(drawn: tuple[Figure, str]) -> None:
    """Show a figure, as `analysis.plots.figures.draw` makes it, and its caption."""
    display(Image(picture(drawn[0])), Markdown(drawn[1]))


def table(shown: Table) -> None:
    """Show a table and its caption."""
    display(Markdown(to_markdown(shown)))
