"""From a configuration to the agents of its cohort."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moore.actor_critic import ActorCritic
from moore.baselines.awac import AWAC
from moore.baselines.balanced_replay import BalancedReplay
from moore.baselines.cql import CQL
from moore.baselines.iql import IQL
from moore.baselines.td3_bc import TD3BC
from moore.config import RunConfig
from moore.envs.spec import find_spec
from moore.sac import SAC

Agent = ActorCritic | BalancedReplay


def make_agent(config: RunConfig, seeds: Sequence[int], stage: str, device: torch.device | str = "cpu") -> Agent:
    """R agents of config.algorithm for one stage ("offline" or "online"), one for each seed."""
    spec = find_spec(config.env)
    sizes = (spec.obs_dim, spec.action_dim)
    where = (device, config.precision)
    match config.algorithm:
        case "sac":
            return SAC(config.sac, *sizes, seeds, *where)
        case "awac":
            return AWAC(config.sac, config.awac, *sizes, seeds, *where)
        case "iql":
            return IQL(config.sac, config.iql, *sizes, seeds, *where)
        case "cql":
            coef = config.cql.offline_coef if stage == "offline" else config.cql.online_coef
            return CQL(config.sac, config.cql, coef, *sizes, seeds, *where)
        case "td3_bc":
            return TD3BC(config.sac, config.td3_bc, *sizes, seeds, *where)
        case "balanced_replay":
            return BalancedReplay(config.sac, config.cql, config.balanced_replay, *sizes, seeds, stage, *where)
        case other:
            raise ValueError(f"no such algorithm: {other}")
