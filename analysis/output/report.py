"""`python -m analysis.output.report [STUDY ...]`: tables and figures of finished studies, built into build/<study>/.

Per table .tex and .csv, all of them in tables.md with what a reader should know; per figure .pdf and .md (the caption).
`--page FILE` writes all of it beside FILE, and FILE, an HTML page with verdicts, figures, tables and origin, that links
to it. `--overlay FOLDER` lays imported curves over the studies with the same tasks, as <study>+<imported>. `--progress
FOLDER` prints the tables of a study that is still running and writes nothing.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.claims.tables import claims_table
from analysis.io.imported import overlaid
from analysis.io.methods import MOORE
from analysis.io.rows import RESULTS, Results, load_progress, load_studies, source, split_by_source, study_folders
from analysis.output.facts import budgets_table, methods_table, published_table
from analysis.output.notes import not_to_cite, notes
from analysis.output.render import bullets, folded, to_csv, to_latex, to_markdown, to_rich
from analysis.output.tables import Table, differences_table, labels, main_table, scores_first, transfer_table
from moore.base.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUILD = Path("build")
TITLES = {
    "main": "Scores", "transfer": "Transfer", "claims": "Claims", "differences": "Differences", "methods": "Methods",
    "budgets": "Budgets", "published": "Published by others",
}  # fmt: skip


def tables(study: Results) -> list[Table]:
    """Build all tables of a study; those without rows (no online stage, MOORe is not in it) are left out.

    Imported curves are in those tables only that compare nothing run by run.
    """
    built = [build(study) for build in (main_table, transfer_table)]
    if study.pure:
        built += [build(study) for build in (differences_table, claims_table, published_table)]
    if study.pure and study.main == MOORE:  # strategies differ in what their names say
        built += [budgets_table(study), methods_table(study)]
    return [table for table in built if table.rows]


def write(studies: Iterable[Results], out: Path, figures: bool = True, score_only: bool = False) -> list[Path]:
    """Write tables, and figures, of loaded studies to `out`/<study>/, for each source one; returns the files.

    score_only: final scores alone in main.tex.
    """
    written: list[Path] = []
    for study in studies:
        try:
            for name, part in parts(study).items():
                written += write_tables(tables(part), notes(part), out / name, labels(part), score_only)
                for *_, files in write_figures(part, out / name) if figures else ():
                    written += files
        except UserError as error:
            if study.pure:
                raise
            print(f"warning: {error}; left out", file=sys.stderr)  # other people's rows stop nothing of ours
    return written


def parts(study: Results) -> dict[str, Results]:
    """Split a study by source; the keys are names of folders."""
    found = split_by_source(study)
    return {study.name if len(found) == 1 else f"{study.name}-{source(one.datasets[0])}": one for one in found}


def show(studies: Iterable[Results], build: Callable[[Results], list[Table]] = tables) -> None:
    """Print the tables of loaded studies, and what a reader should know."""
    from rich.console import Console

    console = Console()
    for study in studies:
        for part in split_by_source(study):
            for table in build(part):
                console.print(f"\n[bold]{TITLES[table.name]}[/bold]  {study.name}")
                console.print(to_rich(table, labels(part)))
            console.print(bullets(notes(part)), markup=False, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="folders under the results root; default: all")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--page", metavar="FILE", type=Path, help="write an HTML page, and what it links to beside it")
    mode.add_argument("--overlay", metavar="FOLDER", type=Path, help="lay imported curves over studies of their tasks")
    mode.add_argument("--progress", metavar="FOLDER", type=Path, help="print the tables of a study that still runs")
    parser.add_argument("--score-only", action="store_true", help="main.tex with final scores alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results root")
    parser.add_argument("--out", type=Path, default=BUILD, help="where the folders of the studies go")
    options = parser.parse_args(arguments)
    gc.set_threshold(100_000)  # a figure is many small objects in cycles: looking for them takes a tenth of the time
    try:
        if options.progress:
            show([load_progress(options.progress)], lambda part: [main_table(part), transfer_table(part)])
            return 0
        studies = load_studies(study_folders(options.results, options.studies))
        if options.page:
            from analysis.output.html import write_page

            print(f"{options.page}: {write_page(studies, options.page) / 1e6:.1f} MB")
            return 0
        studies = overlaid(studies, options.overlay) if options.overlay else studies
        written = write(studies, options.out, True, options.score_only)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(written)} files of {len(studies)} studies")
    return 0


def write_tables(
    built: Sequence[Table], known: Sequence[str], folder: Path, names: Mapping[str, str], score_only: bool = False
) -> list[Path]:
    """Write every table, and all of them in one file with what is to be `known`; returns the files.

    names: for people, of methods and tasks in LaTeX. score_only: there the scores are the final ones alone.
    """
    shown = "\n".join(f"## {TITLES[table.name]}\n\n{to_markdown(table)}" for table in built)
    texts = {"tables.md": f"{shown}\n{folded('What to know of this study', bullets(known))}"}
    for table in built:
        printed = scores_first(table, score_only) if table.name == "main" else table
        texts |= {f"{table.name}.tex": to_latex(printed, names), f"{table.name}.csv": to_csv(table)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def write_figures(study: Results, folder: Path) -> Iterator[tuple[str, Figure, str, list[Path]]]:
    """Draw a study's figures one at a time, as PDF and caption in `folder`: name, figure, caption and the files."""
    from analysis.plots.figures import drawings, save  # not above: tables need no plotting library

    for name, figure, caption in islice(drawings(study), 1 if not_to_cite(study) else None):  # curves first
        files = [folder / f"{name}{ending}" for ending in (".pdf", ".md")]
        save(figure, files[0])
        files[1].write_text(caption + "\n", encoding="utf-8")
        yield name, figure, caption, files


if __name__ == "__main__":
    sys.exit(main())
