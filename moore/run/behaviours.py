"""Trains the behaviour policies behind `self:` datasets: SAC from scratch, a ladder of snapshots (D4RL's recipe).

    python -m moore.run.behaviours halfcheetah --medium-score 41 --max-steps 1000000

D4RL's medium sets come from a SAC policy stopped early and its medium-replay sets from what that SAC saw until then
(D4RL, arXiv 2004.07219). Training that goes on past medium gives expert, medium-expert and full-replay, too: the expert
is the snapshot with the highest score. Interrupted, the same command continues from its checkpoint.
"""

import json
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from pydantic import Field

from moore.agents.sac import SAC, SACConfig
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import OnlineConfig, RunConfig
from moore.algorithm.evaluation import Evaluator
from moore.base.errors import UserError
from moore.base.lock import locked
from moore.base.strict import Count, NonNegativeInt, validate
from moore.data.behaviours import BEHAVIOURS_DIR, Behaviours, kept_snapshots, save_behaviours
from moore.data.scores import normalized_score
from moore.envs.spec import find_spec
from moore.networks.calls import plain
from moore.networks.random import Streams
from moore.networks.state import State
from moore.run.checkpoints import Checkpoints
from moore.run.facts import environment_facts
from moore.run.folders import check_same
from moore.run.sealed import Damaged
from moore.run.stop import SafePoints, StopRequest, exit_code

NAME = "moore.run.behaviours"
MAX_STEPS = 1_000_000  # size of the replay buffer and end of the attempt
CHECKPOINT_SECONDS = 30.0  # between two checkpoints, or more; see SafePoints
FREE = ("medium_score", "max_steps", "ladder_size", "checkpoint", "out")  # settings that a continuation may change


@dataclass(frozen=True)
class BehaviourConfig:
    """How one behaviour ladder is trained."""

    env: tyro.conf.Positional[str]  # one of moore.envs.spec.ENVIRONMENTS, e.g. hopper
    medium_score: float  # the first snapshot whose stochastic policy reaches this normalised score is `medium`
    # go on past medium to this many environment steps, for an expert; 0: stop at medium
    max_steps: Annotated[int, Field(ge=0, le=MAX_STEPS)] = 0
    physics: str | None = None  # None: D4RL's where the environment has it
    seed: NonNegativeInt = 0  # of networks, environment, exploration and evaluation
    exploration_steps: NonNegativeInt = 1000  # uniform actions first
    updates_per_step: Count = 1  # SAC updates for each environment step
    snapshot_interval: Count = 5000  # environment steps
    episodes: Count = 10  # played by each snapshot for its score
    # snapshots kept up to medium, and as many after it
    ladder_size: Annotated[int, Field(ge=2)] = 20
    sac: SACConfig = field(default_factory=lambda: SACConfig(hidden=(128, 128)))
    checkpoint: Path = Path("runs/behaviours")  # folder of the resumable state
    out: Path = BEHAVIOURS_DIR  # folder of the finished ladder

    @property
    def plain(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self), default=str))

    @property
    def own_physics(self) -> str:
        return self.physics or find_spec(self.env).default_physics


class BehaviourTraining(State):
    """The online stage of one run of SAC from scratch, and its ladder of snapshots."""

    def __init__(self, config: BehaviourConfig) -> None:
        validate(config.plain, BehaviourConfig, prefix="--")
        online = OnlineConfig(
            epochs=-(-MAX_STEPS // config.snapshot_interval),
            epoch_steps=config.snapshot_interval,
            utd_ratio=config.updates_per_step,
            exploration_steps=config.exploration_steps,
        )
        run = RunConfig(
            config.env, physics=config.own_physics, seed=config.seed, algorithm="sac", agent=config.sac, online=online
        )
        self.config, self.wall_seconds = config, 0.0
        self.cohort = Cohort([run], {}, "online")
        self.cohort.policy_call = plain  # compiled, the ladder would depend on compiler and machine
        self.ladder: dict[str, list[Any]] = {"env_steps": [], "return": [], "score": [], "params": []}
        self._evaluator = Evaluator(config.env, config.own_physics, [config.seed], config.episodes)
        self._facts = environment_facts()  # of the code that trains, whatever happens to the checkout meanwhile
        self.git_commits = [self._facts["git_commit"]]

    @property
    def medium(self) -> int | None:
        """The position in the ladder of the first snapshot at the medium score, if there is one yet."""
        return next((i for i, score in enumerate(self.ladder["score"]) if score >= self.config.medium_score), None)

    @property
    def expert(self) -> int | None:
        """The position in the ladder of the highest score; None unless training went on past medium."""
        scores = self.ladder["score"]
        return None if self.medium is None or self.medium == len(scores) - 1 else int(np.argmax(scores))

    def train_step(self) -> None:
        self.cohort.interact()
        if self.cohort.online_size >= self.config.exploration_steps:
            self.cohort.update_policy(1, self.config.updates_per_step)

    def snapshot(self) -> str:
        """Evaluate the stochastic policy, which is what generates data, and add it to the ladder; returns a line."""
        agent, count = self.cohort.agent, len(self.ladder["score"])
        assert isinstance(agent, SAC)
        noise = Streams([self.config.seed], "evaluation", count)
        returns = self._evaluator.returns(
            lambda obs: agent.act(obs, noise.normal(obs.shape[1], self.cohort.spec.action_dim)), "behaviour", count
        )
        mean = float(returns.mean())
        score = float(normalized_score(self.config.env, mean))
        params = agent.actor_params[0].detach().clone()
        for values, value in zip(self.ladder.values(), (self.cohort.online_size, mean, score, params), strict=True):
            values.append(value)
        self.cohort.metrics.flush()
        where, alpha = f"{self.config.env} {self.cohort.online_size} steps", float(agent.log_alpha.exp())
        return f"{where}: return {mean:.1f}, score {score:.1f}, alpha {alpha:.4f}"

    def state(self) -> dict[str, Any]:
        """Return the settings that a continuation must not change, too."""
        fixed = {key: value for key, value in self.config.plain.items() if key not in FREE}
        return super().state() | {"settings": fixed}

    def load(self, state: Mapping[str, Any]) -> None:
        commits = list(dict.fromkeys([*state["git_commits"], *self.git_commits]))
        super().load({key: value for key, value in state.items() if key != "settings"} | {"git_commits": commits})

    def export(self, command: str) -> None:
        """Write the thinned ladder with its provenance; command: that trained it."""
        config, ladder = self.config, self.ladder
        assert self.medium is not None
        kept = kept_snapshots(len(ladder["score"]), self.medium, self.expert, config.ladder_size)
        curve = zip(ladder["env_steps"], ladder["return"], ladder["score"], strict=True)
        provenance = {
            "command": command,
            "config": config.plain | {"checkpoint": None, "out": None},
            "git_commit": ", ".join(self.git_commits),
            "packages": self._facts["packages"],
            "machine": self._facts["machine"],
            "wall_seconds": round(self.wall_seconds, 1),
            "physics": config.own_physics,
            "random_steps": config.exploration_steps,
            "curve": [[steps, round(mean, 2), round(score, 2)] for steps, mean, score in curve],
            "medium": kept.index(self.medium),
        }
        if self.expert is not None:
            provenance["expert"] = kept.index(self.expert)
        params = np.stack([ladder["params"][i].numpy() for i in kept])
        steps, returns, scores = (np.array([ladder[key][i] for i in kept]) for key in ("env_steps", "return", "score"))
        hidden = config.sac.hidden
        save_behaviours(Behaviours(config.env, params, hidden, steps, returns, scores, provenance), config.out)


def train(config: BehaviourConfig, stop: StopRequest | None = None) -> BehaviourTraining:
    """Train until the medium snapshot and to max_steps, from the last checkpoint if there is one.

    Raises Stopped, with a checkpoint, when `stop` was told; UserError where another process trains the same ladder.
    """
    training, stop = BehaviourTraining(config), stop or StopRequest()
    folder = config.checkpoint / f"{config.env}-seed{config.seed}"

    def check(saved: dict[str, Any]) -> None:
        if "cohort" not in saved:
            raise Damaged("an older version of moore wrote it")
        check_same(f"{folder}", saved["settings"], training.state()["settings"])

    with locked(folder.with_suffix(".lock"), f"{folder}"):
        checkpoints = Checkpoints(folder, "cpu", lambda text: print(f"{NAME}: warning: {text}", file=sys.stderr))
        saved = checkpoints.load(check)
        if saved:
            training.load(saved)
        started = time.monotonic() - training.wall_seconds

        def save() -> None:
            training.wall_seconds = time.monotonic() - started
            checkpoints.save(training.state())

        safe_point = SafePoints(save, stop, CHECKPOINT_SECONDS)
        with stop.deferred():
            while training.medium is None or training.cohort.online_size < config.max_steps:
                if training.cohort.online_size == MAX_STEPS:
                    raise UserError(f"no snapshot reached --medium-score {config.medium_score} in {MAX_STEPS} steps")
                training.train_step()
                if training.cohort.online_size % config.snapshot_interval == 0:
                    print(training.snapshot(), flush=True)
                safe_point()
            safe_point.save()  # the ladder may be gone on with, to more steps
    return training


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""

    def run() -> None:
        words = sys.argv[1:] if arguments is None else arguments
        config = tyro.cli(BehaviourConfig, prog=f"python -m {NAME}", description=__doc__, args=words)
        torch.set_num_threads(1)
        with StopRequest().listening() as stop:
            train(config, stop).export(shlex.join(["python", "-m", NAME, *words]))

    return exit_code(NAME, run)


if __name__ == "__main__":
    sys.exit(main())
