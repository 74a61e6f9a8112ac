"""Rows of simulated episodes in D4RL's order, from many simulations at once, the same for a seed on any machine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from moore.envs.env_spec import EnvSpec
from moore.envs.vector_env import VectorEnv
from moore.networks.gaussian import squashed_gaussian
from moore.networks.mlp import MLP

Policy = Callable[[np.ndarray], np.ndarray]
"""Observations [n, obs_dim] float64 -> actions [n, action_dim] float32 in [-1, 1]."""

Rows = dict[str, np.ndarray]
"""The arrays of a Dataset by field name, each with one entry per environment step."""


def uniform_policy(action_dim: int, seed: int) -> Policy:
    """Make a policy of uniform actions, D4RL's `--random`."""
    rng = np.random.default_rng(seed)
    return lambda obs: rng.uniform(-1.0, 1.0, (len(obs), action_dim)).astype(np.float32)


def gaussian_policy(network: MLP, params: np.ndarray, seed: int) -> Policy:
    """Make the stochastic policy of an actor with flat parameters [P] float32: what SAC acts with while it trains."""
    weights = torch.from_numpy(params)[None]
    generator = torch.Generator().manual_seed(seed)
    action_dim = network.sizes[-1] // 2

    @torch.inference_mode()
    def act(obs: np.ndarray) -> np.ndarray:
        head = network(weights, torch.from_numpy(obs.astype(np.float32))[None])[0]
        return squashed_gaussian(head, torch.randn(len(obs), action_dim, generator=generator))[0].numpy()

    return act


def actor_network(spec: EnvSpec, hidden: Sequence[int]) -> MLP:
    """Build the network of a behaviour policy: mean and log standard deviation of a squashed Gaussian."""
    return MLP((spec.obs_dim, *hidden, 2 * spec.action_dim), "relu")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run a policy on one thread: a few rows gain nothing from more, and would be rounded by the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_torch_thread()
def collect(
    env: VectorEnv,
    policy: Policy,
    rows: int,
    start: Callable[[np.ndarray], np.ndarray] | None = None,
    cut: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Rows:
    """Simulate `rows` steps of whole episodes in the order they began, the last one cut, as D4RL's collect_data.py.

    Simulations take the next episode when they become free, and an episode counts by its number, not by when it ends:
    taking episodes as they end would prefer short ones. So the rows are distributed as those of one simulation that
    plays episode after episode.

    start(ids) -> obs begins episodes (default: env.reset); cut(next_obs [k, obs_dim]) -> bool [k] ends them as a time
    limit would.
    """
    start = start or env.reset
    episode = np.arange(env.num_envs)  # the number of the episode that each simulation runs
    lengths = np.zeros(env.num_envs, dtype=np.int64)  # of all episodes, by their number
    obs = np.array(start(episode))
    steps: list[Rows] = []

    while lengths[: episode.min() + 1].sum() < rows:  # of the episodes that ended in order, and the next one
        action, qpos, qvel = policy(obs), env.qpos, env.qvel
        next_obs, reward, terminated, truncated = env.step(action)
        if cut is not None:
            truncated = truncated | (cut(next_obs) & ~terminated)
        step: Rows = {
            "episode": episode.copy(),
            "obs": obs.astype(np.float32),
            "action": action * np.float32(env.spec.action_high),
            "reward": reward.astype(np.float32),
            "next_obs": next_obs.astype(np.float32),
            "terminated": terminated,
            "truncated": truncated,
            "qpos": qpos,
            "qvel": qvel,
        }
        steps.append(step)
        lengths[episode] += 1
        obs = np.array(next_obs)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            episode[ended] = len(lengths) + np.arange(len(ended))
            lengths = np.append(lengths, np.zeros_like(ended))
            obs[ended] = start(ended)

    order = np.argsort(np.concatenate([step.pop("episode") for step in steps]), kind="stable")[:rows]
    return {name: np.concatenate([step.pop(name) for step in steps])[order] for name in list(steps[0])}


def join(parts: list[Rows]) -> Rows:
    """Join the rows of all parts, one after the other. Empties the parts on the way, as both need the memory twice."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
