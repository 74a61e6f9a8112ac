"""The identity of a run, and of the offline stage that it starts from: a hash of what differs from the defaults."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from moore.algorithm.config import RunConfig, differences, offline_part
from moore.algorithm.sampling import CONSUMERS
from moore.base.plugins import is_plugin, source_hash
from moore.envs.spec import find_spec

LONGEST = 150  # characters of a name before what makes it unique: file systems take 255
OFFLINE_FORMAT = 5  # raise it when a change of the code changes what the offline stage computes


def content_hash(value: Any) -> str:
    """Return the sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def plugins(config: RunConfig) -> dict[str, str]:
    """Return what a run takes from outside the repository, `package.module:name`, and the hash of its source."""
    consumers = [getattr(config.sampling, consumer) for consumer in CONSUMERS]
    names = [config.env, config.algorithm, config.penalty.uncertainty, *consumers]
    return {name: source_hash(name) for name in dict.fromkeys(names) if is_plugin(name)}


def identity(config: RunConfig) -> dict[str, Any]:
    """Return what determines a run: the settings that differ from the defaults, and the source of its plugins.

    A setting that is added with a default changes no identity.
    """
    found = plugins(config)
    return {"settings": differences(config)} | ({"plugins": found} if found else {})


def run_id(config: RunConfig) -> str:
    """Return a readable name that is unique for the configuration."""
    label = f"{config.method}-{dataset_label(config)}".replace(":", "-").replace("/", "-")  # it names a folder
    return f"{label[:LONGEST]}-s{config.seed}-{content_hash(identity(config))[:8]}"


def dataset_label(config: RunConfig) -> str:
    """Return the dataset column: the id, or none:<env> for a run from scratch."""
    return config.dataset or f"none:{find_spec(config.env).label}"


def offline_method(config: RunConfig) -> str:
    """Return the method column of an offline stage, which the variants of one dataset and seed share."""
    return "mopo" if config.uses_model else config.algorithm


def offline_config(config: RunConfig) -> RunConfig:
    """Return the part of a configuration that the offline stage depends on; the rest is set to defaults."""
    return dataclasses.replace(offline_part(config), method=offline_method(config))


def offline_run_id(config: RunConfig) -> str:
    """Return the run column of the offline stage that a run starts from; never the name of an online run."""
    return f"offline-{run_id(offline_config(config))}"


def offline_stages(runs: Iterable[RunConfig]) -> dict[str, RunConfig]:
    """Return the offline stages that runs start from: run column -> what the stage depends on."""
    return {offline_run_id(run): offline_config(run) for run in runs if run.dataset is not None}


def offline_key(config: RunConfig, dataset_hash: str) -> str:
    """Return the name of an offline checkpoint: a hash of all that determines it."""
    return content_hash([OFFLINE_FORMAT, dataset_hash, identity(offline_config(config))])[:24]
