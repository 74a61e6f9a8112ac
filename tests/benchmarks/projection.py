"""What MOORe's runs of the main table would take: from the measured parts of a slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from moore.algorithm.config import RunConfig
from moore.cli.options import find_study
from moore.studies.estimate import counts
from tests.benchmarks.flops import part_flops
from tests.benchmarks.report import hours, table, where
from tests.benchmarks.stages import Clock


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


def projection(configs: Sequence[RunConfig], clock: Clock) -> list[Projected]:
    """Every part of a unit of these runs, with the paper scale's number of calls; its shapes stay."""
    paper, config = column()[0], configs[0]
    caps = {key: getattr(paper.dynamics, key) for key in ("offline_max_updates", "online_max_updates")}
    full = replace(config, offline=paper.offline, online=paper.online, eval_episodes=paper.eval_episodes)
    full = replace(full, dynamics=replace(config.dynamics, **caps))
    flops = {stage: part_flops(config, stage) for stage in ("offline", "online")}
    return [
        Projected(*part, clock.calls[part], clock.seconds[part], len(configs) * flops[part[0]][part[1]], count)
        for part, count in counts(full).items()
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
    measured, lines, known = [], [], 0.0
    for row in rows:
        cells, line = ["not reached", "", "", ""], f"- {row.stage}, {row.what}: {row.count:,} x "
        if row.each is None or row.total is None:
            line += "? (not reached)"
        else:
            speed = row.flops / row.each / 1e12
            cells = [f"{row.calls:,}", f"{row.seconds:.1f}", f"{1e3 * row.each:.3f}", f"{speed:.2f}" if speed else ""]
            line += f"{1e3 * row.each:.3f} ms = {hours(row.total)}"
            known += row.total
        measured.append([row.stage, row.what, *cells])
        lines.append(line)
    whole = f"{hours(known)}; {units:g} one after the other: {hours(units * known)}"
    if any(row.total is None for row in rows):
        whole = f"more than {hours(known)}; the slice did not reach every part"
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
            *lines,
            f"- a unit: {whole}",
            "",
        ]
    )
