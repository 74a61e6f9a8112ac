"""What a stage tells whoever listens: rows and a display in `moore/run`, lists in a test or a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from moore.algorithm.cohort import Cohort


class Log(Protocol):
    """The listener's side; phase is "offline" or "online"."""

    def evaluation(self, phase: str, env_steps: int, updates: int, returns: np.ndarray) -> None:
        """Take raw returns [R, episodes]; NaN where a policy gave no finite action."""

    def training(self, phase: str, env_steps: int, updates: int, metrics: Mapping[str, list[float]]) -> None:
        """Take means since the last call, a list of R numbers for each metric."""

    def stage(self, label: str) -> None:
        """Hear what begins."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """Hear how far a stage is."""


def evaluate(cohort: Cohort, log: Log) -> None:
    """Evaluate the deterministic policies and tell the log."""
    log.evaluation(cohort.stage, cohort.online_size, cohort.updates, cohort.evaluate())
