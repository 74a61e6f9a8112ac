"""What a MuJoCo task is: a model, and observation, reward and termination for many simulations at once.

Tasks repeat Gymnasium's v5 environments operation by operation, so that results are equal to the last bit.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

Fields = dict[str, np.ndarray]
"""MuJoCo data fields by name, each [k, ...]: "qpos", "qvel" and the task's `outputs`."""


@dataclass(frozen=True)
class Task(ABC):
    """What the MuJoCo simulator needs to know about a task; collides: whether any two of its geoms can meet."""

    xml: str
    frame_skip: int
    reset_noise: float
    velocity_noise: Literal["uniform", "normal"]
    outputs: tuple[str, ...] = ()
    collides: bool = True

    @abstractmethod
    def observe(self, fields: Fields) -> np.ndarray:
        """Compute obs [k, obs_dim] float64."""

    @abstractmethod
    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """Compute reward [k] float64 and terminated [k] of a step of `dt` seconds from x = `x_before` [k]."""


def scalar_square(values: np.ndarray) -> np.ndarray:
    """values² [k], each by the C library's `pow`; NumPy squares whole arrays by multiplying, at times one bit apart."""
    return np.array([value**2 for value in values], dtype=values.dtype)
