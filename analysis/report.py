"""`python -m analysis.report [--check] [STUDY ...]`: tables, figures and README blocks from committed rows.

Writes analysis/tables/<study>.md and, per table, .tex and .csv; analysis/figures/<study>/<figure>.pdf, .png and .md
(the caption). `--check` writes nothing and exits with code 1 if a block of the README is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.claims import claims_table, differences_table
from analysis.methods import MOORE
from analysis.readme import refresh
from analysis.render import to_csv, to_latex, to_markdown, to_rich
from analysis.rows import Study, load_studies, source, split_by_source
from analysis.tables import Table, main_table, methods_table, transfer_table
from moore.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

ROOT = Path(__file__).resolve().parent
TITLES = {
    "main": "Scores",
    "transfer": "Transfer",
    "claims": "Claims",
    "differences": "Differences",
    "methods": "Methods",
}


def study_folders(results: str | Path = ROOT / "results", names: Sequence[str] = ()) -> list[Path]:
    """The folders of the named studies under `results`, or all of them."""
    results = Path(results)
    folders = sorted(file.parent for file in results.glob("*/manifest.json"))
    unknown = [name for name in names if name not in {folder.name for folder in folders}]
    if unknown:
        known = ", ".join(folder.name for folder in folders) or "none"
        raise UserError(f"{results}: no study {', '.join(unknown)}; found {known}")
    return [folder for folder in folders if not names or folder.name in names]


def tables(study: Study) -> list[Table]:
    """All tables of a study; those without rows (no online stage, MOORe is not in it) are left out."""
    built = [build(study) for build in (main_table, transfer_table, differences_table, claims_table)]
    if study.main == MOORE:  # strategies differ in what their names say
        built.append(methods_table(study))
    return [table for table in built if table.rows]


def report(results_dirs: Iterable[str | Path], out_dir: str | Path = ROOT) -> list[Path]:
    """Write every table and figure of the studies in `results_dirs` below `out_dir`; returns the files."""
    out, written = Path(out_dir), []
    for study in load_studies(results_dirs):
        parts = split_by_source(study)
        for part in parts:
            suffix = f"-{source(part.datasets[0])}" if len(parts) > 1 else ""
            written += _write_tables(part, out / "tables", f"{study.name}{suffix}")
        written += _write_figures(study, out / "figures" / study.name)
    return written


def print_report(results_dirs: Iterable[str | Path], console: Console | None = None) -> None:
    """The tables of the studies on the terminal."""
    from rich.console import Console

    console = console or Console()
    for study in load_studies(results_dirs):
        for part in split_by_source(study):
            for table in tables(part):
                console.print(f"\n[bold]{TITLES[table.name]}[/bold]  {study.name}")
                console.print(to_rich(table, console.width))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="names of folders under the results root; default: all"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with code 1 if a README block is stale"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="results root")
    parser.add_argument("--out", type=Path, default=ROOT, help="where tables/ and figures/ go")
    parser.add_argument("--readme", type=Path, default=ROOT.parent / "README.md", help="file with generated blocks")
    options = parser.parse_args(arguments)
    try:
        folders = study_folders(options.results, options.studies)
        studies = {study.name: study for study in load_studies(folders)}
        if not options.check:
            report(folders, options.out)
            print_report(folders)
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
    from analysis import curves, diagnostics, figures  # not above: --check draws nothing

    drawn = {
        "curves": curves.learning_curves(study),
        "online_share": diagnostics.online_share(study),
        "penalty": diagnostics.penalty(study),
    }
    written = []
    for name, result in drawn.items():
        if result is not None:
            written += figures.save(result[0], folder / name, result[1])
    return written


if __name__ == "__main__":
    sys.exit(main())
