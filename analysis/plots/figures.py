"""Every figure of a study, by the name of its files; and how figures are saved, put into a page or a notebook."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.io.rows import Results
from analysis.plots import aggregates, comparisons, curves, diagnostics
from analysis.plots.style import STYLE
from analysis.stats.sweeps import sweeps

# The paper's Figures 1 and 2 are `curves`; of a sweep (Figure 3) they are its curves by value.
DRAWINGS: dict[str, Callable[[Results], tuple[Figure, str] | None]] = {
    "curves": curves.learning_curves,
    "online_share": diagnostics.online_share,
    "penalty": diagnostics.penalty,  # the left of Figure 4
    "uncertainty_error": diagnostics.relative_error,  # the right of Figure 4
    "model_error": diagnostics.open_loop,
    "calibration": diagnostics.calibration,
    "rank_correlation": diagnostics.rank_correlation,
    "iqm_curves": aggregates.iqm_curves,
    "intervals": aggregates.interval_plot,
    "profiles": aggregates.profile_plot,
    "improvement": aggregates.improvement_plot,
    "forest": comparisons.forest,
}


def drawings(study: Results) -> Iterator[tuple[str, Figure, str]]:
    """Draw everything that the rows allow, one at a time: name, figure and caption.

    UserError for datasets of several sources, which `split_by_source` tells apart. A study without an online stage has
    no figures. With imported curves there are the learning curves alone: the other figures compare run by run.
    """
    if not study.online_steps:
        return
    for name, draw in DRAWINGS.items():
        if (study.pure or name == "curves") and (drawn := draw(study)):
            yield name, *drawn
    if study.pure:
        for sweep in sweeps(study):
            yield f"sweep_{sweep.name}", *comparisons.sweep_plot(study, sweep)


def save(figure: Figure, stem: Path, caption: str) -> list[Path]:
    """Write `stem`.pdf, .png and .md (the caption). The same figure gives the same bytes: no date or version inside."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    pdf, image, text = (stem.parent / f"{stem.name}{end}" for end in (".pdf", ".png", ".md"))
    with mpl.rc_context(STYLE):
        figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    image.write_bytes(png(figure, dpi=200))
    text.write_text(caption + "\n", encoding="utf-8")
    return [pdf, image, text]


def png(figure: Figure, dpi: int = 150) -> bytes:
    """Return the picture as PNG: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
