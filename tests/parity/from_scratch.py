"""SAC from scratch by other people, Stable-Baselines3, in the budget of scale `mini`: an independent yardstick.

    pip install stable-baselines3
    python -m tests.parity.from_scratch                                           # with its own defaults
    python -m tests.parity.from_scratch --like-ours --out build/sb3-sac-ours.csv  # with our tuned settings

The file is one that `moore import` reads. Scores are normalised as ours, of ten deterministic episodes of environments
of their own, every 250 steps.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro

from moore.cli.options import find_study
from moore.envs.spec import find_spec


@dataclass(frozen=True)
class Options:
    """What is trained, and where the curves go."""

    out: Path = Path("build/sb3-sac.csv")
    tasks: tuple[str, ...] = (
        "self:pendulum-low",
        "self:inverted_double_pendulum-medium",
    )  # only the environment counts
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 5000
    eval_interval: int = 250
    episodes: int = 10
    like_ours: bool = False  # network, rates and updates a step of `sac` at mini; one rate, the critics', for all


def main(options: Options) -> None:
    """Train every seed on every task; print the mean of each one's last five evaluations."""
    torch.set_num_threads(1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("method", "task", "seed", "step", "score"))
        for task in options.tasks:
            env = task.split(":")[1].rsplit("-", 1)[0]
            for seed in options.seeds:
                curve = list(scores(env, seed, options))
                table.writerows(("sac", task, seed, step, f"{score:.3f}") for step, score in curve)
                file.flush()
                print(f"{env} seed {seed}: {np.mean([score for _, score in curve[-5:]]):.1f}", flush=True)


def scores(env: str, seed: int, options: Options) -> Iterator[tuple[int, float]]:
    """Train one run; yield (environment steps, normalised score)."""
    from stable_baselines3 import SAC
    from stable_baselines3.common.evaluation import evaluate_policy

    spec, settings = find_spec(env), dict[str, Any]()
    if options.like_ours:
        run = next(run for run in find_study("all-methods", "mini").runs if (run.method, run.env) == ("sac", env))
        settings = {
            "learning_rate": run.agent.critic_lr,
            "batch_size": run.agent.batch_size,
            "tau": run.agent.tau,
            "gamma": run.agent.gamma,
            "gradient_steps": run.online.utd_ratio,
            "learning_starts": run.online.exploration_steps,
            "policy_kwargs": {"net_arch": list(run.agent.hidden)},
        }
    model = SAC("MlpPolicy", gymnasium.make(spec.gym_id), seed=seed, device="cpu", **settings)
    played = gymnasium.make(spec.gym_id)
    played.reset(seed=1000 + seed)
    low, high = spec.reference_scores
    for step in range(options.eval_interval, options.steps + 1, options.eval_interval):
        model.learn(options.eval_interval, reset_num_timesteps=False)
        score, _ = evaluate_policy(model, played, options.episodes, warn=False)
        yield step, 100 * (float(score) - low) / (high - low)


if __name__ == "__main__":
    main(tyro.cli(Options))
