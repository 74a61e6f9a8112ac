"""Every figure of a study by its name; drawing one, for `moore plot`, notebooks and code alike; and saving it.

The paper's Figures 1 and 2 are `curves`, Figure 3 is `sweep`, Figure 4 `uncertainty`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from analysis.io.rows import Results
from analysis.plots import aggregates, comparisons, curves, diagnostics
from analysis.plots.style import in_style
from analysis.plots.view import View, view
from moore.base.errors import UserError

FIGURES: dict[str, tuple[str, Callable[[View], tuple[Figure, str] | None]]] = {  # name -> title and what draws it
    "curves": ("Learning curves", curves.learning_curves),
    "iqm": ("Aggregates over tasks", aggregates.aggregates),
    "profiles": ("Performance profiles", aggregates.profile_plot),
    "improvement": ("Probability of improvement", aggregates.improvement_plot),
    "forest": ("Differences to the reference", comparisons.forest),
    "sweep": ("Swept numbers", comparisons.sweep_plot),
    "share": ("Online share of batches", diagnostics.online_share),
    "uncertainty": ("Uncertainty", diagnostics.uncertainty),
    "calibration": ("Calibration of the ensemble", diagnostics.calibration),
    "model-error": ("Error of the model", diagnostics.model_error),
    "cost": ("Cost", comparisons.cost_plot),
}
ONLY_CURVES = {"x": "steps", "y": "score", "seeds": None}  # choices that learning curves alone have
AGAINST = ("forest", "improvement")  # the reference
FORMATS: dict[str, dict[str, Any]] = {  # without date and version: the same figure gives the same bytes
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    "png": {"dpi": 200, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}


def draw(study: Results, figure: str = "curves", **choices: Any) -> tuple[Figure, str]:
    """Draw one of `FIGURES`; returns it and its caption.

    choices: those of `view` (methods, tasks, labels, width, x, y, seeds). Raises UserError for a choice that is not
    accepted, and where the rows do not have what the figure needs.
    """
    if figure not in FIGURES:
        raise UserError(f"--figure: {figure!r} is unknown; accepted: {', '.join(FIGURES)}")
    for name, default in ONLY_CURVES.items():
        if figure != "curves" and choices.get(name, default) != default:
            raise UserError(f"--{name}: {choices[name]} is of learning curves alone; accepted: --figure curves")
    if figure in AGAINST and choices.get("methods") and study.main in study.methods:
        choices["methods"] = [*choices["methods"], study.main]
    with in_style():
        drawn = FIGURES[figure][1](view(study, **choices)) if study.online_steps else None
    if drawn is None:
        raise UserError(f"study {study.name}: figure {figure}: its rows do not have what this needs")
    return drawn


def drawings(study: Results) -> Iterator[tuple[str, Figure, str]]:
    """Draw everything that the rows allow, one at a time: name, figure and caption.

    UserError for datasets of several sources, which `split_by_source` tells apart. A study without an online stage has
    no figures. With imported curves there are the learning curves alone: the other figures compare run by run.
    """
    if not study.online_steps:
        return
    whole = view(study)
    for name in FIGURES if study.pure else ["curves"]:
        with in_style():
            drawn = FIGURES[name][1](whole)
        if drawn:
            yield name, *drawn


def save(figure: Figure, file: Path) -> None:
    """Write a figure in the format of the file's ending. Raises UserError for another, or if it cannot be written."""
    form = file.suffix.removeprefix(".")
    if form not in FORMATS:
        raise UserError(f"--out: {file}: ending {file.suffix!r} is not accepted; expected .{', .'.join(FORMATS)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with in_style():
            if form == "pdf":  # `savefig` would draw a figure that was laid out twice
                FigureCanvasPdf(figure).print_pdf(str(file), **FORMATS[form])
            else:
                figure.savefig(file, format=form, **FORMATS[form])
    except OSError as error:
        raise UserError(f"--out: cannot write {file} ({error.strerror}); choose another file") from None


def picture(figure: Figure, dpi: int = 160) -> bytes:
    """Return the figure as PNG, for a page (1080 pixels wide) or a notebook: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with in_style():
        figure.savefig(buffer, format="png", **(FORMATS["png"] | {"dpi": dpi}))
    return buffer.getvalue()
