"""Datasets whose rows are numbered."""

import numpy as np

from moore.data.hdf5 import Dataset


def counted_dataset(episodes: list[tuple[int, str]], partial: int) -> Dataset:
    """Row i observes (episode, step in episode, i); the state after step t of an episode is its step t + 1."""
    obs: list[tuple[int, int, int]] = []
    next_obs: list[tuple[int, int, int]] = []
    terminated: list[bool] = []
    truncated: list[bool] = []
    for number, (length, end) in enumerate([*episodes, (partial, "none")]):
        for t in range(length):
            row = len(obs)
            obs.append((number, t, row))
            next_obs.append((number, t + 1, row + 1))
            last = t == length - 1
            terminated.append(last and end == "terminal")
            truncated.append(last and end == "timeout")
    rows = len(obs)
    return Dataset(
        env="pendulum",
        obs=np.array(obs, np.float32),
        action=np.linspace(-2, 2, rows, dtype=np.float32)[:, None],
        reward=np.arange(rows, dtype=np.float32),
        terminated=np.array(terminated),
        truncated=np.array(truncated),
        next_obs=np.array(next_obs, np.float32),
    )
