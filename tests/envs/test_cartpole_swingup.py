"""Cart-pole swing-up against Lagrange's equations, integrated by scipy, and against the conservation of energy."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from moore.envs import cartpole_swingup as cartpole
from moore.envs.spec import terminated_fn
from moore.envs.vector_env import make_env

POLE_MASS, POLE_LENGTH, CART_MASS, GRAVITY, FRICTION = 0.5, 0.6, 0.5, 9.82, 0.1  # PILCO's, written again


def lagrange(state: np.ndarray, force: float) -> np.ndarray:
    """d/dt of (x, theta, x', theta') for a uniform rod on a cart: M(q) q'' = Q(q, q'), solved as a linear system."""
    _, theta, speed, spin = state
    m, length = POLE_MASS, POLE_LENGTH
    half = m * length / 2 * np.cos(theta)
    inertia = np.array([[CART_MASS + m, -half], [-half, m * length**2 / 3]])
    forces = [
        force - FRICTION * speed - m * length / 2 * np.sin(theta) * spin**2,
        m * GRAVITY * length / 2 * np.sin(theta),
    ]
    return np.array([speed, spin, *np.linalg.solve(inertia, forces)])


def test_steps_are_those_of_lagrange() -> None:
    """Breaks if a sign, a constant or the integration is wrong; forces beyond the bounds are clipped."""
    rng = np.random.default_rng(0)
    simulator, ids = cartpole.CartpoleSimulator(20, 2), np.arange(20)
    start, action = rng.uniform(-2, 2, (20, 4)) * [1, np.pi / 2, 1, 3], rng.uniform(-15, 15, (20, 1))
    simulator.set_state(start[:, :2], start[:, 2:], ids)
    obs, reward, terminated = simulator.advance(action, ids)
    for number, state in enumerate(simulator.state()):
        force = float(np.clip(action[number, 0], -10, 10))
        end = solve_ivp(lambda _, y, f=force: lagrange(y, f), (0, 0.04), start[number], rtol=1e-10, atol=1e-10).y[:, -1]
        np.testing.assert_allclose(state, end, atol=1e-3)
        x, theta, speed, spin = state
        np.testing.assert_allclose(obs[number], [x, speed, np.cos(theta), np.sin(theta), spin], rtol=1e-12)
        inside = abs(x) <= 2.4
        assert terminated[number] == (not inside)
        expected = (1 + np.cos(theta)) / 2 * np.cos(x / 2.4 * np.pi / 2) if inside else 0.0
        np.testing.assert_allclose(reward[number], expected, atol=1e-12)


def test_energy_is_conserved_without_friction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cartpole, "FRICTION", 0.0)
    simulator, ids = cartpole.CartpoleSimulator(1, 2), np.arange(1)
    simulator.set_state(np.array([[0.0, 2.0]]), np.array([[0.5, 1.0]]), ids)

    def energy() -> float:
        _, theta, speed, spin = simulator.state()[0]
        m, length = POLE_MASS, POLE_LENGTH
        kinetic = (CART_MASS + m) / 2 * speed**2 + m * length**2 / 6 * spin**2
        return kinetic - m * length / 2 * np.cos(theta) * speed * spin + m * GRAVITY * length / 2 * np.cos(theta)

    before = energy()
    for _ in range(250):
        simulator.advance(np.zeros((1, 1)), ids)
    assert abs(energy() - before) < 1e-2


def test_an_episode() -> None:
    """Breaks if an episode is of another length, starts elsewhere, or the imagined one ends elsewhere."""
    env = make_env("cartpole_swingup", list(range(200)), "closed-form")
    obs = env.reset()
    assert abs(obs.mean(0) - [0, 0, -np.cos(0.2), 0, 0]).max() < 0.06  # a mean of 200, within four standard errors
    env.set_state(np.tile([0.0, np.pi], (200, 1)), np.zeros((200, 2)))
    for step in range(250):
        obs, reward, terminated, truncated = env.step(np.zeros((200, 1)))
        assert not terminated.any()
        assert truncated.all() == truncated.any() == (step == 249)
    env.reset()
    alive = np.arange(200)
    while len(alive):
        obs, reward, terminated, truncated = env.step(np.full((len(alive), 1), 0.3), alive)
        assert ((reward >= 0) & (reward <= 1)).all()
        imagined = terminated_fn("cartpole_swingup")(torch.tensor(obs))
        np.testing.assert_array_equal(imagined.numpy(), terminated)
        assert not truncated.any()
        alive = alive[~terminated]
