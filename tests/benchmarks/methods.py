"""Speed of every method's update beside SAC's own (`make bench`), and how much arithmetic explains the difference.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.methods --out tests/benchmarks/results

Both ratios are to SAC at the same R: of the time of an update, and of its arithmetic (matrix products only, counted
as in tests/benchmarks/speed.py). A method whose time ratio far exceeds its arithmetic ratio is slow for another reason.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml

from moore.agents import Agent, make_agent
from moore.axes import merge
from moore.baselines.balanced_replay import BalancedReplay
from moore.baselines.cql import CQL
from moore.baselines.iql import IQL
from moore.config import RunConfig, from_mapping
from moore.replay import Batch, BatchWithReturns
from moore.study import METHODS
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.speed import ACTION_DIM, BATCH, OBS_DIM, measure, weights

# name in methods.yaml and stage; MOORe's relatives share SAC's update
CASES = (
    ("sac", "online"),
    ("awac", "online"),
    ("iql", "online"),
    ("td3_bc", "online"),
    ("cql_sac", "offline"),
    ("cal_ql", "online"),
    ("rlpd", "online"),
    ("wsrl", "offline"),
    ("wsrl", "online"),
    ("balanced_replay", "offline"),
    ("balanced_replay", "online"),
)


def configuration(method: str, width: int) -> RunConfig:
    """The method's own settings with networks of one width."""
    known = yaml.safe_load(METHODS.read_text())[method]
    values = {key: value for key, value in known.items() if key not in ("online", "offline", "dataset")}
    dataset = {"env": "halfcheetah", "dataset": "self:halfcheetah-medium"}
    return from_mapping(merge(values, {"sac": {"hidden": [width, width], "batch_size": BATCH}, **dataset}), method)


def products(agent: Agent, config: RunConfig, stage: str) -> float:
    """Entries of weight matrices that one row of a minibatch passes, a backward pass through weights counting twice."""
    if isinstance(agent, BalancedReplay):
        members = agent.num_agents
        if stage == "offline":
            return members * products(agent.agents, config, stage)
        actor, critic = weights(agent.agents.actor), 2 * weights(agent.agents.critic)
        return members * (4 * actor + 6 * critic)
    actor, critics = weights(agent.actor), config.sac.num_critics * weights(agent.critic)
    if config.algorithm == "awac":  # target, critics, value of the policy, advantage, actor
        return (actor + critics) + 3 * critics + (actor + critics) + critics + 3 * actor
    if isinstance(agent, IQL):  # target critics, value twice and of the next state, actor, critics
        return critics + 5 * weights(agent.value) + 3 * actor + 3 * critics
    if config.algorithm == "td3_bc":  # the actor's loss needs one critic
        return (actor + critics) + 3 * critics + 3 * actor + 2 * weights(agent.critic)
    plain = 4 * actor + 6 * critics
    if isinstance(agent, CQL) and agent.coef:
        n = config.cql.num_actions
        return plain + 2 * n * actor + 3 * 3 * n * critics
    return plain


def row(method: str, stage: str, runs: int, width: int, seconds: float) -> dict[str, Any]:
    """Rate and arithmetic of one method's update."""
    config = configuration(method, width)
    agent = make_agent(config, range(runs), stage)
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(runs, agent.batch_size, *shape, generator=generator)  # noqa: E731
    plain = Batch(draw(OBS_DIM), draw(ACTION_DIM).tanh(), draw(), draw(OBS_DIM), torch.zeros(runs, agent.batch_size))
    batch = BatchWithReturns(*plain, draw()) if config.reads_returns else plain
    noise = torch.randn(agent.noise_blocks, runs, agent.batch_size, ACTION_DIM, generator=generator)
    timing = measure(lambda: agent.update(batch, noise), seconds)
    work = 2.0 * runs * BATCH * products(agent, config, stage)
    return {
        "method": method,
        "stage": stage,
        "R": runs,
        "rate": runs / timing.wall,
        "work": work / runs,
        **vars(timing),
    }


def main(out: Path | None = None, seconds: float = 2.0, runs: tuple[int, ...] = (1, 8), width: int = 256) -> None:
    """Print the table; with --out, write methods.md and methods.json there."""
    load = os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    for count in runs:
        for method, stage in CASES:
            measured = row(method, stage, count, width, seconds)
            reference = next((r for r in rows if r["R"] == count), measured)
            measured |= {
                "time_ratio": reference["rate"] / measured["rate"],
                "work_ratio": measured["work"] / reference["work"],
            }
            rows.append(measured)
            print(
                f"{method:>16} {stage:<8} R={count:<3} {measured['rate']:>9,.1f} run-updates/s, time x "
                f"{measured['time_ratio']:.1f}, arithmetic x {measured['work_ratio']:.1f}",
                flush=True,
            )
    facts = report_facts(load, threads=torch.get_num_threads())
    lines = [
        f"# Updates of every method on {facts['machine']}, {facts['threads']} threads",
        "",
        f"{facts['date']}, load {load:.1f} before and {facts['load_after']:.1f} after, torch "
        f"{facts['packages']['torch']}, commit {facts['git_commit'][:10]}. halfcheetah's sizes, width {width}, batch "
        f"{BATCH}, the methods' own settings at paper scale; times and arithmetic relative to SAC at the same R.",
        "",
        "| method | stage | R | run-updates/s | time | arithmetic |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['method']} | {r['stage']} | {r['R']} | {r['rate']:,.1f} | {r['time_ratio']:.1f} | "
            f"{r['work_ratio']:.1f} |"
            for r in rows
        ),
    ]
    write_report(out, "methods", facts, rows, "\n".join(lines) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
