"""Trains the behaviour policies behind `self:` datasets: SAC from scratch, a ladder of snapshots (D4RL's recipe).

    python -m moore.run.behaviours halfcheetah --medium-score 41 --max-steps 1000000

D4RL's medium sets come from a SAC policy stopped early and its medium-replay sets from what that SAC saw until then
(D4RL, arXiv 2004.07219). Training that goes on past medium gives expert, medium-expert and full-replay, too: the expert
is the snapshot with the highest score. Interrupted, the same command continues from its checkpoint.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from moore.agents.actor_critic import Setup
from moore.agents.sac import SAC, SACConfig
from moore.algorithm.evaluation import Evaluator
from moore.algorithm.replay import RealBuffer
from moore.base.errors import UserError
from moore.base.lock import locked
from moore.data.behaviours import BEHAVIOURS_DIR, Behaviours, kept_snapshots, save_behaviours
from moore.data.scores import normalized_score
from moore.envs.spec import check_physics, find_spec
from moore.envs.vector_env import make_env
from moore.networks.batch import Batch
from moore.networks.random import Streams, derive_seed, scale_to_index
from moore.run.checkpoints import Checkpoints
from moore.run.facts import environment_facts
from moore.run.stop import STOPPED, SafePoints, Stopped, StopRequest

MAX_STEPS = 1_000_000  # size of the replay buffer and end of the attempt
CHECKPOINT_SECONDS = 30.0  # between two checkpoints, or more; see SafePoints
LOWEST = {
    "seed": 0,
    "exploration_steps": 0,
    "updates_per_step": 1,
    "snapshot_interval": 1,
    "episodes": 1,
    "ladder_size": 2,  # the first snapshot and medium
}


@dataclass(frozen=True)
class BehaviourConfig:
    """How one behaviour ladder is trained."""

    env: tyro.conf.Positional[str]  # one of moore.envs.spec.ENVIRONMENTS, e.g. hopper
    medium_score: float  # the first snapshot whose stochastic policy reaches this normalised score is `medium`
    max_steps: int = 0  # go on past medium to this many environment steps, for an expert; 0: stop at medium
    physics: str | None = None  # None: D4RL's where the environment has it
    seed: int = 0  # of networks, environment, exploration and evaluation
    exploration_steps: int = 1000  # uniform actions first
    updates_per_step: int = 1  # SAC updates for each environment step
    snapshot_interval: int = 5000  # environment steps
    episodes: int = 10  # played by each snapshot for its score
    ladder_size: int = 20  # snapshots kept up to medium, and as many after it
    sac: SACConfig = field(default_factory=lambda: SACConfig(hidden=(128, 128)))
    checkpoint: Path = Path("runs/behaviours")  # folder of the resumable state
    out: Path = BEHAVIOURS_DIR  # folder of the finished ladder


class BehaviourTraining:
    """SAC with one environment, one update a step, and its ladder of snapshots."""

    def __init__(self, config: BehaviourConfig) -> None:
        check_config(config)
        spec = find_spec(config.env)
        self.config, self.seeds, self.step = config, [config.seed], 0
        self.agent = SAC(config.sac, Setup(spec.obs_dim, spec.action_dim, self.seeds))
        physics = config.physics or spec.default_physics
        self.env = make_env(config.env, [derive_seed(config.seed, "environment")], physics)
        self.buffer = RealBuffer([], [None], spec.obs_dim, spec.action_dim, MAX_STEPS)
        self.streams = {name: Streams(self.seeds, name) for name in ("exploration", "policy", "minibatch", "update")}
        self.evaluator = Evaluator(config.env, physics, self.seeds, config.episodes)
        self.ladder: list[dict[str, Any]] = []
        self.wall_seconds = 0.0
        facts = environment_facts()  # of the code that trains, whatever happens to the checkout meanwhile
        self.git_commits = [facts["git_commit"]]
        self.facts = {key: facts[key] for key in ("packages", "machine")}
        self.obs = self.env.reset()

    def train_step(self) -> None:
        """Make one environment step and its updates."""
        config, spec = self.config, self.env.spec
        if self.step < config.exploration_steps:
            action = 2 * self.streams["exploration"].uniform(1, spec.action_dim).float() - 1
        else:
            noise = self.streams["policy"].normal(1, spec.action_dim)
            action = self.agent.act(torch.as_tensor(self.obs, dtype=torch.float32)[:, None], noise)
        next_obs, reward, terminated, truncated = self.env.step(action[:, 0].numpy())
        as_float = lambda x: torch.as_tensor(x, dtype=torch.float32)  # noqa: E731
        self.buffer.append(
            Batch(as_float(self.obs), action[:, 0], as_float(reward), as_float(next_obs), as_float(terminated))
        )
        self.obs = self.env.reset() if terminated[0] or truncated[0] else next_obs
        self.step += 1
        if self.step >= config.exploration_steps:
            for _ in range(config.updates_per_step):
                uniform = self.streams["minibatch"].uniform(config.sac.batch_size)
                index = scale_to_index(uniform, self.buffer.online_size)
                size = (self.agent.noise_blocks, config.sac.batch_size, spec.action_dim)
                noise = self.streams["update"].normal(*size).transpose(0, 1)
                self.agent.update(self.buffer.gather(index + self.buffer.online_start[:, None]), noise)

    def snapshot(self) -> dict[str, Any]:
        """Evaluate the stochastic policy, which is what generates data, and add it to the ladder."""
        count = len(self.ladder)
        noise = Streams(self.seeds, "evaluation", count)
        returns = self.evaluator.returns(
            lambda obs: self.agent.act(obs, noise.normal(obs.shape[1], self.env.spec.action_dim)), "behaviour", count
        )
        mean = float(returns.mean())
        entry = {
            "env_steps": self.step,
            "return": mean,
            "score": float(normalized_score(self.config.env, mean)),
            "alpha": float(self.agent.log_alpha.exp()),
            "params": self.agent.actor_params[0].detach().clone(),
        }
        self.ladder.append(entry)
        return entry

    def state(self) -> dict[str, Any]:
        """Collect everything that a continuation needs."""
        return {
            "agent": self.agent.state(),
            "env": self.env.state_dict(),
            "buffer": self.buffer.state(),
            "streams": {name: stream.state() for name, stream in self.streams.items()},
            "obs": torch.from_numpy(self.obs),
            "ladder": self.ladder,
            "step": self.step,
            "wall_seconds": self.wall_seconds,
            "settings": settings(self.config),
            "git_commits": self.git_commits,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.agent.load(state["agent"])
        self.env.load_state_dict(state["env"])
        self.buffer.load(state["buffer"])
        for name, stream in self.streams.items():
            stream.load(state["streams"][name])
        self.obs, self.ladder, self.step = state["obs"].numpy(), state["ladder"], state["step"]
        self.wall_seconds = state["wall_seconds"]
        self.git_commits = list(dict.fromkeys([*state["git_commits"], *self.git_commits]))


def settings(config: BehaviourConfig) -> dict[str, Any]:
    """List the settings that a continuation must not change: all but its end, what counts as medium, and folders."""
    free = ("medium_score", "max_steps", "ladder_size", "checkpoint", "out")
    return {key: value for key, value in json.loads(json.dumps(asdict(config), default=str)).items() if key not in free}


def train(config: BehaviourConfig, stop: StopRequest | None = None) -> BehaviourTraining:
    """Train until the medium snapshot and to max_steps, from the last checkpoint if there is one.

    Raises Stopped, with a checkpoint, when `stop` was told; UserError where another process trains the same ladder.
    """
    training = BehaviourTraining(config)
    path = config.checkpoint / f"{config.env}-seed{config.seed}.pt"
    with locked(path.with_suffix(".lock"), f"{path}"):
        checkpoints = Checkpoints(path, "cpu", _warn)
        saved = checkpoints.load(lambda state: _check_settings(path, state["settings"], settings(config)))
        if saved:
            training.load(saved)
        started = time.monotonic() - training.wall_seconds

        def save() -> None:
            training.wall_seconds = time.monotonic() - started
            checkpoints.save(training.state())

        request = stop or StopRequest()
        safe_point = SafePoints(save, request, CHECKPOINT_SECONDS)
        with request.deferred():
            while medium_index(training) is None or training.step < config.max_steps:
                if training.step == MAX_STEPS:
                    raise UserError(
                        f"{config.env}: no snapshot reached --medium-score {config.medium_score} in {MAX_STEPS} steps"
                    )
                training.train_step()
                if training.step % config.snapshot_interval == 0:
                    entry = training.snapshot()
                    print(
                        f"{config.env} {training.step} steps, {time.monotonic() - started:.0f} s: return"
                        f" {entry['return']:.1f}, score {entry['score']:.1f}, alpha {entry['alpha']:.4f}",
                        flush=True,
                    )
                safe_point()
            safe_point.save()  # the ladder may be gone on with, to more steps
    return training


def _warn(text: str) -> None:
    print(f"moore.run.behaviours: warning: {text}", file=sys.stderr, flush=True)


def _check_settings(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    for key in here:
        if there[key] != here[key]:
            raise UserError(
                f"{path}: {key} is {there[key]} there and {here[key]} here; accepted: the same, or another folder in"
                " --checkpoint"
            )


def check_config(config: BehaviourConfig) -> None:
    """Raise UserError for a setting that no training can have."""
    spec = find_spec(config.env)
    check_physics(spec, config.physics or spec.default_physics)
    for key, lowest in LOWEST.items():
        if getattr(config, key) < lowest:
            raise UserError(f"--{key.replace('_', '-')} is {getattr(config, key)}; accepted: {lowest} or more")
    if not 0 <= config.max_steps <= MAX_STEPS:
        raise UserError(f"--max-steps is {config.max_steps}; accepted: 0 to {MAX_STEPS}, the replay buffer's size")


def medium_index(training: BehaviourTraining) -> int | None:
    """Find the position in the ladder of the first snapshot at the medium score, if there is one yet."""
    return next((i for i, e in enumerate(training.ladder) if e["score"] >= training.config.medium_score), None)


def expert_index(training: BehaviourTraining) -> int | None:
    """Find the position in the ladder of the highest score; None unless training went on past medium."""
    medium, scores = medium_index(training), [e["score"] for e in training.ladder]
    return None if medium is None or medium == len(scores) - 1 else int(np.argmax(scores))


def command(config: BehaviourConfig) -> str:
    """Write the shell command that repeats a training, with every setting that is not a default."""
    words = ["python -m moore.run.behaviours", config.env, f"--medium-score {config.medium_score}"]
    for prefix, given, default in (
        ("--", config, BehaviourConfig(config.env, config.medium_score)),
        ("--sac.", config.sac, BehaviourConfig(config.env, config.medium_score).sac),
    ):
        for item in fields(given):
            value = getattr(given, item.name)
            if item.name not in ("sac", "checkpoint", "out") and value != getattr(default, item.name):
                name = item.name.replace("_", "-")
                if isinstance(value, bool):
                    words.append(f"{prefix}{name}" if value else f"{prefix}no-{name}")
                else:
                    text = " ".join(map(str, value)) if isinstance(value, tuple) else value
                    words.append(f"{prefix}{name} {text}")
    return " ".join(words)


def export(training: BehaviourTraining) -> None:
    """Write the thinned ladder with its provenance."""
    config, ladder = training.config, training.ladder
    medium, expert = medium_index(training), expert_index(training)
    assert medium is not None
    kept = kept_snapshots(len(ladder), medium, expert, config.ladder_size)
    provenance = {
        "command": command(config),
        "config": json.loads(json.dumps(asdict(config) | {"checkpoint": None, "out": None})),
        "git_commit": ", ".join(training.git_commits),
        **training.facts,
        "wall_seconds": round(training.wall_seconds, 1),
        "physics": config.physics or find_spec(config.env).default_physics,
        "random_steps": config.exploration_steps,
        "curve": [[e["env_steps"], round(e["return"], 2), round(e["score"], 2)] for e in ladder],
        "medium": kept.index(medium),
    }
    if expert is not None:
        provenance["expert"] = kept.index(expert)
    params = np.stack([ladder[i]["params"].numpy() for i in kept])
    steps, returns, scores = (np.array([ladder[i][key] for i in kept]) for key in ("env_steps", "return", "score"))
    save_behaviours(Behaviours(config.env, params, config.sac.hidden, steps, returns, scores, provenance), config.out)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        config = tyro.cli(BehaviourConfig, prog="python -m moore.run.behaviours", description=__doc__, args=arguments)
        torch.set_num_threads(1)
        with StopRequest().listening() as stop:
            export(train(config, stop))
    except UserError as error:
        print(f"moore.run.behaviours: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"moore.run.behaviours: {stopped.reason}; the same command goes on", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
