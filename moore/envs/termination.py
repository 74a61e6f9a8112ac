"""Termination as a function of the next observation, for imagined transitions.

Each function maps next_obs [..., obs_dim] to bool [...] on the same device, without waiting for it. A model can imagine
what no simulation would: a non-finite observation ends the episode where the environment has an end at all, and never
in Pendulum and HalfCheetah, whose episodes only stop at the time limit.

The rules are those of the environments, with two limits of what an observation shows: Hopper's |state| < 100 sees
velocities that the observation has clipped to 10, and InvertedDoublePendulum tests the tip at the last stage of the
integrator, less than 1e-3 m from where the observation puts it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from moore.envs.spec import find_spec

POLE_LENGTH = 0.6  # m, both poles of InvertedDoublePendulum


def terminated_fn(name: str) -> Callable[[Tensor], Tensor]:
    """The termination function of environment `name`."""
    return _FUNCTIONS[find_spec(name).name]


def _never(next_obs: Tensor) -> Tensor:
    return torch.zeros(next_obs.shape[:-1], dtype=torch.bool, device=next_obs.device)


def _double_pendulum(next_obs: Tensor) -> Tensor:
    sin1, sin2, cos1, cos2 = next_obs[..., 1:5].unbind(-1)
    tip_height = POLE_LENGTH * (cos1 + (cos1 * cos2 - sin1 * sin2))  # cos(a + b); the second angle is relative
    return ~(_finite(next_obs) & (tip_height > 1.0))


def _hopper(next_obs: Tensor) -> Tensor:
    height, angle = next_obs[..., 0], next_obs[..., 1]
    bounded = (next_obs[..., 1:].abs() < 100.0).all(-1)
    return ~(_finite(next_obs) & bounded & (height > 0.7) & (angle.abs() < 0.2))


def _walker2d(next_obs: Tensor) -> Tensor:
    height, angle = next_obs[..., 0], next_obs[..., 1]
    return ~(_finite(next_obs) & (height > 0.8) & (height < 2.0) & (angle.abs() < 1.0))


def _finite(obs: Tensor) -> Tensor:
    return torch.isfinite(obs).all(-1)


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "pendulum": _never,
    "inverted_double_pendulum": _double_pendulum,
    "hopper": _hopper,
    "halfcheetah": _never,
    "walker2d": _walker2d,
}
