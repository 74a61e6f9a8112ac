"""Observation, reward and termination of the MuJoCo tasks, for many simulations at once.

The arithmetic repeats Gymnasium's v5 environments operation by operation, so that results are equal to the last bit;
`alive_on_terminal` switches to the older *-v2 rule that D4RL used. Row i of every array belongs to simulation i.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from moore.envs.scalar_math import scalar_square

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
        """[k, obs_dim] float64."""

    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """Reward [k] float64 and terminated [k] bool of a step of `dt` seconds that began at x = `x_before` [k]."""


@dataclass(frozen=True)
class Locomotion:
    """Hopper, HalfCheetah and Walker2d: run forward, stay healthy, spend little control."""

    xml: str
    frame_skip: int
    reset_noise: float
    velocity_noise: Literal["uniform", "normal"]
    control_cost: float
    velocity_clip: float
    healthy: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None  # None: the robot cannot fall
    alive_on_terminal: bool = False
    outputs: tuple[str, ...] = ()

    def observe(self, fields: Fields) -> np.ndarray:
        """All but the x position, then the clipped velocities."""
        velocity = np.clip(fields["qvel"], -self.velocity_clip, self.velocity_clip)
        return np.concatenate([fields["qpos"][:, 1:], velocity], axis=1)

    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """Forward speed + alive bonus - control cost; the control cost is of the action as given, not clipped."""
        reward = (fields["qpos"][:, 0] - x_before) / dt
        terminated = np.zeros(len(reward), dtype=bool)
        if self.healthy is not None:
            terminated = ~self.healthy(fields["qpos"], fields["qvel"])
            reward = reward + (1.0 if self.alive_on_terminal else ~terminated * 1.0)
        # in the action's own precision, as Gymnasium does: float32 actions have a float32 cost
        return reward - self.control_cost * np.sum(np.square(action), axis=1), terminated


@dataclass(frozen=True)
class DoublePendulum:
    """InvertedDoublePendulum: keep the tip of two poles on a cart above 1 m."""

    xml: str = "inverted_double_pendulum.xml"
    frame_skip: int = 5
    reset_noise: float = 0.1
    velocity_noise: Literal["uniform", "normal"] = "normal"
    outputs: tuple[str, ...] = ("site_xpos", "qfrc_constraint")

    def observe(self, fields: Fields) -> np.ndarray:
        """Cart position, sines and cosines of the two joints, clipped velocities, force of the rail's end."""
        qpos = fields["qpos"]
        velocity = np.clip(fields["qvel"], -10, 10)
        force = np.clip(fields["qfrc_constraint"], -10, 10)[:, :1]
        return np.concatenate([qpos[:, :1], np.sin(qpos[:, 1:]), np.cos(qpos[:, 1:]), velocity, force], axis=1)

    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """10 per step alive, less squared distances of the tip from (0, 2) and squared joint velocities."""
        x, y = fields["site_xpos"][:, 0, 0], fields["site_xpos"][:, 0, 2]
        v1, v2 = fields["qvel"][:, 1], fields["qvel"][:, 2]
        terminated = y <= 1
        distance_penalty = 0.01 * scalar_square(x) + scalar_square(y - 2)
        velocity_penalty = 1e-3 * scalar_square(v1) + 5e-3 * scalar_square(v2)
        return 10.0 * ~terminated - distance_penalty - velocity_penalty, terminated


def _hopper_healthy(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    z, angle = qpos[:, 1], qpos[:, 2]
    state = np.concatenate([qpos[:, 2:], qvel], axis=1)
    bounded = np.all(np.abs(state) < 100.0, axis=1)
    return bounded & (z > 0.7) & (z < np.inf) & (np.abs(angle) < 0.2)


def _walker2d_healthy(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    z, angle = qpos[:, 1], qpos[:, 2]
    return (z > 0.8) & (z < 2.0) & (np.abs(angle) < 1.0)


def mujoco_task(name: str, physics: str) -> Task:
    """The task `name` with the rewards and the model file that go with `physics`."""
    d4rl = physics == "d4rl"
    if name == "inverted_double_pendulum":
        return DoublePendulum()
    if name == "halfcheetah":
        return Locomotion("half_cheetah.xml", 5, 0.1, "normal", control_cost=0.1, velocity_clip=np.inf)
    if name == "hopper":
        return Locomotion("hopper.xml", 4, 5e-3, "uniform", 1e-3, 10.0, _hopper_healthy, alive_on_terminal=d4rl)
    if name == "walker2d":
        # v5 gave both feet the friction 1.9; the older file has 0.9 on the right one
        xml = "walker2d.xml" if d4rl else "walker2d_v5.xml"
        return Locomotion(xml, 4, 5e-3, "uniform", 1e-3, 10.0, _walker2d_healthy, alive_on_terminal=d4rl)
    raise ValueError(f"{name} is not a MuJoCo task")
