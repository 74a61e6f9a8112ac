"""Checkpoints, written atomically, and the content-addressed cache of offline stages."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch

from moore.baselines.cql import CQLConfig
from moore.baselines.td3_bc import TD3BCConfig
from moore.config import OnlineConfig, RunConfig, to_mapping
from moore.density_ratio import DensityRatioConfig
from moore.dynamics import DynamicsConfig
from moore.penalty import PenaltyConfig
from moore.results import content_hash, offline_method, run_id
from moore.sampling import SamplingConfig

OFFLINE_FORMAT = 3  # raise it when a change of the code changes what the offline stage computes


def save(path: Path, state: Any) -> None:
    """Write `state` so that the file is either the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> Any:
    """What `save` wrote."""
    return torch.load(path, weights_only=True)


def offline_config(config: RunConfig) -> RunConfig:
    """The part of a configuration that the offline stage depends on; the rest is set to defaults."""
    return dataclasses.replace(
        config,
        method=offline_method(config),
        penalty=dataclasses.replace(
            config.penalty, schedule=PenaltyConfig().schedule, online_factor=PenaltyConfig().online_factor
        ),
        sampling=SamplingConfig(),
        online=OnlineConfig(),
        cql=dataclasses.replace(config.cql, online_coef=CQLConfig().online_coef),
        td3_bc=dataclasses.replace(config.td3_bc, exploration_noise=TD3BCConfig().exploration_noise),
        density_ratio=DensityRatioConfig(),
        dynamics=dataclasses.replace(config.dynamics, online_max_updates=DynamicsConfig().online_max_updates),
    )


def offline_run_id(config: RunConfig) -> str:
    """The run column of the offline stage that a run starts from; never the name of an online run."""
    return f"offline-{run_id(offline_config(config))}"


def offline_key(config: RunConfig, dataset_hash: str) -> str:
    """Name of an offline checkpoint: a hash of all that determines it."""
    return content_hash([OFFLINE_FORMAT, dataset_hash, to_mapping(offline_config(config))])[:24]
