"""Hopper, HalfCheetah and Walker2d: Gymnasium's v5 tasks, or D4RL's older *-v2 ones with physics "d4rl"."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from moore.envs.env_spec import EnvSpec, ReferenceScores, Tensor, finite, never
from moore.envs.tasks import Fields, Task

VELOCITY_CLIP = 10.0  # of the observations of Hopper and Walker2d
Healthy = Callable[[Any, Any, Any], Any]
"""Height [...], angle [...] and [..., n] angle, joints and velocities, arrays or tensors -> bool [...]."""


@dataclass(frozen=True, kw_only=True)
class Locomotion(Task):
    """Run forward, stay healthy, spend little control."""

    control_cost: float
    velocity_clip: float
    healthy: Healthy | None = None  # None: the robot cannot fall
    alive_on_terminal: bool = False  # the step that ends an episode gets the alive bonus, too: the *-v2 rule of D4RL

    def observe(self, fields: Fields) -> np.ndarray:
        """Give all positions but x, then the clipped velocities."""
        velocity = np.clip(fields["qvel"], -self.velocity_clip, self.velocity_clip)
        return np.concatenate([fields["qpos"][:, 1:], velocity], axis=1)

    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """Pay forward speed + alive bonus - control cost; the control cost is of the action as given, not clipped."""
        reward = (fields["qpos"][:, 0] - x_before) / dt
        terminated, qpos = np.zeros(len(reward), dtype=bool), fields["qpos"]
        if self.healthy is not None:
            rest = np.concatenate([qpos[:, 2:], fields["qvel"]], axis=1)
            terminated = ~self.healthy(qpos[:, 1], qpos[:, 2], rest)
            reward = reward + (1.0 if self.alive_on_terminal else ~terminated * 1.0)
        # in the action's own precision, as Gymnasium does: float32 actions have a float32 cost
        return reward - self.control_cost * np.sum(np.square(action), axis=1), terminated


def hopper_healthy(height: Any, angle: Any, rest: Any) -> Any:
    """Tell where the robot stands and its state has not exploded."""
    return (height > 0.7) & (height < math.inf) & (abs(angle) < 0.2) & (abs(rest) < 100.0).all(-1)


def walker2d_healthy(height: Any, angle: Any, rest: Any) -> Any:
    """Tell where the robot stands."""
    return (height > 0.8) & (height < 2.0) & (abs(angle) < 1.0)


def ends_unless(healthy: Healthy) -> Callable[[Tensor], Tensor]:
    """Make the rule by which imagined episodes end, next_obs [..., obs_dim] -> bool [...], of that of simulated ones.

    A simulation sees velocities that the observation has clipped to 10.
    """
    return lambda next_obs: ~(finite(next_obs) & healthy(next_obs[..., 0], next_obs[..., 1], next_obs[..., 1:]))


_faller = partial(Locomotion, control_cost=1e-3, velocity_clip=VELOCITY_CLIP)
_robot = partial(
    EnvSpec,
    action_high=1.0,
    max_episode_steps=1000,
    physics=("gymnasium", "d4rl"),
    default_transitions=250_000,
)
# reference scores: D4RL's infos.py (REF_MIN_SCORE, REF_MAX_SCORE), of a random policy and a SAC expert
HOPPER = _robot(
    name="hopper",
    gym_id="Hopper-v5",
    obs_dim=11,
    action_dim=3,
    task=lambda physics: _faller(
        "hopper.xml", 4, 5e-3, "uniform", healthy=hopper_healthy, alive_on_terminal=physics == "d4rl"
    ),
    terminated=ends_unless(hopper_healthy),
    reference_scores=ReferenceScores(-20.272305, 3234.3),
    state_dim=6,
    velocity_clip=VELOCITY_CLIP,
    hidden_beyond=VELOCITY_CLIP,
)
HALFCHEETAH = _robot(
    name="halfcheetah",
    gym_id="HalfCheetah-v5",
    obs_dim=17,
    action_dim=6,
    task=lambda _: Locomotion("half_cheetah.xml", 5, 0.1, "normal", control_cost=0.1, velocity_clip=np.inf),
    terminated=never,
    reference_scores=ReferenceScores(-280.178953, 12135.0),
    state_dim=9,
)
WALKER2D = _robot(
    name="walker2d",
    gym_id="Walker2d-v5",
    obs_dim=17,
    action_dim=6,
    task=lambda physics: _faller(
        # v5 gave both feet the friction 1.9; the older file has 0.9 on the right one
        "walker2d.xml" if physics == "d4rl" else "walker2d_v5.xml",
        *(4, 5e-3, "uniform"),
        healthy=walker2d_healthy,
        alive_on_terminal=physics == "d4rl",
    ),
    terminated=ends_unless(walker2d_healthy),
    reference_scores=ReferenceScores(1.629008, 4592.3),
    state_dim=9,
    velocity_clip=VELOCITY_CLIP,
)
