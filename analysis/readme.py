"""Blocks of a Markdown file from `<!-- generated:KIND:STUDY -->` to `<!-- /generated -->`, rebuilt from rows.

KIND is a table, `curves`, or `figure/NAME` for another figure with the caption that was written beside it.
`<!-- generated:verdicts -->` judges the paper's claims on all studies; `<!-- generated:behaviours -->` is rebuilt from
the provenance of the shipped behaviour policies; `<!-- generated:benchmark:scaling -->` (or scaling-cuda) from that
benchmark's file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from analysis import captions
from analysis.claims import claims_table, verdicts_table
from analysis.differences import differences_table
from analysis.published import published_table
from analysis.render import to_markdown
from analysis.rows import Study, named_parts, split_by_source
from analysis.scaling import block as scaling_block
from analysis.tables import Table, main_table, methods_table, most_seeds, transfer_table
from analysis.transfer import summarise
from moore.base.errors import UserError

OPENING = re.compile(r"<!-- generated:(?P<name>[^\s>]+) -->")
CLOSING = "<!-- /generated -->"
FIGURES = "analysis/figures"  # relative to the repository root, where the README lies
FIGURE = "figure/"
BEHAVIOURS, VERDICTS, BENCHMARK = "behaviours", "verdicts", "benchmark"  # blocks that belong to no study
TABLES: dict[str, Callable[[Study], Table]] = {
    "table": main_table,
    "transfer": transfer_table,
    "claims": claims_table,
    "differences": differences_table,
    "methods": methods_table,
    "published": published_table,
}


def block(kind: str, study: Study) -> str:
    """The text of one block: a table and its caption per dataset source, or the learning curves and theirs."""
    if kind == "curves":
        return "\n".join(_curves(name, part) for name, part in named_parts(study))
    if kind.startswith(FIGURE):
        return _figure(kind.removeprefix(FIGURE), study.name)
    return "\n".join(to_markdown(TABLES[kind](part)) for part in split_by_source(study))


def _curves(name: str, study: Study) -> str:
    runs = summarise(study)
    caption = captions.learning_curves(study, runs, most_seeds(runs))
    return f"![Learning curves of {name}]({FIGURES}/{name}/curves.png)\n\n{caption}\n"


def _figure(name: str, study: str) -> str:
    caption = Path(__file__).parent / "figures" / study / f"{name}.md"
    if not caption.is_file():
        raise UserError(f"{caption}: no such figure; run `python -m analysis.report {study}`")
    return f"![{name} of {study}]({FIGURES}/{study}/{name}.png)\n\n{caption.read_text(encoding='utf-8').strip()}\n"


def _behaviours() -> str:
    from analysis.behaviours import behaviours_table  # here, not above: the behaviours' networks need torch

    return behaviours_table()


def regenerate(
    text: str, studies: Mapping[str, Study], file: str, only: set[str] | None = None
) -> tuple[str, list[str]]:
    """The text with fresh blocks, and the names of the stale ones; `only` limits it to these studies."""
    out, stale, position = [], [], 0
    for opening in OPENING.finditer(text):
        if opening.start() < position:
            raise UserError(f"{file}: block {opening['name']} starts inside another block; {CLOSING} is missing")
        end = text.find(CLOSING, opening.end())
        if end < 0:
            raise UserError(f"{file}: block {opening['name']} has no {CLOSING}")
        kind, _, name = opening["name"].partition(":")
        alone = opening["name"] in (BEHAVIOURS, VERDICTS) or (kind == BENCHMARK and bool(name))
        known = kind in (*TABLES, "curves") or kind.startswith(FIGURE)
        if not alone and not (known and name):
            kinds = ", ".join((*TABLES, "curves", "figure/NAME"))
            others = f"or {BEHAVIOURS} or {VERDICTS} or {BENCHMARK}:NAME"
            raise UserError(f"{file}: block {opening['name']}: expected KIND:STUDY, KIND one of {kinds}, {others}")
        out.append(text[position : opening.end()])
        position = end
        old = text[opening.end() : end]
        if only is not None and kind not in (BEHAVIOURS, BENCHMARK) and name not in only:  # verdicts need every study
            out.append(old)
            continue
        if not alone and name not in studies:
            raise UserError(
                f"{file}: block {opening['name']}: no results of study {name}; found {', '.join(studies) or 'none'}"
            )
        if not alone:
            new = f"\n{block(kind, studies[name])}"
        elif kind == BENCHMARK:
            new = f"\n{scaling_block(name, Path(__file__).parents[1])}"
        else:
            new = f"\n{_behaviours() if kind == BEHAVIOURS else to_markdown(verdicts_table(studies.values()))}"
        if new != old:
            stale.append(opening["name"])
        out.append(new)
    return "".join([*out, text[position:]]), stale


def refresh(file: Path, studies: Mapping[str, Study], only: set[str] | None = None, write: bool = True) -> list[str]:
    """Regenerate the blocks of a file (only look if `write` is false); returns the names of the stale ones."""
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    text, stale = regenerate(file.read_text(encoding="utf-8"), studies, str(file), only)
    if write and stale:
        file.write_text(text, encoding="utf-8")
    return stale
