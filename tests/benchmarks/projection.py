"""What the paper's studies would take: from the measured parts of a slice, or of every method timed for a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from moore.algorithm.config import RunConfig
from moore.cli.options import find_study
from moore.studies.estimate import Line, counts
from tests.benchmarks.flops import part_flops
from tests.benchmarks.report import hours, table, where

Part = tuple[str, str]  # (stage, what), a key of `counts`
DEVICES = (1, 4, 16)


@dataclass(frozen=True)
class Projected:
    """One part: what was measured, of all runs of the process together, and how often the paper's scale does it."""

    stage: str
    what: str
    calls: int  # measured
    seconds: float  # measured
    flops: float  # of one call, all runs: matrix products
    count: int  # calls of a unit at the paper's scale

    @property
    def each(self) -> float | None:
        """Seconds of a call; None where the slice did not come so far."""
        return self.seconds / self.calls if self.calls else None

    @property
    def total(self) -> float | None:
        """Seconds of a unit at the paper's scale."""
        return None if self.each is None else self.each * self.count


def projection(
    configs: Sequence[RunConfig], seconds: Mapping[Part, float], calls: Mapping[Part, int]
) -> list[Projected]:
    """Every part of a unit of these runs, with the paper scale's number of calls; its shapes stay."""
    paper, config = column()[0], configs[0]
    caps = {key: getattr(paper.dynamics, key) for key in ("offline_max_updates", "online_max_updates")}
    full = replace(config, offline=paper.offline, online=paper.online, eval_episodes=paper.eval_episodes)
    full = replace(full, dynamics=replace(config.dynamics, **caps))
    flops = {stage: part_flops(config, stage) for stage in ("offline", "online")}
    return [
        Projected(
            stage,
            what,
            calls.get((stage, what), 0),
            seconds.get((stage, what), 0.0),
            len(configs) * flops[stage][what],
            count,
        )
        for (stage, what), count in counts(full).items()
    ]


@cache
def column() -> tuple[RunConfig, ...]:
    """MOORe's runs in the main table at the paper's scale."""
    return tuple(run for run in find_study("main_table", "paper").runs if run.method == "moore")


def slice_report(facts: Mapping[str, Any], rows: Sequence[Projected]) -> str:
    """The report: what was measured, peak memory, and the projection line by line."""
    runs = facts["size"]["runs"]
    units = len(column()) / runs
    changed = ", ".join(f"{key} {value}" for key, value in facts["size"].items() if value != facts["full"][key])
    measured = [
        (
            row.stage,
            row.what,
            f"{row.calls:,}" if row.calls else "not reached",
            f"{row.seconds:.1f}",
            "" if row.each is None else f"{1e3 * row.each:.3f}",
            f"{row.flops / row.each / 1e12:.2f}" if row.each else "",
        )
        for row in rows
    ]
    totals = [row.total for row in rows]
    known = sum(total for total in totals if total is not None)
    whole = f"{hours(known)}; {units:g} one after the other: {hours(units * known)}"
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
            *table(("stage", "part", "calls", "time (s)", "each (ms)", "TFLOP/s"), measured, words=2),
            "",
            f"## Projection: {len(column())} runs of MOORe, {units:g} units of {runs}, all priced as halfcheetah",
            "",
            *(
                f"- {row.stage}, {row.what}: {row.count:,} x "
                + (
                    "? (not reached)"
                    if row.total is None
                    else f"{1e3 * row.total / row.count:.3f} ms = {hours(row.total)}"
                )
                for row in rows
            ),
            f"- a unit: more than {hours(known)}; the slice did not reach every part"
            if None in totals
            else f"- a unit: {whole}",
            "",
        ]
    )


def makespan(seconds: Sequence[float], devices: int) -> float:
    """When the last device is done, if each takes the longest job that is left as soon as it is free.

    That is at most 4/3 - 1/(3 devices) of the best possible (Graham, 1969).
    """
    free = [0.0] * devices
    for job in sorted(seconds, reverse=True):
        free[free.index(min(free))] += job
    return max(free)


def study_report(name: str, units: Sequence[tuple[Sequence[RunConfig], Sequence[Line]]]) -> list[str]:
    """Lines of Markdown: every part of every method of a study with its arithmetic, and the makespans.

    units: runs, and what they cost.
    """
    calls: dict[tuple[str, ...], float] = {}
    seconds, flops = dict.fromkeys(calls, 0.0), dict.fromkeys(calls, 0.0)
    for runs, lines in units:
        work = {stage: part_flops(runs[0], stage) for stage in ("offline", "online")}
        for line in lines:
            key = ", ".join(dict.fromkeys(run.method for run in runs)), line.stage, line.what
            number = line.runs * line.count
            calls[key] = calls.get(key, 0.0) + number
            seconds[key] = seconds.get(key, 0.0) + line.total
            flops[key] = flops.get(key, 0.0) + number * work[line.stage].get(line.what, 0.0)
    rows = [
        (*k, f"{calls[k]:,.0f}", f"{seconds[k] / calls[k]:.3g}", f"{seconds[k] / 3600:,.2f}", f"{flops[k] / 1e15:,.4g}")
        for k in calls
    ]
    jobs = [sum(line.total for line in lines) for _, lines in units]
    return [
        f"## The study {name}, {sum(len(runs) for runs, _ in units)} runs",
        "",
        "Calls of all runs x seconds of one call (for one run, as part of a unit; the mean over the study's tasks) = "
        "process hours. The ensemble's trainings count with their caps. FLOP: matrix products alone.",
        "",
        *table(("methods", "stage", "part", "calls", "seconds", "hours", "PFLOP"), rows, words=3),
        "",
        f"{len(jobs)} units of {hours(min(jobs))} to {hours(max(jobs))}; the longest that is left goes to the device "
        "that is free first.",
        "",
        *(f"- on {devices}: {hours(makespan(jobs, devices))}" for devices in DEVICES),
    ]
