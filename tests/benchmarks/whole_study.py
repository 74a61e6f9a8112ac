"""The cost of a whole study, line by line, and how long it takes on several devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moore.base.words import duration
from moore.studies.estimate import UnitCost, study_costs
from moore.studies.study import Study
from tests.benchmarks.projection import part_flops
from tests.benchmarks.report import table

DEVICES = (1, 4, 16)


def makespan(seconds: Sequence[float], devices: int) -> float:
    """When the last device is done, if each takes the longest job that is left as soon as it is free.

    That is at most 4/3 - 1/(3 devices) of the best possible (Graham, 1969).
    """
    free = [0.0] * devices
    for job in sorted(seconds, reverse=True):
        free[free.index(min(free))] += job
    return max(free)


def study_report(study: Study, device: str) -> tuple[list[str], dict[str, Any]]:
    """Lines of Markdown: every part of every method with its arithmetic, and the makespans; and these as facts."""
    costs = list(study_costs(study.cohorts(), device))
    seconds = [cost.seconds("offline") + cost.seconds("online") for cost in costs]
    lines = [
        f"## The study {study.name}, {len(study.runs)} runs",
        "",
        "Calls of all runs x seconds of one call (for one run, as part of a cohort; the mean over the study's tasks) "
        "= process hours. The ensemble's trainings count with their caps. FLOP: matrix products alone; what a device "
        "needs at least is the last column over its rate, what it really needs `make bench-slice` measures on it.",
        "",
        *table(("methods", "stage", "part", "calls", "seconds", "hours", "PFLOP"), part_rows(costs), words=3),
        "",
        "A device runs one process at a time. "
        f"Units of scheduling are the {len(costs)} cohorts, {duration(min(seconds))} to {duration(max(seconds))} each, "
        f"{duration(sum(seconds))} in all. The longest that is left goes to the device that is free first; that stages "
        "which cohorts share have to be there first is left out.",
        "",
    ]
    spans = {devices: makespan(seconds, devices) for devices in DEVICES}
    for devices, span in spans.items():
        even = sum(seconds) / devices
        lines.append(
            f"- {devices} device{'s' * (devices > 1)}: {duration(span)} "
            f"({duration(sum(seconds))} / {devices} = {duration(even)}; the longest cohort {duration(max(seconds))})"
        )
    hours = {str(devices): span / 3600 for devices, span in spans.items()}
    return lines, {"name": study.name, "runs": len(study.runs), "cohorts": len(costs), "hours": hours}


def part_rows(costs: Sequence[UnitCost]) -> list[tuple[str, ...]]:
    """Cells of each method's parts, summed over its cohorts."""
    calls: dict[tuple[str, str, str], float] = {}
    seconds, flops = dict.fromkeys(calls, 0.0), dict.fromkeys(calls, 0.0)
    for cost in costs:
        methods = ", ".join(dict.fromkeys(run.method for run in cost.runs))
        config = cost.runs[0]
        work = {stage: part_flops(config, stage) for stage in ("offline", "online")}
        for line in cost.lines:
            key = (methods, line.stage, line.what)
            number = line.runs * line.count
            calls[key] = calls.get(key, 0.0) + number
            seconds[key] = seconds.get(key, 0.0) + line.total
            flops[key] = flops.get(key, 0.0) + number * work[line.stage].get(line.what, 0.0)
    return [
        (
            *key,
            f"{calls[key]:,.0f}",
            f"{seconds[key] / calls[key]:.3g}",
            f"{seconds[key] / 3600:,.2f}",
            f"{flops[key] / 1e15:,.4g}" if flops[key] else "",
        )
        for key in calls
    ]
