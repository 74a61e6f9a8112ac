"""SAC and MBPO from scratch by other people in the budget of scale `mini`: independent yardsticks.

    pip install stable-baselines3
    python -m tests.parity.from_scratch                                           # SAC with its own defaults
    python -m tests.parity.from_scratch --like-ours --out build/sb3-sac-ours.csv  # with our tuned settings
    pip install --no-deps mbrl==0.2.0
    pip install hydra-core omegaconf termcolor tensorboard imageio sk-video
    python -m tests.parity.from_scratch --method mbpo --out build/mbrl-mbpo.csv   # settings: its inverted pendulum's

The file is one that `moore import` reads. Scores are normalised as ours, of ten deterministic episodes of environments
of their own, every 250 steps.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
import tyro

from moore.cli.options import find_study
from moore.envs.env_spec import EnvSpec
from moore.envs.spec import find_spec


@dataclass(frozen=True)
class Options:
    """What is trained, and where the curves go."""

    method: Literal["sac", "mbpo"] = "sac"
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
    exploration_steps: int | None = None  # MBPO's, beside its own 5000 before the first of `steps`


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
                curve = list((sac if options.method == "sac" else mbpo)(env, seed, options))
                table.writerows((options.method, task, seed, step, f"{score:.3f}") for step, score in curve)
                file.flush()
                print(f"{env} seed {seed}: {np.mean([score for _, score in curve[-5:]]):.1f}", flush=True)


def sac(env: str, seed: int, options: Options) -> Iterator[tuple[int, float]]:
    """Train Stable-Baselines3's SAC once; yield (environment steps, normalised score)."""
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
    for step in range(options.eval_interval, options.steps + 1, options.eval_interval):
        model.learn(options.eval_interval, reset_num_timesteps=False)
        score, _ = evaluate_policy(model, played, options.episodes, warn=False)
        yield step, normalised(spec, float(score))


def mbpo(env: str, seed: int, options: Options) -> Iterator[tuple[int, float]]:
    """Train mbrl-lib's MBPO once, with its configuration of the inverted pendulum; yield (steps, normalised score).

    Steps count its exploration, which goes before the first of them.
    """
    import mbrl.algorithms.mbpo
    from omegaconf import OmegaConf

    spec = find_spec(env)
    folder = Path(mbrl.__file__).parent / "examples/conf"
    trained, played = gymnasium.make(spec.gym_id), gymnasium.make(spec.gym_id)
    high = spec.action_high
    box = {"_target_": "gymnasium.spaces.Box", "_convert_": "all", "low": -high, "high": high}  # was written for gym
    config = OmegaConf.merge(
        {"dynamics_model": OmegaConf.load(folder / "dynamics_model/gaussian_mlp_ensemble.yaml")},
        {"algorithm": OmegaConf.load(folder / "algorithm/mbpo.yaml")},
        {"overrides": OmegaConf.load(folder / "overrides/mbpo_inv_pendulum.yaml")},
        {"dynamics_model": {"_recursive_": False}},  # it makes its layers of activation_fn_cfg itself
        {"seed": seed, "device": "cpu", "log_frequency_agent": 10**9},
        {"overrides": {"num_steps": options.steps, "epoch_length": options.eval_interval}},
        {"algorithm": {"num_eval_episodes": options.episodes, "agent": {"action_space": box}}},
    )
    if options.exploration_steps is not None:
        config.algorithm.initial_exploration_steps = options.exploration_steps
    explored = config.algorithm.initial_exploration_steps
    torch.manual_seed(seed)
    trained.reset(seed=seed)
    played.reset(seed=1000 + seed)

    def terminated(_: torch.Tensor, next_obs: torch.Tensor) -> torch.Tensor:
        return spec.terminated(next_obs)[:, None]

    with TemporaryDirectory() as folder_of_run:
        mbrl.algorithms.mbpo.train(trained, played, terminated, config, work_dir=folder_of_run)
        with (Path(folder_of_run) / "results.csv").open() as file:
            for row in csv.DictReader(file):
                yield explored + int(float(row["env_step"])) + 1, normalised(spec, float(row["episode_reward"]))


def normalised(spec: EnvSpec, episode_return: float) -> float:
    """Return 0 for the return of random actions, 100 for the reference's."""
    low, high = spec.reference_scores or (0, 100)
    return 100 * (episode_return - low) / (high - low)


if __name__ == "__main__":
    main(tyro.cli(Options))
