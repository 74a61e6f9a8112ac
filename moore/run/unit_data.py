"""A dataset as a unit's runs need it, and what manifests and checkpoints say of it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.data.check import physics_mismatch
from moore.data.hdf5 import dataset_hash
from moore.data.transitions import Transitions, to_transitions
from moore.run.folders import run_data_identity, run_dataset

NO_FACTS = {"physics_mismatch": None, "dataset": None, "data_identity": None}  # of a run from scratch


class UnitData(NamedTuple):
    """The transitions of a dataset, the hash of its content, and what a run's manifest says of it."""

    transitions: Transitions
    sha256: str
    facts: dict[str, Any]


def load_unit_data(config: RunConfig, root: Path, warn: Callable[[str], None]) -> UnitData:
    """Read, or make, what a run with a dataset needs. Raises UserError as `load_dataset` does."""
    identity = run_data_identity(config)  # before reading: a later change is seen next time
    dataset = run_dataset(config, root)
    if dataset.env != config.env:
        raise UserError(f"{config.dataset} holds transitions of {dataset.env}, the run's env is {config.env}")
    mismatch = physics_mismatch(dataset, config.physics)
    if mismatch is not None:
        warn(mismatch.sentence(str(config.dataset)))
    gamma = config.agent.gamma if config.reads_returns else None
    try:
        transitions = to_transitions(dataset, config.keep_timeouts, config.dataset_transitions, gamma)
        if config.uses_model:
            config.check_holdout(len(transitions))
    except UserError as error:
        raise UserError(f"{config.dataset}: {error}") from None
    sha256 = dataset_hash(dataset)
    facts = {
        "physics_mismatch": None if mismatch is None else asdict(mismatch),
        "dataset": {"env": config.env, "sha256": sha256, "transitions": len(transitions)},
        "data_identity": identity,
    }
    return UnitData(transitions, sha256, facts)
