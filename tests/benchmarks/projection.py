"""From the measured parts of a slice to the hours of MOORe's whole column at the paper's scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from moore.agents.balanced_replay import BalancedReplay
from moore.agents.registry import make_agent
from moore.algorithm.config import RunConfig
from moore.algorithm.dynamics import Ensemble
from moore.base.machine import short
from moore.base.words import duration
from moore.cli.options import find_study
from moore.envs.spec import find_spec
from moore.studies.estimate import counts
from tests.benchmarks.arithmetic import actor_row, forward, rollout_row, training, update_row
from tests.benchmarks.report import table

Part = tuple[str, str]  # (stage, what) of `moore.studies.estimate.counts`


@dataclass(frozen=True)
class Projected:
    """One part: what was measured, of all runs of the process together, and how often the paper's scale does it."""

    stage: str
    what: str
    calls: int  # measured
    seconds: float  # measured
    flops: float  # of one call, all runs: matrix products
    count: int  # calls of a cohort at the paper's scale

    @property
    def each(self) -> float | None:
        """Seconds of a call; None where the slice did not come so far."""
        return self.seconds / self.calls if self.calls else None

    @property
    def total(self) -> float | None:
        """Seconds of a cohort at the paper's scale."""
        return None if self.each is None else self.each * self.count


def projection(
    configs: Sequence[RunConfig], seconds: Mapping[Part, float], calls: Mapping[Part, int]
) -> list[Projected]:
    """Every part of a cohort of these runs, with the paper scale's number of calls."""
    flops = {stage: part_flops(configs[0], stage) for stage in ("offline", "online")}
    return [
        Projected(
            stage,
            what,
            calls.get((stage, what), 0),
            seconds.get((stage, what), 0.0),
            len(configs) * flops[stage][what],
            count,
        )
        for (stage, what), count in counts(_paper(configs[0])).items()
    ]


def part_flops(config: RunConfig, stage: str) -> dict[str, float]:
    """Floating-point operations of one call of a part, in one run: matrix products alone, counted from the shapes."""
    spec, agent = find_spec(config.env), make_agent(config, [0], stage)
    policy = (
        agent.num_agents * forward(agent.agents.actor) if isinstance(agent, BalancedReplay) else forward(agent.actor)
    )
    interval, row = config.actor_interval(stage), float(update_row(agent, config))
    if interval > 1:
        row -= actor_row(agent, config) * (1 - 1 / interval)
    found: dict[str, float] = {
        "policy updates": config.sac.batch_size * row,
        "environment steps": policy,
        "evaluation steps": policy,
    }
    if config.uses_model:
        model, length = Ensemble(config.dynamics, spec.obs_dim, spec.action_dim, [0]), config.rollout.length
        if stage == "online" and config.online.rollout_length is not None:
            length = config.online.rollout_length
        members = config.dynamics.ensemble_size * config.dynamics.batch_size
        found["ensemble updates"] = members * training(model.net)
        found["rollouts"] = config.rollout.batch_size * length * rollout_row(agent, model)
    return {part: float(count) for part, count in found.items()}


@cache
def column() -> tuple[RunConfig, ...]:
    """MOORe's runs in the main table at the paper's scale."""
    return tuple(run for run in find_study("main_table", "paper").runs if run.method == "moore")


def markdown(facts: Mapping[str, Any], rows: Sequence[Projected]) -> str:
    """The report: what was measured, peak memory, and the projection line by line."""
    runs, memory = facts["size"]["runs"], facts["memory"]
    cohorts = len(column()) / runs
    changed = {key: value for key, value in facts["size"].items() if value != facts["full"][key]}
    device = facts.get("gpu", {}).get("name", facts["machine"]) if facts["device"] == "cuda" else facts["machine"]
    held = ", ".join(f"{key} {value / 2**30:.2f} GiB" for key, value in memory.items())
    lines = [
        f"# A slice of the paper's scale on {device}",
        "",
        f"{facts['date']}, {facts['minutes']:.1f} minutes, {facts['threads']} threads, load {facts['load_before']:.1f} "
        f"before, torch {facts['packages']['torch']}, precision "
        f"{facts['size']['precision']}, commit {short(facts['git_commit'])}. {runs} runs of MOORe (halfcheetah) in one "
        f"process; random data, on which every training of the ensemble goes to its cap.",
        "",
        "All shapes are the paper scale's."
        if not changed
        else f"Not the paper scale's slice: {', '.join(f'{k} {v}' for k, v in changed.items())}.",
        "",
        f"Peak memory: {held}.",
        "",
        *table(
            ("stage", "part", "calls", "time (s)", "each (ms)", "TFLOP/s"),
            [
                (
                    row.stage,
                    row.what,
                    f"{row.calls:,}" if row.calls else "not reached",
                    f"{row.seconds:.1f}",
                    "" if row.each is None else f"{1e3 * row.each:.3f}",
                    f"{row.flops / row.each / 1e12:.2f}" if row.each else "",
                )
                for row in rows
            ],
            words=2,
        ),
        "",
        f"## Projection: {len(column())} runs of MOORe, {cohorts:g} cohorts of {runs}, all priced as halfcheetah",
        "",
        *(
            f"- {row.stage}, {row.what}: {row.count:,} x "
            + (f"{1e3 * row.each:.3f} ms = {duration(row.total)}" if row.each and row.total else "? (not reached)")
            for row in rows
        ),
    ]
    totals = [row.total for row in rows]
    known = sum(total for total in totals if total is not None)
    if None in totals:
        lines.append(f"- a cohort: more than {duration(known)}; the slice did not reach every part")
    else:
        lines.append(f"- a cohort: {duration(known)}; {cohorts:g} one after the other: {duration(cohorts * known)}")
    return "\n".join(lines) + "\n"


def _paper(config: RunConfig) -> RunConfig:
    """The configuration with the paper scale's numbers of calls; its shapes stay."""
    paper = column()[0]
    dynamics = replace(
        config.dynamics,
        offline_max_updates=paper.dynamics.offline_max_updates,
        online_max_updates=paper.dynamics.online_max_updates,
    )
    return replace(
        config, dynamics=dynamics, offline=paper.offline, online=paper.online, eval_episodes=paper.eval_episodes
    )
