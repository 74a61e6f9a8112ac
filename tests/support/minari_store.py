"""What the tests of Minari share: rollouts of Gymnasium environments, and datasets that Minari makes of them."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

NAME = "test/hopper/few-v0"
ID = f"minari:{NAME}"
ARRAYS = ("obs", "action", "reward", "next_obs", "terminated", "truncated", "qpos", "qvel")


@dataclass
class Episode:
    """What a rollout of a Gymnasium environment saw: T + 1 observations and states, T of everything else."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    qpos: np.ndarray | None = None
    qvel: np.ndarray | None = None

    def buffer(self, **changes: Any) -> EpisodeBuffer:
        states = {} if self.qpos is None else {"qpos": self.qpos, "qvel": self.qvel}
        fields: dict[str, Any] = {"observations": self.obs, "actions": self.action, "rewards": self.reward}
        fields |= {"terminations": self.terminated, "truncations": self.truncated, "infos": states}
        return EpisodeBuffer(**(fields | changes))


def state_of(simulation: Any) -> tuple[np.ndarray, ...]:
    """(qpos, qvel) of a MuJoCo simulation, () where there is none."""
    return () if simulation is None else (simulation.qpos.copy(), simulation.qvel.copy())


def roll_out(gym_id: str, lengths: list[int], **options: Any) -> list[Episode]:
    """Episodes under random actions, none longer than its entry of `lengths`."""
    env = gymnasium.make(gym_id, **options)
    simulation: Any = getattr(env.unwrapped, "data", None)  # MuJoCo's
    env.action_space.seed(3)
    episodes = []
    for seed, length in enumerate(lengths):
        obs: list[np.ndarray] = [env.reset(seed=seed)[0]]
        states: list[tuple[np.ndarray, ...]] = [state_of(simulation)]
        steps: list[tuple[Any, ...]] = []
        while len(steps) < length and not (steps and (steps[-1][2] or steps[-1][3])):
            action = env.action_space.sample()
            next_obs, reward, terminated, truncated, _ = env.step(action)
            steps.append((action, reward, terminated, truncated))
            obs.append(next_obs)
            states.append(state_of(simulation))
        columns = [np.array(column) for column in zip(*steps, strict=True)]
        positions = [np.array(column) for column in zip(*states, strict=True)]
        episodes.append(Episode(np.array(obs), *columns, *positions))
    env.close()
    return episodes


def create(name: str, env: Any, buffers: list[EpisodeBuffer], **options: Any) -> None:
    """A dataset in the store, made by Minari."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about fields that are left out
        minari.create_dataset_from_buffers(name, buffers, env=env, **options)


def edit_metadata(store: Path, name: str = NAME, **changes: Any) -> None:
    path = store / name / "data" / "metadata.json"
    kept = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))
