"""States of training as files, and the content-addressed cache of offline stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch.serialization import get_crc32_options, set_crc32_options

from moore.baselines.cql import CQLConfig
from moore.baselines.td3_bc import TD3BCConfig
from moore.config import OnlineConfig, RunConfig, to_mapping
from moore.density_ratio import DensityRatioConfig
from moore.dynamics import DynamicsConfig
from moore.penalty import PenaltyConfig
from moore.results import content_hash, offline_method, run_id
from moore.sampling import SamplingConfig
from moore.sealed import check_seal, sealing

OFFLINE_FORMAT = 4  # raise it when a change of the code changes what the offline stage computes


def save(path: Path, state: Any, number: int = 0) -> None:
    """Write tensors, numbers, texts and containers of them as a sealed file, which torch.load reads too.

    Raises UserError where there is no room or no right to write; the old file stays.
    """
    with sealing(path, number) as content:
        zip_crc = get_crc32_options()
        set_crc32_options(False)  # torch's own CRC32 takes longer than all the rest, and its reader never looks at it
        try:
            torch.save(state, cast(BinaryIO, content))
        except RuntimeError:  # torch's words for an error of the file, which says more itself
            if content.error is None:
                raise
            raise content.error from None
        finally:
            set_crc32_options(zip_crc)


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """What `save` wrote; what was on an accelerator comes to `device`. Raises as `check_seal`."""
    check_seal(path)
    place = lambda storage, where: storage if where == "cpu" else storage.to(device=torch.device(device))  # noqa: E731
    return torch.load(path, map_location=place, weights_only=True)


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
