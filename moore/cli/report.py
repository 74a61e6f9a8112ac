"""Rows of finished runs, and the tables and figures of them: the one place of the command that calls analysis."""

import shlex
from dataclasses import replace
from pathlib import Path

from moore.base.errors import UserError
from moore.base.words import duration
from moore.run.collect import collect
from moore.run.folders import finished_runs
from moore.studies.study import Study

PUBLISHED = Path("analysis/results")  # rows in git


def write_rows(study: Study, names: tuple[str, str], root: Path, out: Path, partial: bool = False) -> Path:
    """Write the rows and the manifest of a study's finished runs to out/<study>/; returns that folder.

    names: of study and scale, as the user gave them. Raises UserError where runs are missing and it is not `partial`.
    """
    runs = finished_runs(study, root)
    missing = len(study.runs) - len(runs)
    if not runs or (missing and not partial):
        raise UserError(
            f"{study.name}: {missing} of {len(study.runs)} runs are not finished in {root}; accepted: waiting"
            " (`moore study status`), or `moore study collect --partial` for a table of those that are"
        )
    if missing:
        print(f"{study.name}: {missing} of {len(study.runs)} runs are missing from this table")
    return collect(replace(study, runs=runs), root, out, _trained_by(study, names, root))


def write_report(folder: Path, figures: Path, verbose: bool = False, call: str = "") -> None:
    """Write tables, figures and the page of the rows in `folder` to `figures`/<study>/, and print the summary.

    verbose: print every table before it. call: what this call did, for the line on cost.
    """
    from analysis.io.rows import load_study
    from analysis.output.html import write_page
    from analysis.output.notes import not_to_cite
    from analysis.output.report import parts, show, write
    from analysis.output.summary import published_rows, summary

    study = load_study(folder)
    folders = " ".join(str(figures / name) for name in parts(study))
    page = figures / study.name / "report.html"
    if not_to_cite(study):
        write([study], figures)
    else:
        write_page([study], page, figures)
    if verbose:
        show([study])
    end = [
        f"Pictures  {folders} (pdf), and all tables (also: --verbose)",
        *([f"Report    {page}"] if page.exists() else []),
        f"Rows      {folder / 'rows.parquet'}",
        f"Cost      {duration(study.manifest['cpu_seconds'])} of one core{call}",
    ]
    print("\n".join(summary(study, published_rows(study.name), end)))


def publish(study: Study, names: tuple[str, str], root: Path, out: Path = PUBLISHED) -> None:
    """Write the rows of a study, all of whose runs are finished, among those in git; says what it wrote.

    Raises UserError as `write_rows`, and where there is no checkout to publish in.
    """
    if not out.is_dir():
        raise UserError(f"{out}: is not here; accepted: calling this in the folder of a checkout")
    folder = write_rows(study, names, root, out)
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size:,} bytes written")
    print(f"`git add {folder}` records them; `make figures` draws the tables and figures of all published rows")


def _trained_by(study: Study, names: tuple[str, str], root: Path) -> str:
    """Return the command that trained a study, for the record."""
    submitted = any((root / study.name / "submissions").glob("*/manifest.json"))
    command = "study submit" if submitted else "tune" if study.tunes else "reproduce --study"
    return f"moore {command} {shlex.quote(names[0])} --scale {shlex.quote(names[1])}"
