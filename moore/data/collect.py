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
    """Run a policy on one thread, whatever the process may use.

    A batch of a few rows gains nothing from more, is many times slower with them when the machine is busy, and would
    round by the number of threads. The simulations keep the threads that they were built with.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    spec, n = env.spec, env.num_envs
    start = start or env.reset
    buffers: Rows = {}  # [n, steps, ...], the running episodes
    obs = np.array(start(np.arange(n)))
    length = np.zeros(n, dtype=np.int64)  # of the running episodes
    episode = np.arange(n)  # the number of the episode each simulation runs
    active = np.ones(n, dtype=bool)
    ended_rows = 0
    finished: list[Rows | None] = [None] * n  # by episode number
    prefix, prefix_rows = 0, 0  # episodes before number `prefix` are finished

    while True:
        ids = np.flatnonzero(active)
        action = policy(obs)[ids]  # idle simulations draw noise too: a fixed batch keeps the numbers in step
        qpos, qvel = env.qpos[ids], env.qvel[ids]
        next_obs, reward, terminated, truncated = env.step(action, ids)
        if cut is not None:
            truncated = truncated | (cut(next_obs) & ~terminated)
        step: Rows = {
            "obs": obs[ids],
            "action": action * np.float32(spec.action_high),
            "reward": reward,
            "next_obs": next_obs,
            "terminated": terminated,
            "truncated": truncated,
            "qpos": qpos,
            "qvel": qvel,
        }
        for name, values in step.items():
            if name not in buffers:
                kind = np.float64 if name in ("qpos", "qvel") else bool if values.dtype == bool else np.float32
                buffers[name] = np.empty((n, spec.max_episode_steps, *values.shape[1:]), kind)
            buffers[name][ids, length[ids]] = values
        length[ids] += 1
        obs[ids] = next_obs

        ended = ids[terminated | truncated]
        for i in ended:
            finished[episode[i]] = {name: buffer[i, : length[i]].copy() for name, buffer in buffers.items()}
        active[ended] = False
        ended_rows += int(length[ended].sum())
        while prefix < len(finished) and (rows_of := finished[prefix]) is not None:
            prefix_rows += len(rows_of["obs"])
            prefix += 1
        running = np.flatnonzero(active & (episode == prefix))
        if prefix_rows + int(length[running].sum()) >= rows:
            break
        length[ended] = 0
        if len(ended) and ended_rows + int(length[active].sum()) < rows:  # else the running episodes suffice
            episode[ended] = len(finished) + np.arange(len(ended))
            finished += [None] * len(ended)
            active[ended] = True
            obs[ended] = start(ended)

    parts = [part for part in finished[:prefix] if part is not None]
    parts += [{name: buffer[i, : length[i]] for name, buffer in buffers.items()} for i in running]
    return {name: values[:rows] for name, values in join(parts).items()}


def join(parts: list[Rows]) -> Rows:
    """Join the rows of all parts, one after the other. Empties the parts on the way, as both need the memory twice."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
