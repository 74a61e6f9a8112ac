"""What a MuJoCo task is: a model, and observation, reward and termination for many simulations at once.

The arithmetic of the tasks repeats Gymnasium's v5 environments operation by operation, so that results are equal to the
last bit. Row i of every array belongs to simulation i.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

Fields = dict[str, np.ndarray]
"""MuJoCo data fields by name, each [k, ...]: "qpos", "qvel" and the task's `outputs`."""


class Task(Protocol):
    """What the MuJoCo simulator needs to know about a task."""

    @property
    def xml(self) -> str: ...
    @property
    def frame_skip(self) -> int: ...
    @property
    def reset_noise(self) -> float: ...
    @property
    def velocity_noise(self) -> Literal["uniform", "normal"]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...

    def observe(self, fields: Fields) -> np.ndarray:
        """Compute obs [k, obs_dim] float64."""

    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """Compute reward [k] float64 and terminated [k] of a step of `dt` seconds from x = `x_before` [k]."""
