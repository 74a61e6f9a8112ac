"""`python -m analysis.report [--check] [STUDY ...]`: tables, figures and README blocks from committed rows.

Writes analysis/tables/<study>.md and, per table, .tex and .csv; analysis/figures/<study>/<figure>.pdf, .png and .md
(the caption). `--check` writes nothing and exits with code 1 if a block of the README is stale. `--overlay NAME` lays
the imported curves NAME over the studies with the same tasks instead, as <study>+NAME, and leaves the README alone.
`--progress FOLDER` prints the tables of a study that is still running and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import fresh
from analysis.claims import claims_table
from analysis.differences import differences_table
from analysis.imported import overlaid
from analysis.methods import MOORE
from analysis.progress import load_progress
from analysis.published import published_table
from analysis.readme import refresh
from analysis.render import to_csv, to_latex, to_markdown, to_rich
from analysis.rows import (
    MANIFEST,
    RESULTS,
    Study,
    load_manifest,
    load_studies,
    named_parts,
    split_by_source,
    study_folders,
)
from analysis.tables import Table, main_table, methods_table, transfer_table
from moore.base.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

ROOT = Path(__file__).resolve().parent
TITLES = {
    "main": "Scores",
    "transfer": "Transfer",
    "claims": "Claims",
    "differences": "Differences",
    "methods": "Methods",
    "published": "Published by others",
}


def tables(study: Study) -> list[Table]:
    """All tables of a study; those without rows (no online stage, MOORe is not in it) are left out.

    Imported curves are in those tables only that compare nothing run by run.
    """
    built = [build(study) for build in (main_table, transfer_table)]
    if study.pure:
        built += [build(study) for build in (differences_table, claims_table, published_table)]
    if study.pure and study.main == MOORE:  # strategies differ in what their names say
        built.append(methods_table(study))
    return [table for table in built if table.rows]


def report(results_dirs: Iterable[str | Path], out_dir: str | Path = ROOT, record: Path | None = None) -> list[Path]:
    """Write every table and figure of the studies in `results_dirs` below `out_dir`; returns the files.

    record: a file that keeps what was written last (see analysis/fresh.py); nothing is written, and no file returned,
    where these are still the same.
    """
    folders, out = [Path(folder) for folder in results_dirs], Path(out_dir)
    if record is None:
        return write(load_studies(folders), out)
    made_of = fresh.sources(folders)
    if fresh.is_drawn(record, made_of, out):
        return []
    written = write(load_studies(folders), out)
    fresh.remember(record, made_of, out, written)
    return written


def write(studies: Iterable[Study], out: Path) -> list[Path]:
    """Write every table and figure of loaded studies below `out`; returns the files."""
    written = []
    for study in studies:
        for name, part in named_parts(study):
            written += _write_tables(part, out / "tables", name)
            written += _write_figures(part, out / "figures" / name)
    return written


def print_report(results_dir: Path, console: Console | None = None) -> None:
    """The tables of one study on the terminal, after the scores of those beside it that ran at another scale.

    A small scale's table is so read beside the larger one's, which takes hours: easy control beside locomotion.
    """
    from rich.console import Console

    scale = load_manifest(results_dir).get("scale")
    folders = [path.parent for path in sorted(results_dir.parent.glob(f"*/{MANIFEST}"))]
    others = load_studies(folder for folder in folders if load_manifest(folder).get("scale") != scale)
    screen = console or Console()
    show((study for study in others if not study.imported), screen, lambda study: [main_table(study)])
    show(load_studies([results_dir]), screen)


def show(studies: Iterable[Study], console: Console, build: Callable[[Study], list[Table]] = tables) -> None:
    """The tables of loaded studies on the terminal."""
    for study in studies:
        for part in split_by_source(study):
            for table in build(part):
                console.print(f"\n[bold]{TITLES[table.name]}[/bold]  {study.name}")
                console.print(to_rich(table, console.width))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="names of folders under the results root; default: all"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; exit with code 1 if a README block is stale")
    mode.add_argument("--overlay", metavar="NAME", help="lay imported curves over the studies with the same tasks")
    mode.add_argument("--progress", metavar="FOLDER", type=Path, help="print the tables of a study that still runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results root")
    parser.add_argument("--out", type=Path, default=ROOT, help="where tables/ and figures/ go")
    parser.add_argument("--readme", type=Path, default=ROOT.parent / "README.md", help="file with generated blocks")
    options = parser.parse_args(arguments)
    from rich.console import Console

    try:
        if options.progress:
            show([load_progress(options.progress)], Console(), lambda part: [main_table(part), transfer_table(part)])
            return 0
        folders = study_folders(options.results, options.studies)
        studies = {study.name: study for study in load_studies(folders)}
        if options.overlay:
            (folder,) = study_folders(options.results, [options.overlay])
            studies = {study.name: study for study in overlaid(list(studies.values()), folder)}
        if not options.check:
            write(studies.values(), options.out)
            show(studies.values(), Console())
        if options.overlay:
            return 0
        stale = refresh(options.readme, studies, set(studies) if options.studies else None, write=not options.check)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in stale:
        state = "is stale; run `python -m analysis.report`" if options.check else "rewritten"
        print(f"{options.readme}: block {name} {state}")
    return int(options.check and bool(stale))


def _write_tables(study: Study, folder: Path, stem: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    built = tables(study)
    texts = {f"{stem}.md": "\n".join(f"## {TITLES[table.name]}\n\n{to_markdown(table)}" for table in built)}
    for table in built:
        texts[f"{stem}-{table.name}.tex"] = to_latex(table)
        texts[f"{stem}-{table.name}.csv"] = to_csv(table)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _write_figures(study: Study, folder: Path) -> list[Path]:
    from analysis import drawings, figures  # not above: --check draws nothing

    written = []
    for name, figure, caption in drawings.drawings(study):
        written += figures.save(figure, folder / name, caption)
    return written


if __name__ == "__main__":
    sys.exit(main())
