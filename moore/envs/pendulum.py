"""Gymnasium's Pendulum-v1, written for many simulations at once and equal to it bit for bit."""

import numpy as np

from moore.envs.closed_form import ClosedForm
from moore.envs.env_spec import EnvSpec, ReferenceScores, never
from moore.envs.tasks import scalar_square

GRAVITY, MASS, LENGTH = 10.0, 1.0, 1.0  # m/s², kg, m
TIME_STEP = 0.05  # s
MAX_SPEED, MAX_TORQUE = 8.0, 2.0  # rad/s, N m
INITIAL_HIGH = np.array([np.pi, 1.0])  # rad, rad/s


class PendulumSimulator(ClosedForm):
    """Pendulums: angle `qpos` [num_sims, 1] (0 is upright, never wrapped), angular velocity `qvel`."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        theta, theta_dot = rng.uniform(-INITIAL_HIGH, INITIAL_HIGH)
        return np.array([theta]), np.array([theta_dot])

    def advance(self, action: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step `ids` under a torque [k, 1], clipped as in Gymnasium: obs [k, 3], reward [k], terminated [k]."""
        theta, theta_dot = self.qpos[ids, 0], self.qvel[ids, 0]
        torque = np.clip(action[:, 0], -MAX_TORQUE, MAX_TORQUE)  # keeps the action's precision, as Gymnasium does
        angle = ((theta + np.pi) % (2 * np.pi)) - np.pi
        cost = scalar_square(angle) + 0.1 * scalar_square(theta_dot) + 0.001 * scalar_square(torque)
        acceleration = 3 * GRAVITY / (2 * LENGTH) * np.sin(theta) + 3.0 / (MASS * LENGTH**2) * torque
        theta_dot = np.clip(theta_dot + acceleration * TIME_STEP, -MAX_SPEED, MAX_SPEED)
        self.qpos[ids, 0] = theta + theta_dot * TIME_STEP
        self.qvel[ids, 0] = theta_dot
        return self.observe(ids), -cost, np.zeros(len(ids), dtype=bool)

    def observe(self, ids: np.ndarray) -> np.ndarray:
        theta = self.qpos[ids]
        obs = np.concatenate([np.cos(theta), np.sin(theta), self.qvel[ids]], axis=1)
        return obs.astype(np.float32).astype(np.float64)  # Gymnasium's observations have float32 precision


PENDULUM = EnvSpec(
    name="pendulum",
    gym_id="Pendulum-v1",
    obs_dim=3,
    action_dim=1,
    action_high=MAX_TORQUE,
    max_episode_steps=200,
    simulator=lambda physics, num_sims: PendulumSimulator(num_sims, 1),
    terminated=never,
    # 0: mean of 1000 episodes of uniform actions here (standard error 9.1). 100: the project's SAC at the end of
    # training (moore/data/behaviours/pendulum.json): deterministic policy, last 8 snapshots x 100 episodes (3.1)
    reference_scores=ReferenceScores(-1224.2, -145.3),
    state_dim=1,
)
