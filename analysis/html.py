"""`python -m analysis.html`: every study as one page that needs nothing else: build/report.html.

Claims, and for each study its tables, figures, provenance and cost. The file has its figures inside, no script, and no
link to anything outside.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from analysis.claims import all_findings, comparisons_table, verdicts_table
from analysis.drawings import drawings
from analysis.embed import png
from analysis.hypotheses import load_claims
from analysis.render import html_code, to_html
from analysis.report import TITLES, tables
from analysis.rows import RESULTS, Study, load_studies, split_by_source, study_folders
from analysis.tables import Cell, Table
from moore.base.errors import UserError

OUT = Path("build/report.html")
STYLE = Path(__file__).parent / "html.css"
FACTS = {  # what a page says -> key of the manifest
    "scale": "scale", "date": "date", "command": "command", "commit": "git_commit", "machine": "machine",
    "imported from": "file", "sha256 of the file": "sha256",
}  # fmt: skip


def page(studies: Sequence[Study]) -> str:
    """The whole page. Draws every figure."""
    claims = load_claims()
    findings = all_findings(studies, claims)
    parts = [_contents(studies), '<section id="claims">\n<h2>Claims of the paper</h2>\n']
    parts.append(to_html(verdicts_table(studies, claims)))
    for claim in claims:
        table = comparisons_table(claim, findings)
        if table.rows:
            parts.append(_folded(f"Every comparison: {claim.sentence}", to_html(table)))
    parts.append("</section>\n")
    parts += [_section(study) for study in studies]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<title>MOORe: results</title>\n'
        '<link rel="icon" href="data:,">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f"{''.join(parts)}</body>\n</html>\n"
    )


def provenance_table(study: Study) -> Table:
    """Rows: what the manifest says of origin and cost; a row that it lacks is left out."""
    m = study.manifest
    facts = {name: str(m[key]) for name, key in FACTS.items() if m.get(key)}
    seconds = {name: m.get(f"{key}_seconds") for name, key in (("processor time", "cpu"), ("wall time", "wall"))}
    facts |= {name: f"{s:.0f} s ({s / 3600:.2f} h)" for name, s in seconds.items() if isinstance(s, (int, float))}
    if m.get("peak_memory_mb"):
        facts["peak memory"] = f"{m['peak_memory_mb']} MB"
    if isinstance(m.get("packages"), dict):
        facts["packages"] = ", ".join(f"{name} {version}" for name, version in m["packages"].items())
    rows = tuple(((name,), (Cell((("fact", fact),)),)) for name, fact in facts.items())
    return Table("provenance", ("study",), (study.name,), rows, 0, "", words=True)


def costs_table(study: Study) -> Table:
    """Rows: runs; columns: their share of processor time and how far they came."""
    spent = study.manifest.get("run_cpu_seconds", {})
    last = study.rows.groupby(["run", "phase"])[["env_steps", "updates"]].max()
    rows = []
    for owner in study.owners.sort_values(["phase", "method", "dataset", "seed"]).to_dict("records"):
        steps, updates = last.loc[(owner["run"], owner["phase"])]
        seconds = spent.get(owner["run"])
        texts = ("" if seconds is None else f"{seconds:.1f}", f"{steps}", f"{updates}")
        heads = (owner["method"], owner["dataset"], str(owner["seed"]), owner["phase"])
        rows.append((heads, tuple(Cell((("cost", text),)) if text else Cell() for text in texts)))
    caption = (
        "Processor time: a run's share of the process that trained it together with others; a dash where the manifest "
        "does not record it. Steps of the environment and gradient updates: the last recorded ones."
    )
    heads, columns = ("method", "dataset", "seed", "stage"), ("CPU s", "steps", "updates")
    return Table("costs", heads, columns, tuple(rows), 0, caption)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.html", description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="folders under the results root; default: all")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results root")
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write")
    options = parser.parse_args(arguments)
    try:
        text = page(load_studies(study_folders(options.results, options.studies)))
        try:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--out: cannot write {options.out} ({error.strerror}); choose another file") from None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(text.encode()) / 1e6:.1f} MB")
    return 0


def _contents(studies: Sequence[Study]) -> str:
    items = "".join(f'<li><a href="#{escape(study.name)}">{escape(study.name)}</a></li>\n' for study in studies)
    return (
        "<header>\n<h1>MOORe: results</h1>\n<p>Every number comes from the raw rows of finished runs; each study says "
        "which code, command and machine made it.</p>\n"
        f'<nav aria-label="Contents">\n<ul>\n<li><a href="#claims">Claims of the paper</a></li>\n{items}</ul>\n</nav>\n'
        "</header>\n"
    )


def _section(study: Study) -> str:
    """One study: where it comes from, what its tables say, what it looks like, what it cost."""
    parts = [f'<section id="{escape(study.name)}">\n<h2>{escape(study.name)}</h2>\n', to_html(provenance_table(study))]
    for part in split_by_source(study):
        parts += [f"<h3>{escape(TITLES[table.name])}</h3>\n{to_html(table)}" for table in tables(part)]
        parts += ["<h3>Figures</h3>\n", *(_embedded(figure, caption) for _, figure, caption in drawings(part))]
    parts += [_folded("Cost of every run", to_html(costs_table(study))), "</section>\n"]
    return "".join(parts)


def _embedded(figure: Figure, caption: str) -> str:
    """A figure inside the page, and its caption."""
    image = base64.b64encode(png(figure)).decode("ascii")
    alt = escape(caption.split(". ")[0], quote=True)
    return (
        f'<figure>\n<img src="data:image/png;base64,{image}" alt="{alt}" loading="lazy">\n'
        f"<figcaption>{html_code(caption)}</figcaption>\n</figure>\n"
    )


def _folded(title: str, text: str) -> str:
    return f"<details>\n<summary>{escape(title)}</summary>\n{text}</details>\n"


if __name__ == "__main__":
    sys.exit(main())
