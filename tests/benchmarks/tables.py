"""The report of `bench` as Markdown: one table for each group of cases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.benchmarks.cases import BATCH, BRANCHES, ENV, LENGTH, UNITS
from tests.benchmarks.report import table, where

Row = Mapping[str, Any]
WORDS = ("what", "stage", "width", "precision", "runs")  # what tells the rows of a group apart
NUMBERS = {  # column -> key, unit, digits
    "seconds": ("seconds", 1.0, 3),
    "MFLOP": ("flops", 1e6, 1),
    "GFLOP/s": ("flops_per_s", 1e9, 0),
    "matmul peak GFLOP/s": ("peak", 1e9, 0),
    "% of peak": ("peak_share", 0.01, 0),
    "memory MB": ("mb", 1.0, 0),
    "CPU/wall": ("cpu_per_wall", 1.0, 2),
}
# column -> key, and what the row that it is divided by has in place of the row's own
RATIOS = {
    "speed / float32's": ("rate", {"precision": "float32"}),
    "speed / SAC's": ("rate", {"group": "SAC updates", "what": "sac", "stage": "online"}),
    "arithmetic / SAC's": ("flops", {"group": "SAC updates", "what": "sac", "stage": "online"}),
}


def bench_report(facts: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """All of it."""
    branches = BRANCHES["cuda" if facts["device"].startswith("cuda") else "cpu"]
    lines = [
        f"# Speed on {facts['device_name']}",
        "",
        where(facts),
        "",
        f"{ENV}'s sizes and batches of {BATCH}, {branches} branches of {LENGTH} steps in a rollout; the methods' own "
        f"settings at paper scale. Each number is of the fastest of the calls within {facts['seconds']:g} s. FLOP: "
        "matrix products only, of one of what is counted; peak: a large product in the same precision, right "
        "before or after, which is the limit of torch's libraries, not of the chip. Every update is timed and counted "
        "with the actor's step. Memory: the most of a process of its own over what it held before (of a GPU: "
        "allocated). A run-update is one update of one run; a transition of the ensemble's training counts for each "
        "member.",
        "",
    ]
    for group in UNITS:
        if of_group := [row for row in rows if row["group"] == group]:
            lines += [f"## {group[0].upper()}{group[1:]}", "", *case_table(of_group, rows), ""]
    if facts["left_out"]:
        lines += ["## Left out", "", *(f"- {line}" for line in facts["left_out"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def case_table(rows: Sequence[Row], cases: Sequence[Row]) -> list[str]:
    """One group's rows, without the ratios to rows that are not there."""
    columns: dict[str, Callable[[Row], str]] = {"R" if key == "runs" else key: _text(key) for key in WORDS}
    columns[f"{UNITS[rows[0]['group']]}/s"] = lambda row: f"{row['rate']:,.1f}"
    columns |= {name: _number(*number) for name, number in NUMBERS.items()}
    columns |= {name: _ratio(key, changes, cases) for name, (key, changes) in RATIOS.items()}
    cells = {name: [cell(row) for row in rows] for name, cell in columns.items()}
    cells = {name: column for name, column in cells.items() if any(column)}
    return table([*cells], zip(*cells.values(), strict=True), words=2)


def _text(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key])


def _number(key: str, unit: float, digits: int) -> Callable[[Row], str]:
    return lambda row: f"{row[key] / unit:,.{digits}f}"


def _ratio(key: str, changes: Row, cases: Sequence[Row]) -> Callable[[Row], str]:
    """How many times the number of the row that differs in `changes` alone; nothing where that is the row or no row."""
    name_of = lambda row: tuple(row[name] for name in ("group", *WORDS))  # noqa: E731
    known = {name_of(row): row for row in cases}

    def cell(row: Row) -> str:
        other = known.get(name_of({**row, **changes}))
        return "" if other is None or other is row else f"{row[key] / other[key]:.3g}"

    return cell
