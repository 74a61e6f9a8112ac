"""The report as Markdown: one table for each group of cases, and where the time of a mini run goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from moore.base.machine import short
from tests.benchmarks.cases import BATCH, BRANCHES, ENV, LEARNING, LENGTH, UNITS, Case
from tests.benchmarks.report import table

Row = dict[str, Any]
Cell = Callable[[Row, Sequence[Row]], str]


def _sac(row: Row, rows: Sequence[Row]) -> Row | None:
    """SAC's update with the same R and width."""
    same = ("runs", "width", "precision")
    return next((r for r in rows if r["group"] == "SAC updates" and all(r[key] == row[key] for key in same)), None)


def _plain(row: Row, rows: Sequence[Row]) -> Row | None:
    """The same case in float32."""
    same = ("group", "what", "stage", "runs", "width")
    return next((r for r in rows if r["precision"] == "float32" and all(r[key] == row[key] for key in same)), None)


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _ratio(find: Callable[[Row, Sequence[Row]], Row | None], key: str, invert: bool = False) -> Cell:
    """How many times the number of another row; the other way round for a rate whose time is meant."""

    def cell(row: Row, rows: Sequence[Row]) -> str:
        other = find(row, rows)
        if other is None:
            return ""
        return _times(other[key] / row[key] if invert else row[key] / other[key])

    return cell


def _text(key: str) -> Cell:
    return lambda row, rows: str(row[key])


def _number(key: str, scale: float = 1.0, digits: int = 0) -> Cell:
    return lambda row, rows: f"{row[key] / scale:,.{digits}f}" if key in row else ""


def _percent(key: str) -> Cell:
    return lambda row, rows: f"{100 * row[key]:.0f}" if key in row else ""


RUNS = {"R": _text("runs")}
COST = {"memory MB": _number("mb"), "CPU/wall": _number("cpu_per_wall", digits=2)}
PEAK = {"GFLOP/s": _number("flops_per_s", 1e9), "matmul peak GFLOP/s": _number("peak", 1e9)}
PEAK |= {"% of peak": _percent("peak_share")}


def columns(group: str) -> dict[str, Cell]:
    """Headers, with units, and cells of a group's table."""
    rate = {f"{UNITS[group]}/s": _number("rate")}
    if group in LEARNING:
        arithmetic = {f"MFLOP per {UNITS[group][:-1]}": _number("flops", 1e6, 1)}
        faster = {"times float32": _ratio(_plain, "rate")}
        return (
            {"precision": _text("precision"), "width": _text("width")} | RUNS | rate | faster | arithmetic | PEAK | COST
        )
    if group == "other methods":
        rate = {"run-updates/s": _number("rate", digits=1)}
        beside = {"time / SAC's": _ratio(_sac, "rate", invert=True), "arithmetic / SAC's": _ratio(_sac, "flops")}
        words = {"method": _text("what"), "stage": _text("stage"), "width": _text("width")}
        return words | RUNS | rate | beside | PEAK | COST
    if group == "evaluation":
        physics = {"s per evaluation": _number("seconds", digits=2), "% in the simulator": _percent("physics_share")}
        return {"environment": _text("what")} | RUNS | rate | physics | COST
    if group == "checkpoint":
        return {"scale": _text("what")} | RUNS | {"s per checkpoint": _number("seconds", digits=3)} | rate | COST
    if group == "data loading":
        return {"dataset": _text("what"), "rows": _number("rows")} | rate | {"CPU/wall": COST["CPU/wall"]}
    return {"environment": _text("what")} | RUNS | rate | COST


def group_tables(rows: Sequence[Row]) -> list[str]:
    """A heading and a table for every group that has rows."""
    lines: list[str] = []
    for group in UNITS:
        of_group = [row for row in rows if row["group"] == group]
        if of_group:
            cells = columns(group)
            body = [[cell(row, rows) for cell in cells.values()] for row in of_group]
            words = 2 if group == "other methods" else 1
            lines += [f"## {group[0].upper()}{group[1:]}", "", *table(list(cells), body, words), ""]
    return lines


def phase_tables(rows: Sequence[Row]) -> list[str]:
    """Seconds and shares of every phase, a column pair for each environment; a table for each of what is split."""
    lines: list[str] = []
    for of in dict.fromkeys(row["of"] for row in rows):
        here = [row for row in rows if row["of"] == of]
        envs = list(dict.fromkeys(row["env"] for row in here))
        cell = {(row["phase"], row["env"]): row for row in here}
        head = ["phase", *(f"{env} {unit}" for env in envs for unit in ("s", "%"))]
        body = [
            [phase, *(text for env in envs for text in _phase_cells(cell.get((phase, env))))]
            for phase in dict.fromkeys(row["phase"] for row in here)
        ]
        walls = {row["env"]: f"{row['wall']:.2f}" for row in here}
        body.append(["all", *(text for env in envs for text in (walls[env], "100.0"))])
        memory = {row["env"]: f"{row['mb']:,.0f} MB on {row['env']}" for row in here}
        runs = ", ".join(sorted({str(row["runs"]) for row in here}))
        lines += [f"### {of[0].upper()}{of[1:]}", "", f"R = {runs}; peak memory {', '.join(memory.values())}.", ""]
        lines += [*table(head, body), ""]
    return lines


def _phase_cells(row: Row | None) -> list[str]:
    return ["", ""] if row is None else [f"{row['seconds']:.2f}", f"{100 * row['share']:.1f}"]


def left_out(reasons: Iterable[tuple[Case | str, str]]) -> list[str]:
    """A line for each thing that was not measured and each reason, with its numbers of runs."""
    found: dict[tuple[str, str], list[int]] = {}
    for what, reason in reasons:
        runs = found.setdefault((what if isinstance(what, str) else what.name, reason), [])
        if isinstance(what, Case):
            runs.append(what.runs)
    listed = {key: f", R = {', '.join(map(str, runs))}" if runs else "" for key, runs in found.items()}
    return [f"{what}{listed[what, reason]}: {reason}" for what, reason in found]


def explanation(facts: dict[str, Any]) -> list[str]:
    """What the numbers mean, and where they were measured."""
    gpu = (
        f"{facts['gpu']['name']}, driver {facts['gpu']['driver']}, on a host with " if facts["device"] != "cpu" else ""
    )
    own = (
        "of a process of its own over what it held before, code of first calls included"
        if not gpu
        else "allocated on the GPU"
    )
    branches = BRANCHES["cuda" if gpu else "cpu"]
    return [
        f"# Speed on {gpu}{facts['machine']}, {facts['threads']} thread{'s' if facts['threads'] > 1 else ''}",
        "",
        f"{facts['date']}, load {facts['load_before']:.1f} before and {facts['load_after']:.1f} after, "
        f"{facts['minutes']:.1f} minutes, torch {facts['packages']['torch']}, mujoco {facts['packages']['mujoco']}, "
        f"Python {facts['python']}, commit {short(facts['git_commit'])}. Products are in "
        "float32, in TF32 or bfloat16 only where the precision says so.",
        "",
        f"{ENV}'s sizes and batches of {BATCH} in the first tables, {branches} branches of {LENGTH} steps in a "
        "rollout; the methods' own settings at paper scale. Each number is of the fastest of the calls within "
        f"{facts['seconds']:g} s. FLOP: matrix products only, counted from the layers' sizes; peak: a large matrix "
        "product in the same precision, the better of one right before and one right after, in the same process. That "
        "is the limit of torch's libraries (on x86 MKL in float32, oneDNN in bfloat16), not of the chip. The updates "
        "of every method are timed and counted with the actor's step, which some take less often in training. "
        f"{'CUDA graphs are ' + ('on' if facts['cuda_graphs'] else 'off') + '. ' if gpu else ''}"
        f"Memory: the most {own}. A run-update is one update of one run; a transition of the ensemble's training "
        "counts for each member. Evaluations play full episodes with the environment's last behaviour policy.",
        "",
    ]
