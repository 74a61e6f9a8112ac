"""`terminated_fn` on observations agrees with the simulations' own end; on visited states see test_gymnasium.py."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from moore.envs.spec import ENVIRONMENTS, terminated_fn
from moore.envs.vector_env import make_env


@pytest.mark.parametrize("name", ["hopper", "walker2d"])
@pytest.mark.parametrize(("coordinate", "centre"), [(1, 0.7), (1, 0.8), (1, 2.0), (2, 0.2), (2, -0.2), (2, 1), (2, -1)])
def test_agrees_with_gymnasium_near_the_boundary(name: str, coordinate: int, centre: float) -> None:
    """Heights (qpos 1) and angles (qpos 2) on both sides of the limits of both robots, far from and close to them."""
    offsets = np.concatenate([sign * np.geomspace(1e-9, 0.3, 40) for sign in (-1, 1)])
    env = make_env(name, range(len(offsets)), "gymnasium")
    env.reset()
    qpos = env.qpos
    qpos[:, 1] = 1.25
    qpos[:, coordinate] = centre + offsets
    env.set_state(qpos, 1e-3 * env.qvel)
    obs, _, terminated, _ = env.step(np.zeros((len(offsets), env.spec.action_dim)))
    theirs: Any = gymnasium.make(env.spec.gym_id).unwrapped
    expected = []
    for position, velocity in zip(env.qpos, env.qvel, strict=True):
        theirs.set_state(position, velocity)
        expected.append(not theirs.is_healthy)
    np.testing.assert_array_equal(terminated, expected)
    np.testing.assert_array_equal(terminated_fn(name)(torch.from_numpy(obs)).numpy(), expected)


def test_double_pendulum_near_the_boundary() -> None:
    """The simulation tests the tip at the integrator's last stage, so agreement is only due beyond 1 mm."""
    angles = np.linspace(0.3, 0.9, 401)
    env = make_env("inverted_double_pendulum", range(len(angles)), "gymnasium")
    qpos, qvel = env.qpos, env.qvel
    qpos[:, 1] = angles
    env.set_state(qpos, qvel)
    obs, _, terminated, _ = env.step(np.zeros((len(angles), 1)))
    qpos = env.qpos
    distance = np.abs(0.6 * (np.cos(qpos[:, 1]) + np.cos(qpos[:, 1] + qpos[:, 2])) - 1.0)
    imagined = terminated_fn("inverted_double_pendulum")(torch.from_numpy(obs)).numpy()
    np.testing.assert_array_equal(imagined[distance > 1e-3], terminated[distance > 1e-3])
    assert 0 < terminated.sum() < len(angles)
    assert distance.min() < 3e-3


def healthy_obs(name: str) -> torch.Tensor:
    env = make_env(name, [0], ENVIRONMENTS[name].physics[0])
    return torch.from_numpy(env.reset()[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "spec"), ENVIRONMENTS.items())
def test_non_finite_observations(name: str, spec: object, value: float) -> None:
    obs = healthy_obs(name).repeat(ENVIRONMENTS[name].obs_dim, 1).fill_diagonal_(value)
    assert torch.all(terminated_fn(name)(obs) == (name not in ("pendulum", "halfcheetah")))


def test_hopper_ends_when_any_coordinate_explodes() -> None:
    obs = healthy_obs("hopper").repeat(11, 1)
    obs[torch.arange(1, 11), torch.arange(1, 11)] = -100.0
    assert terminated_fn("hopper")(obs).tolist() == [False] + [True] * 10


@pytest.mark.parametrize("name", list(ENVIRONMENTS))
def test_leading_axes_and_precision(name: str) -> None:
    obs = healthy_obs(name).float().expand(2, 3, 5, -1)
    result = terminated_fn(name)(obs)
    assert result.shape == (2, 3, 5)
    assert result.dtype == torch.bool
    assert not result.any()
