"""Cart-pole swing-up: bring a hanging pole upright by pushing its cart, and keep it there near the middle of the track.

Dynamics and constants are PILCO's (Deisenroth, "Efficient Reinforcement Learning using Gaussian Processes", 2010,
appendix C.2), integrated by RK4 with the force held for a time step. Reward, track and starts are those of hardmaru's
estool (custom_envs/cartpole_swingup.py, used by Freeman et al., arXiv 1910.13038), whose steps are four times as short.
"""

import numpy as np

from moore.envs.closed_form import ClosedForm
from moore.envs.env_spec import EnvSpec, ReferenceScores, Tensor, finite

GRAVITY, CART_MASS, POLE_MASS, POLE_LENGTH = 9.82, 0.5, 0.5, 0.6  # m/s², kg, kg, m
FRICTION = 0.1  # between cart and track, N s/m
MAX_FORCE = 10.0  # N
TIME_STEP = 0.04  # s
TRACK = 2.4  # m, to each side; beyond it the episode ends
START_STD = 0.2  # of all four states, around a hanging pole at rest in the middle


def derivative(state: np.ndarray, force: np.ndarray) -> np.ndarray:
    """Return d/dt of states [k, 4], (x, theta, x', theta') with theta = 0 upright, under forces [k] on the cart."""
    _, theta, speed, spin = state.T
    sin, cos = np.sin(theta), np.cos(theta)
    mass, push = CART_MASS + POLE_MASS, force - FRICTION * speed
    # the thesis counts theta from the hanging pole: sine and cosine have the other sign there
    share = 4 * mass - 3 * POLE_MASS * cos**2
    cart = (-2 * POLE_MASS * POLE_LENGTH * spin**2 * sin + 3 * POLE_MASS * GRAVITY * sin * cos + 4 * push) / share
    pole = -3 * POLE_MASS * POLE_LENGTH * spin**2 * sin * cos + 6 * mass * GRAVITY * sin + 6 * push * cos
    return np.stack([speed, spin, cart, pole / (POLE_LENGTH * share)], axis=1)


class CartpoleSimulator(ClosedForm):
    """Cart-poles: `qpos` [num_sims, 2] (x; theta, 0 is upright, never wrapped), `qvel` their velocities."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, theta, speed, spin = rng.normal([0.0, np.pi, 0.0, 0.0], START_STD)
        return np.array([x, theta]), np.array([speed, spin])

    def advance(self, action: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step `ids` under a force [k, 1], clipped to +-MAX_FORCE: obs [k, 5], reward [k] in [0, 1], terminated [k]."""
        force = np.clip(action[:, 0], -MAX_FORCE, MAX_FORCE)
        state, dt = self.state()[ids], TIME_STEP
        k1 = derivative(state, force)
        k2 = derivative(state + dt / 2 * k1, force)
        k3 = derivative(state + dt / 2 * k2, force)
        k4 = derivative(state + dt * k3, force)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        self.qpos[ids], self.qvel[ids] = state[:, :2], state[:, 2:]
        x, theta = state[:, 0], state[:, 1]
        terminated = np.abs(x) > TRACK
        reward = (np.cos(theta) + 1) / 2 * np.cos(np.minimum(np.abs(x) / TRACK, 1.0) * np.pi / 2)
        return self.observe(ids), reward, terminated

    def observe(self, ids: np.ndarray) -> np.ndarray:
        """Return x, x', cos theta, sin theta, theta' [k, 5]."""
        x, theta = self.qpos[ids].T
        speed, spin = self.qvel[ids].T
        return np.stack([x, speed, np.cos(theta), np.sin(theta), spin], axis=1)


def off_track(next_obs: Tensor) -> Tensor:
    """End an episode beyond the track: bool [...] for next_obs [..., 5]."""
    return ~finite(next_obs) | (next_obs[..., 0].abs() > TRACK)


CARTPOLE_SWINGUP = EnvSpec(
    name="cartpole_swingup",
    gym_id="",
    obs_dim=5,
    action_dim=1,
    action_high=MAX_FORCE,
    max_episode_steps=250,
    physics=("closed-form",),
    simulator=lambda physics, num_sims: CartpoleSimulator(num_sims, 2),
    terminated=off_track,
    # 0: mean of 1000 episodes of uniform actions here (standard error 0.4). 100: the project's SAC at the end of
    # training (moore/data/behaviours): deterministic policy, last 8 snapshots x 100 episodes (1.0)
    reference_scores=ReferenceScores(8.8, 227.0),
    state_dim=2,
)
