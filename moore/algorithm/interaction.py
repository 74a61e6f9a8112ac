"""R runs act in environments of their own, one step at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from moore.agents.actor_critic import Agent
from moore.algorithm.config import RunConfig
from moore.algorithm.replay import RealBuffer
from moore.envs.vector_env import make_env
from moore.networks.batch import Batch
from moore.networks.random import Streams, derive_seed
from moore.networks.state import State


class Interaction(State):
    """The environments, and the episodes under way.

    return_floor: what follows a time limit, for the returns that Cal-QL reads; one number for each run.
    """

    def __init__(self, config: RunConfig, seeds: Sequence[int], gamma: float, return_floor: Sequence[float]) -> None:
        env_seeds = [derive_seed(seed, "online", "environment") for seed in seeds]
        self.env = make_env(config.env, env_seeds, config.physics)
        self._explore, self._gamma, self._floor = config.online.exploration_steps, gamma, return_floor
        self.obs = self.env.reset()  # [R, obs_dim]
        self.episode_start = np.zeros(len(env_seeds), dtype=np.int64)  # number of its first online transition

    def step(self, agent: Agent, buffer: RealBuffer, streams: Mapping[str, Streams]) -> None:
        """Take one real transition in every run and add it to D_on."""
        device, action_dim = buffer.rows.device, self.env.spec.action_dim
        as_tensor = lambda x: torch.as_tensor(x, dtype=torch.float32, device=device)  # noqa: E731
        obs = as_tensor(self.obs)
        if buffer.online_size < self._explore:
            action = 2.0 * streams["exploration"].uniform(action_dim).float() - 1.0
        else:
            noise = streams["policy"].normal(1, action_dim)
            # a run that diverged is recorded as such and goes on with finite actions, so that the others can
            action = agent.act(obs[:, None], noise)[:, 0].nan_to_num()
        next_obs, reward, terminated, truncated = self.env.step(action.cpu().numpy())
        buffer.append(Batch(obs, action, as_tensor(reward), as_tensor(next_obs), as_tensor(terminated)))
        ended = np.flatnonzero(terminated | truncated)
        for run in ended.tolist():
            tail = 0.0 if terminated[run] else self._floor[run]
            buffer.end_episode(run, int(self.episode_start[run]), self._gamma, tail)
        self.episode_start[ended] = buffer.online_size
        self.obs = next_obs
        if len(ended):
            self.obs = next_obs.copy()
            self.obs[ended] = self.env.reset(ended)

    def state(self) -> dict[str, Any]:
        """Return the simulations' state, too."""
        return super().state() | {"env": self.env.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        own = dict(state)
        self.env.load_state_dict(own.pop("env"))
        super().load(own)
