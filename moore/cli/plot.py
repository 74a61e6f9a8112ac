"""The command `moore plot`: what is typed; what it draws is in analysis/plots."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from moore.base.errors import UserError
from moore.cli.options import pairs

Names = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")]
FigureName = Literal[
    "curves", "iqm", "profiles", "improvement", "forest", "sweep", "share", "uncertainty", "calibration",
    "model-error", "cost",
]  # fmt: skip


def plot(
    study: tyro.conf.Positional[str],
    figure: FigureName = "curves",
    methods: Names = (),
    tasks: Names = (),
    labels: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=TEXT ...", help_behavior_hint="")] = (),
    width: float | None = None,
    x: Literal["steps", "wall", "updates"] = "steps",
    y: Literal["score", "return"] = "score",
    seeds: bool | None = None,
    out: Path | None = None,
) -> None:
    """Draw a figure of a study and print its caption, e.g. `moore plot paper-methods-mini --width 3.25`.

    The paper's figures: 1 `moore plot paper-methods-mini` (raw returns: --y return), 2 `moore plot sampling-mini`,
    3 `moore plot decay_rate-mini --figure sweep`, 4 `moore plot decay_rate-mini --figure uncertainty`.

    Args:
        study: a folder with rows.parquet and manifest.json, or the name of one in analysis/results.
        figure: what is drawn.
        methods: only these, by id or as they are named in figures; all by default.
        tasks: only these datasets, e.g. HC-medium-replay; all by default.
        labels: other names for methods or tasks.
        width: inches: 3.25 is a column of a paper, 6.75 both.
        x: what curves are drawn against.
        y: score (0-100) or the raw return of curves.
        seeds: each seed as a thin line instead of a band; by default below 5 seeds.
        out: file that ends in .pdf, .png or .svg; by default build/STUDY/FIGURE.pdf.
    """
    from analysis.io.rows import RESULTS, load_study, split_by_source, study_folders
    from analysis.plots.figures import draw, save

    folder = Path(study) if Path(study).is_dir() else study_folders(RESULTS, [study])[0]
    loaded = load_study(folder)
    if len(parts := split_by_source(loaded)) > 1 and not tasks:
        found = ", ".join(loaded.datasets)
        raise UserError(
            f"--tasks: missing; {study} has datasets of {len(parts)} sources, of which one is drawn: {found}"
        )
    part = next((part for part in parts if {*tasks} & {*part.datasets}), parts[0])
    names = pairs("--labels", labels)
    drawn, caption = draw(part, figure, methods=methods, tasks=tasks, labels=names, width=width, x=x, y=y, seeds=seeds)
    file = out or Path("build", loaded.name, f"{figure}.pdf")
    save(drawn, file)
    print(f"{file}: {caption}")
