"""The report of `bench` as Markdown: where the time of a mini run goes, and one table for each group of cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.benchmarks.cases import BATCH, BRANCHES, ENV, LEARNING, LENGTH, UNITS
from tests.benchmarks.report import table, where

Row = Mapping[str, Any]
Cell = Callable[[Row, Sequence[Row]], str]


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
        "matrix products only, counted from the layers' sizes; peak: a large product in the same precision, right "
        "before or after, which is the limit of torch's libraries, not of the chip. Every update is timed and counted "
        "with the actor's step. Memory: the most of a process of its own over what it held before (of a GPU: "
        "allocated). A run-update is one update of one run; a transition of the ensemble's training counts for each "
        "member. Evaluations play full episodes with the environment's last behaviour policy.",
        "",
    ]
    phases, cases = [row for row in rows if "phase" in row], [row for row in rows if "group" in row]
    if phases:
        lines += ["## Where the time of a mini run goes", "", *phase_table(phases), ""]
    for group in UNITS:
        of_group = [row for row in cases if row["group"] == group]
        if of_group:
            cells = columns(group)
            body = [[cell(row, cases) for cell in cells.values()] for row in of_group]
            words = 2 if group == "other methods" else 1
            lines += [f"## {group[0].upper()}{group[1:]}", "", *table(list(cells), body, words), ""]
    if facts["left_out"]:
        lines += ["## Left out", "", *(f"- {line}" for line in facts["left_out"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def phase_table(rows: Sequence[Row]) -> list[str]:
    """Seconds and shares of every phase, a column pair for each environment."""
    envs = {row["env"]: row for row in rows}
    cells = {(row["phase"], row["env"]): (f"{row['seconds']:.2f}", _share(row)) for row in rows}
    body = [
        [phase, *(text for env in envs for text in cells[phase, env])]
        for phase in dict.fromkeys(row["phase"] for row in rows)
    ]
    body.append(["all", *(text for row in envs.values() for text in (f"{row['wall']:.2f}", "100.0"))])
    memory = ", ".join(f"{row['mb']:,.0f} MB on {env}" for env, row in envs.items())
    row = rows[0]
    return [
        f"{100 * row['share']:g} % of one unit of the study `sampling`, trained: R = {row['runs']}, "
        f"one process, one thread on a CPU; on a GPU every call is waited for. Peak memory {memory}. `of it`: parts of "
        "the evaluation.",
        "",
        *table(["phase", *(f"{env} {unit}" for env in envs for unit in ("s", "%"))], body),
    ]


def _share(row: Row) -> str:
    return f"{100 * row['seconds'] / row['wall']:.1f}"


def columns(group: str) -> dict[str, Cell]:
    """Headers, with units, and cells of a group's table."""
    rate = {f"{UNITS[group]}/s": _number("rate")}
    if group in LEARNING:
        words = {"precision": _text("precision"), "width": _text("width")}
        faster = {"times float32": _times_of({"precision": "float32"}, "rate")}
        arithmetic = {f"MFLOP per {UNITS[group][:-1]}": _number("flops", 1e6, 1)}
        return words | RUNS | rate | faster | arithmetic | PEAK | COST
    if group == "other methods":
        rate = {"run-updates/s": _number("rate", digits=1)}
        sac = {"group": "SAC updates", "what": "sac", "stage": "online"}
        beside = {"speed / SAC's": _times_of(sac, "rate"), "arithmetic / SAC's": _times_of(sac, "flops")}
        words = {"method": _text("what"), "stage": _text("stage"), "width": _text("width")}
        return words | RUNS | rate | beside | PEAK | COST
    if group in ("evaluation", "checkpoint"):
        each = {f"s per {group}": _number("seconds", digits=3)}
        return {"environment" if group == "evaluation" else "scale": _text("what")} | RUNS | rate | each | COST
    return {"environment": _text("what")} | RUNS | rate | COST


def _text(key: str) -> Cell:
    return lambda row, rows: str(row[key])


def _number(key: str, scale: float = 1.0, digits: int = 0) -> Cell:
    return lambda row, rows: f"{row[key] / scale:,.{digits}f}"


def _times_of(changes: Mapping[str, Any], key: str) -> Cell:
    """How many times the number of the row that differs in `changes` alone; nothing where there is none."""
    same = ("group", "what", "stage", "runs", "width", "precision")

    def cell(row: Row, rows: Sequence[Row]) -> str:
        wanted = {name: row[name] for name in same} | dict(changes)
        other = next((r for r in rows if all(r[name] == value for name, value in wanted.items())), None)
        return "" if other is None else f"{row[key] / other[key]:.3g}"

    return cell


RUNS = {"R": _text("runs")}
COST = {"memory MB": _number("mb"), "CPU/wall": _number("cpu_per_wall", digits=2)}
PEAK = {
    "GFLOP/s": _number("flops_per_s", 1e9),
    "matmul peak GFLOP/s": _number("peak", 1e9),
    "% of peak": _number("peak_share", 0.01),
}
