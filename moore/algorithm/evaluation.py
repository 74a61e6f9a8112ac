"""The evaluation protocol, written once: episodes of its own environments and seeds, beside the training streams."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moore.envs.vector_env import VectorEnv, make_env
from moore.networks.random import derive_seed


class Evaluator:
    """Plays `episodes` full episodes of R policies side by side.

    Initial states depend on the run's seed and the evaluation's number only: two variants of a run meet the same ones.
    """

    def __init__(self, env: str, physics: str, seeds: Sequence[int], episodes: int) -> None:
        self.seeds, self.episodes = list(seeds), episodes
        self._env: VectorEnv = make_env(env, [0] * (len(self.seeds) * episodes), physics)

    def returns(self, act: Callable[[Tensor], Tensor], phase: str, count: int) -> np.ndarray:
        """Undiscounted raw returns [R, episodes] of evaluation number `count` of a phase.

        act: actions [R, B, A] for obs [R, B, obs_dim]. The return is NaN where an action was not finite.
        """
        num_runs, env = len(self.seeds), self._env
        episodes = [(seed, episode) for seed in self.seeds for episode in range(self.episodes)]
        obs = env.reset(seeds=[derive_seed(seed, "evaluation", phase, count, episode) for seed, episode in episodes])
        returns = np.zeros(env.num_envs)
        alive, finite = np.arange(env.num_envs), np.ones(env.num_envs, dtype=bool)
        while len(alive):
            batch = torch.as_tensor(obs, dtype=torch.float32).view(num_runs, self.episodes, -1)
            action = act(batch).reshape(env.num_envs, -1).cpu().numpy()
            finite &= np.isfinite(action).all(1)
            action = np.nan_to_num(action)  # the other runs play on
            obs[alive], reward, terminated, truncated = env.step(action[alive], alive)
            returns[alive] += reward
            alive = alive[~(terminated | truncated)]
        return np.where(finite, returns, np.nan).reshape(num_runs, self.episodes)
