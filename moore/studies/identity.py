"""The identity of a run, and of the offline stage that it starts from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from moore.agents.cql import CQLConfig
from moore.agents.td3_bc import TD3BCConfig
from moore.algorithm.config import OnlineConfig, RunConfig, to_mapping
from moore.algorithm.density_ratio import DensityRatioConfig
from moore.algorithm.dynamics import DynamicsConfig
from moore.algorithm.penalty import PenaltyConfig
from moore.algorithm.sampling import SamplingConfig


def content_hash(value: Any) -> str:
    """sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def run_id(config: RunConfig) -> str:
    """A readable name that is unique for the configuration."""
    dataset = dataset_label(config).replace(":", "-").replace("/", "-")
    return f"{config.method}-{dataset}-s{config.seed}-{content_hash(to_mapping(config))[:8]}"


def dataset_label(config: RunConfig) -> str:
    """The dataset column: the id, or none:<env> for a run from scratch."""
    return config.dataset or f"none:{config.env}"


def offline_method(config: RunConfig) -> str:
    """The method column of an offline stage, which the variants of one dataset and seed share."""
    return "mopo" if config.uses_model else config.algorithm


OFFLINE_FORMAT = 4  # raise it when a change of the code changes what the offline stage computes


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
