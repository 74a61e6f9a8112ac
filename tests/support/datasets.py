"""Datasets whose rows are numbered, or random."""

import functools

import numpy as np

from moore.data.hdf5 import Dataset
from moore.data.make import find_recipe
from moore.envs.spec import ENVIRONMENTS

Flags = list[tuple[bool, bool]]
"""(terminated, truncated) of every row."""

NONE, TERMINAL, TIMEOUT, BOTH = (False, False), (True, False), (False, True), (True, True)


def laid_out(flags: Flags) -> Dataset:
    """Row i observes (its episode's number, its step in the episode, i), and next the following step of the episode."""
    obs: list[tuple[int, int, int]] = []
    episode, step = 0, 0
    for row, ends in enumerate(flags):
        obs.append((episode, step, row))
        episode, step = (episode + 1, 0) if any(ends) else (episode, step + 1)
    rows = len(flags)
    return Dataset(
        env="pendulum",
        obs=np.array(obs, np.float32),
        action=np.linspace(-2, 2, rows, dtype=np.float32)[:, None],
        reward=np.arange(rows, dtype=np.float32),
        terminated=np.array([terminated for terminated, _ in flags]),
        truncated=np.array([truncated for _, truncated in flags]),
        next_obs=np.array([(episode, step + 1, row + 1) for episode, step, row in obs], np.float32),
    )


def counted_dataset(episodes: list[tuple[int, str]], partial: int) -> Dataset:
    """Episodes of (length, "terminal" or "timeout") as `laid_out` has them, then `partial` rows without an end."""
    ends = {"terminal": TERMINAL, "timeout": TIMEOUT}
    flags = [flag for length, end in episodes for flag in [NONE] * (length - 1) + [ends[end]]]
    return laid_out(flags + [NONE] * partial)


def random_dataset(env: str, flags: Flags) -> Dataset:
    """Rows of normal numbers, always the same ones."""
    rng, spec, rows = np.random.default_rng(0), ENVIRONMENTS[env], len(flags)
    states = rng.normal(size=(2, rows, spec.state_dim or 0))
    return Dataset(
        env=env,
        obs=rng.normal(size=(rows, spec.obs_dim)).astype(np.float32),
        action=rng.uniform(-1, 1, (rows, spec.action_dim)).astype(np.float32),
        reward=rng.normal(size=rows).astype(np.float32),
        terminated=np.array([terminated for terminated, _ in flags]),
        truncated=np.array([truncated for _, truncated in flags]),
        next_obs=rng.normal(size=(rows, spec.obs_dim)).astype(np.float32),
        qpos=states[0],
        qvel=states[1],
        metadata={"env": env, "algorithm": "SAC", "seed": 3, "score": 41.5, "env_steps": np.array([10, 20])},
    )


@functools.cache
def recorded(env: str, physics: str, rows: int = 600) -> Dataset:
    """Uniform actions in the simulator; not to be changed in place."""
    return find_recipe(env, "random", rows, physics=physics).make()
