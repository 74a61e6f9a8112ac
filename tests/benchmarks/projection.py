"""What MOORe's runs of the main table would take: from the measured parts of a slice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from moore.algorithm.config import RunConfig
from moore.cli.options import find_study
from moore.studies.estimate import counts
from moore.studies.flops import part_flops
from tests.benchmarks.report import hours, table, where
from tests.benchmarks.stages import Clock


@cache
def column() -> tuple[RunConfig, ...]:
    """MOORe's runs in the main table at the paper's scale."""
    return tuple(run for run in find_study("main_table", "paper").runs if run.method == "moore")


def projection(configs: Sequence[RunConfig], clock: Clock) -> list[dict[str, Any]]:
    """Every part of a unit of these runs: calls and seconds that were measured, flops (matrix products) of a call of
    all runs, and `count`, its calls, and `total`, their seconds, at the paper scale; None where no call was measured.
    """
    paper, config = column()[0], configs[0]
    caps = {key: getattr(paper.dynamics, key) for key in ("offline_max_updates", "online_max_updates")}
    full = replace(config, offline=paper.offline, online=paper.online, eval_episodes=paper.eval_episodes)
    full = replace(full, dynamics=replace(config.dynamics, **caps))
    flops = {stage: part_flops(config, stage) for stage in ("offline", "online")}
    rows = []
    for (stage, what), count in counts(full).items():
        calls, seconds = clock.calls[stage, what], clock.seconds[stage, what]
        row = {"stage": stage, "what": what, "calls": calls, "seconds": seconds, "count": count}
        total = seconds / calls * count if calls else None
        rows.append(row | {"flops": len(configs) * flops[stage][what], "total": total})
    return rows


def slice_report(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The report: what was measured, peak memory, and the projection part by part."""
    runs = facts["size"]["runs"]
    units = len(column()) / runs
    changed = ", ".join(f"{key} {value}" for key, value in facts["size"].items() if value != facts["full"][key])
    body = []
    for row in rows:
        measured, whole = ("not reached", "", "", ""), "?"
        if row["calls"]:
            each, whole = row["seconds"] / row["calls"], hours(row["total"])
            speed = f"{row['flops'] / each / 1e12:.2f}"
            measured = f"{row['calls']:,}", f"{row['seconds']:.1f}", f"{1e3 * each:.3f}", speed
        body.append((row["stage"], row["what"], *measured, f"{row['count']:,}", whole))
    known = sum(row["total"] or 0.0 for row in rows)
    said = f"{hours(known)}; {units:g} one after the other: {hours(units * known)}"
    if any(row["total"] is None for row in rows):
        said = f"more than {hours(known)}; the slice did not reach every part"
    return "\n".join(
        [
            f"# A slice of the paper's scale on {facts['device_name']}",
            "",
            f"{where(facts)} Precision {facts['size']['precision']}. {runs} runs of MOORe (halfcheetah) in one "
            "process; random data, on which every training of the ensemble goes to its cap.",
            "",
            f"Not the paper scale's slice: {changed}." if changed else "All shapes are the paper scale's.",
            "",
            f"Peak memory: {', '.join(f'{key} {value / 2**30:.2f} GiB' for key, value in facts['memory'].items())}.",
            "",
            *table(("stage", "part", "calls", "time (s)", "each (ms)", "TFLOP/s", "calls of a unit", "all"), body, 2),
            "",
            f"MOORe's {len(column())} runs are {units:g} units of {runs}, all priced as halfcheetah. A unit: {said}.",
            "",
        ]
    )
