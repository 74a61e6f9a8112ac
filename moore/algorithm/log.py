"""What a stage tells whoever listens: rows and a display in `moore/run`, lists in a test or a notebook."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np


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
