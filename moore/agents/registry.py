"""From a configuration to the agents of its cohort."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moore.agents.actor_critic import ActorCritic
from moore.agents.awac import AWAC
from moore.agents.balanced_replay import BalancedReplay
from moore.agents.cql import CQL
from moore.agents.iql import IQL
from moore.agents.sac import SAC
from moore.agents.td3_bc import TD3BC
from moore.algorithm.config import RunConfig
from moore.envs.spec import find_spec

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
