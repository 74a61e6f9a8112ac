"""The datasets of a unit's runs: their transitions, and what manifests and checkpoints say of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.data.check import physics_mismatch
from moore.data.hdf5 import dataset_hash
from moore.data.mismatch import PhysicsMismatch
from moore.data.transitions import Transitions, to_transitions
from moore.run.folders import run_data_identity, run_dataset


class UnitData:
    """Everything by dataset id."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.transitions: dict[str, Transitions] = {}
        self.hashes: dict[str, str] = {}
        self.identities: dict[str, str] = {}
        self.mismatches: dict[str, PhysicsMismatch] = {}

    def load(self, configs: Sequence[RunConfig], show: Callable[[str], None]) -> None:
        """Read, or make, what the runs need; show is told what is loaded. Raises UserError as `load_dataset` does."""
        for name, config in {c.dataset: c for c in configs if c.dataset is not None}.items():
            show(f"data: {name}")
            identity = run_data_identity(config, self.root)  # before reading: a later change is seen next time
            dataset = run_dataset(config, self.root)
            if dataset.env != config.env:
                raise UserError(f"{name} holds transitions of {dataset.env}, the run's env is {config.env}")
            mismatch = physics_mismatch(dataset, config.physics)
            if mismatch is not None:
                self.mismatches[name] = mismatch
                show(f"data: {name}")
                print(f"moore: warning: {mismatch.sentence(name)}", file=sys.stderr, flush=True)
            gamma = config.agent.gamma if config.reads_returns else None
            self.transitions[name] = to_transitions(dataset, config.keep_timeouts, config.dataset_transitions, gamma)
            self.hashes[name], self.identities[name] = dataset_hash(dataset), identity

    def warnings(self) -> list[str]:
        """Return what a user has to know of the data."""
        return [mismatch.sentence(name) for name, mismatch in self.mismatches.items()]

    def facts(self, config: RunConfig) -> dict[str, Any]:
        """Return what a run's manifest says of its data."""
        name = config.dataset
        if name is None:
            return {"physics_mismatch": None, "dataset": None, "data_identity": None}
        mismatch = self.mismatches.get(name)
        return {
            "physics_mismatch": None if mismatch is None else asdict(mismatch),
            "dataset": {"env": config.env, "sha256": self.hashes[name], "transitions": len(self.transitions[name])},
            "data_identity": self.identities[name],
        }
