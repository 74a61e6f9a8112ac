"""Speed of the hot paths, each beside the matmul peak measured in the same process (`make bench`).

    OMP_NUM_THREADS=2 python -m tests.benchmarks.speed --out tests/benchmarks/results

Arithmetic counts matrix products only (2 x in x out a row and layer; a backward pass through weights costs twice its
forward pass). Wall and processor time are both given: other jobs on the machine distort the former.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from moore.dynamics import DynamicsConfig, Ensemble
from moore.envs import ENVIRONMENTS, make_env, terminated_fn
from moore.nets import MLP
from moore.replay import Batch, ModelBuffer
from moore.rng import Streams
from moore.rollout import rollout
from moore.sac import SAC, SACConfig
from tests.benchmarks.report import report_facts, write_report

OBS_DIM, ACTION_DIM, BATCH = 17, 6, 256  # halfcheetah
MATMUL = 2048


@dataclass(frozen=True)
class Timing:
    """Best of several repetitions: wall seconds of a call, and processor seconds of that same call."""

    wall: float
    cpu: float


def measure(call: Callable[[], object], seconds: float) -> Timing:
    """Time a call for about `seconds`, after one warm-up call; the minimum is the least disturbed measurement."""
    call()
    timings: list[Timing] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(timings) < 3:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        timings.append(Timing(time.perf_counter() - wall, time.process_time() - cpu))
    return min(timings, key=lambda t: t.wall)


def weights(net: MLP) -> int:
    """Entries of a network's weight matrices: half the arithmetic of a row's forward pass."""
    return sum(n_in * n_out for n_in, n_out in net.shapes)


def batch(runs: int, rows: int) -> Batch:
    """Random transitions [runs, rows]."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(runs, rows, *shape, generator=generator)  # noqa: E731
    return Batch(draw(OBS_DIM), draw(ACTION_DIM).tanh(), draw(), draw(OBS_DIM), torch.zeros(runs, rows))


def peak(seconds: float) -> float:
    """Floating-point operations a second of a large float32 matrix product."""
    a, b = torch.randn(MATMUL, MATMUL), torch.randn(MATMUL, MATMUL)
    return 2 * MATMUL**3 / measure(lambda: a @ b, seconds).wall


def sac(runs: int, width: int, seconds: float) -> tuple[float, float, Timing]:
    """(run-updates, operations, timing) of one SAC update."""
    agent = SAC(SACConfig(hidden=(width, width)), OBS_DIM, ACTION_DIM, range(runs))
    data, noise = batch(runs, BATCH), torch.randn(2, runs, BATCH, ACTION_DIM)
    actor, critic = weights(agent.actor), 2 * weights(agent.critic)
    # target: actor, critics; critic loss: forward and backward; actor loss: actor forward and backward, critics
    # forward and backward to the action
    products = (actor + critic) + 3 * critic + 3 * actor + 2 * critic
    return runs, 2.0 * runs * BATCH * products, measure(lambda: agent.update(data, noise), seconds)


def ensemble(runs: int, width: int, seconds: float) -> tuple[float, float, Timing]:
    """(transitions over all members, operations, timing) of one ensemble update."""
    model = Ensemble(DynamicsConfig(hidden=(width,) * 4), OBS_DIM, ACTION_DIM, range(runs))
    data = batch(runs, model.config.ensemble_size * BATCH)
    active = [True] * runs
    rows = runs * model.config.ensemble_size * BATCH
    return rows, 6.0 * rows * weights(model.net), measure(lambda: model._update(data, active), seconds)


def imagination(runs: int, width: int, seconds: float) -> tuple[float, float, Timing]:
    """(imagined transitions, operations, timing) of one rollout of 400 branches and 5 steps."""
    seeds, starts, length = range(runs), 400, 5
    model = Ensemble(DynamicsConfig(hidden=(width,) * 4), OBS_DIM, ACTION_DIM, seeds)
    agent = SAC(SACConfig(hidden=(width, width)), OBS_DIM, ACTION_DIM, seeds)
    buffer = ModelBuffer(runs, length * starts, OBS_DIM, ACTION_DIM)
    streams, coef, kinds = Streams(seeds, "rollout"), torch.ones(runs), ["max_std"] * runs
    start, never = batch(runs, starts).obs, terminated_fn("halfcheetah")
    rows = runs * starts * length
    operations = 2.0 * rows * (weights(agent.actor) + model.config.ensemble_size * weights(model.net))
    call = lambda: rollout(model, agent, start, length, never, kinds, coef, streams, buffer)  # noqa: E731
    return rows, operations, measure(call, seconds)


def environment(name: str, sims: int, seconds: float) -> tuple[float, Timing]:
    """(environment steps, timing) of 50 steps of `sims` simulations with random actions, resets included."""
    env = make_env(name, list(range(sims)), ENVIRONMENTS[name].physics[-1])
    env.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (50, sims, env.spec.action_dim))

    def call() -> None:
        for action in actions:
            _, _, terminated, truncated = env.step(action)
            ended = np.flatnonzero(terminated | truncated)
            if len(ended):
                env.reset(ended)

    return 50 * sims, measure(call, seconds)


def measurements(seconds: float, runs: tuple[int, ...], widths: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """One row for each measurement."""
    for label, unit, function in (
        ("SAC update", "run-updates/s", sac),
        ("ensemble training", "transitions/s", ensemble),
        ("rollout", "transitions/s", imagination),
    ):
        for width in widths:
            for count in runs:
                limit = peak(seconds / 2)  # measured beside each figure: a shared machine drifts
                amount, operations, timing = function(count, width, seconds)
                yield {
                    "what": label,
                    "R": count,
                    "width": width,
                    "rate": amount / timing.wall,
                    "unit": unit,
                    "peak_share": operations / timing.wall / limit,
                    "gflops": operations / timing.wall / 1e9,
                    "peak_gflops": limit / 1e9,
                    "cpu_per_wall": timing.cpu / timing.wall,
                }
    for name in ENVIRONMENTS:
        for sims in (*runs, 64):
            amount, timing = environment(name, sims, seconds)
            yield {
                "what": f"{name} steps",
                "R": sims,
                "rate": amount / timing.wall,
                "unit": "steps/s",
                "cpu_per_wall": timing.cpu / timing.wall,
            }


def markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The report as a table."""
    lines = [
        f"# Speed on {facts['machine']}, {facts['threads']} threads",
        "",
        f"{facts['date']}, load {facts['load_before']:.1f} before and {facts['load_after']:.1f} after, torch "
        f"{facts['packages']['torch']}, Python {facts['python']}, commit {facts['git_commit'][:10]}. float32, batch "
        f"{BATCH}; share of the machine's own matmul peak, measured beside each figure.",
        "",
        "| what | R | width | rate | unit | share of peak | CPU/wall |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = f"{100 * row['peak_share']:.0f} %" if "peak_share" in row else ""
        lines.append(
            f"| {row['what']} | {row['R']} | {row.get('width', '')} | {row['rate']:,.0f} | {row['unit']} | {share} | "
            f"{row['cpu_per_wall']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main(
    out: Path | None = None,
    seconds: float = 2.0,
    runs: tuple[int, ...] = (1, 8, 32),
    widths: tuple[int, ...] = (64, 256),
) -> None:
    """Print the report; with --out, write speed.md and speed.json there."""
    load = os.getloadavg()[0]
    rows = []
    for row in measurements(seconds, runs, widths):
        print(
            f"{row['what']:>32} R={row['R']:<3} width={row.get('width', '-'):<4} {row['rate']:>12,.0f} {row['unit']}"
            + (f"  {100 * row['peak_share']:.0f} % of peak" if "peak_share" in row else ""),
            flush=True,
        )
        rows.append(row)
    facts = report_facts(load, threads=torch.get_num_threads())
    write_report(out, "speed", facts, rows, markdown(facts, rows))


if __name__ == "__main__":
    tyro.cli(main)
