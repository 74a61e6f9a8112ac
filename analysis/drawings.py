"""Every figure of a study, by the name of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from analysis import aggregates, curves, diagnostics, forest, model_error, uncertainty
from analysis.robustness import robustness
from analysis.rows import Study
from analysis.sweeps import sweeps

# The paper's Figures 1 and 2 are `curves`; of a sweep (Figure 3) they are its curves by value.
DRAWINGS: dict[str, Callable[[Study], tuple[Figure, str] | None]] = {
    "curves": curves.learning_curves,
    "online_share": diagnostics.online_share,
    "penalty": diagnostics.penalty,  # the left of Figure 4
    "uncertainty_error": uncertainty.relative_error,  # the right of Figure 4
    "model_error": model_error.open_loop,
    "calibration": model_error.calibration,
    "rank_correlation": model_error.rank_correlation,
    "iqm_curves": aggregates.iqm_curves,
    "intervals": aggregates.interval_plot,
    "profiles": aggregates.profiles,
    "improvement": aggregates.improvement_plot,
    "forest": forest.forest,
}


def drawings(study: Study) -> Iterator[tuple[str, Figure, str]]:
    """Name, figure and caption of everything that the rows allow, one at a time.

    UserError for datasets of several sources, which `split_by_source` tells apart. A study without an online stage has
    no figures. Imported curves are in no figure
    that compares run by run: with them there are the learning curves alone.
    """
    if not study.online_steps:
        return
    for name, draw in DRAWINGS.items():
        if (study.pure or name == "curves") and (drawn := draw(study)):
            yield name, *drawn
    if not study.pure:
        return
    for sweep in sweeps(study):
        yield f"sweep_{sweep.name}", *robustness(study, sweep)
