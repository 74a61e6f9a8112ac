"""`VectorEnv`: n independent episodes of one environment, each with its own random stream and step count."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.utils import seeding

from moore.envs.env_spec import EnvSpec, Simulator
from moore.envs.mujoco_sim import MujocoSimulator
from moore.envs.spec import check_physics, find_spec


class VectorEnv:
    """n simulations that know nothing of each other: one alone gives the same numbers as among others.

    `ids` are increasing indices of the k simulations that a call is about, None for all; the others stay untouched.
    There is no automatic reset: an episode that ended stays where it is until `reset(ids)`. Actions are [k, action_dim]
    in [-1, 1]; beyond it Gymnasium's rules hold: Pendulum clips; the MuJoCo tasks clip the motor but charge the control
    cost for the action as given.
    """

    def __init__(self, spec: EnvSpec, simulator: Simulator, seeds: Sequence[int]) -> None:
        self.spec = spec
        self.num_envs = len(seeds)
        self._simulator = simulator
        self._all = np.arange(self.num_envs)
        self._rngs = [seeding.np_random(int(seed))[0] for seed in seeds]
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)

    @property
    def qpos(self) -> np.ndarray:
        """Copy the positions [n, nq] float64."""
        return self._simulator.qpos.copy()

    @property
    def qvel(self) -> np.ndarray:
        """Copy the velocities [n, nv] float64."""
        return self._simulator.qvel.copy()

    def reset(self, ids: np.ndarray | None = None, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Start new episodes; return obs [k, obs_dim] float64. `seeds`, one each, start the random streams again."""
        ids = self._all if ids is None else ids
        if seeds is not None:
            for i, seed in zip(ids, seeds, strict=True):
                self._rngs[i] = seeding.np_random(int(seed))[0]
        qpos, qvel = zip(*(self._simulator.draw(self._rngs[i]) for i in ids), strict=True)
        return self.set_state(np.stack(qpos), np.stack(qvel), ids)

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        """Start new episodes at qpos [k, nq], qvel [k, nv], and nothing else kept; return obs [k, obs_dim] float64."""
        ids = self._all if ids is None else ids
        self._elapsed[ids] = 0
        return self._simulator.set_state(np.asarray(qpos), np.asarray(qvel), ids)

    def step(
        self, action: np.ndarray, ids: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Advance the simulations `ids` only: obs [k, obs_dim] float64, reward [k] float64, terminated, truncated [k].

        A fall on the very last step is `terminated` alone, as the state has no future; Gymnasium would set both flags.
        """
        ids = self._all if ids is None else ids
        action = self._checked(action, ids)
        obs, reward, terminated = self._simulator.advance(action * self.spec.action_high, ids)
        self._elapsed[ids] += 1
        truncated = (self._elapsed[ids] >= self.spec.max_episode_steps) & ~terminated
        return obs, reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        """Return all that a bit-exact continuation needs, as tensors and strings (loads with `weights_only=True`)."""
        return {
            "simulator": torch.from_numpy(self._simulator.state()),
            "elapsed": torch.from_numpy(self._elapsed.copy()),
            "rngs": [json.dumps(rng.bit_generator.state) for rng in self._rngs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a VectorEnv of the same environment, physics and size."""
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = json.loads(saved)
        self._simulator.load_state(state["simulator"].numpy())
        self._elapsed[...] = state["elapsed"].numpy()

    def _checked(self, action: np.ndarray, ids: np.ndarray) -> np.ndarray:
        action = np.asarray(action)
        if action.shape != (len(ids), self.spec.action_dim):
            raise ValueError(f"action is {action.shape}, expected {(len(ids), self.spec.action_dim)}")
        return action


def make_env(name: str, seeds: Sequence[int], physics: str) -> VectorEnv:
    """Make one simulation of environment `name` (see `find_spec`) per seed; call `reset` first.

    `physics="gymnasium"` equals Gymnasium's environment bit for bit; `"d4rl"` has the robots, contacts and rewards of
    D4RL's gym *-v2 tasks, for use with its datasets.
    """
    spec = find_spec(name)
    check_physics(spec, physics)
    if spec.task is not None:
        return VectorEnv(spec, MujocoSimulator(spec.task(physics), physics == "d4rl", len(seeds)), seeds)
    if spec.simulator is not None:
        return VectorEnv(spec, spec.simulator(physics, len(seeds)), seeds)
    from moore.envs.gymnasium_env import GymnasiumEnv  # here, as it is a kind of VectorEnv

    return GymnasiumEnv(spec, seeds)
