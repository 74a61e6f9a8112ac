"""What a rollout is made of, for three runs with a measure of uncertainty and a penalty each."""

import torch
from torch import Tensor

from moore.agents.actor_critic import Setup
from moore.agents.sac import SAC, SACConfig
from moore.algorithm.dynamics import DynamicsConfig, Ensemble
from moore.networks.random import Streams

OBS, ACT, K, B = 2, 1, 4, 9
SEEDS = [0, 1, 2]
KINDS = ["max_std", "ensemble_std", "max_deviation"]
COEF = torch.tensor([1.0, 0.4, 2.5])


def make(seeds: list[int]) -> tuple[Ensemble, SAC, Streams, Tensor]:
    """An ensemble, an agent, noise and start states; every run's depend on its seed alone."""
    settings = DynamicsConfig(ensemble_size=K, num_elites=2, hidden=(8,), weight_decay=(0.0, 0.0))
    ensemble = Ensemble(settings, OBS, ACT, seeds)
    elites = {0: [3, 1], 1: [0, 2], 2: [2, 3]}
    ensemble.elite_idxs = torch.tensor([elites[seed] for seed in seeds])
    agent = SAC(SACConfig(hidden=(8,)), Setup(OBS, ACT, seeds))
    return ensemble, agent, Streams(seeds, "rollout"), Streams(seeds, "start").normal(B, OBS)


def fell(next_obs: Tensor) -> Tensor:
    return next_obs[..., 0] > 0.8
