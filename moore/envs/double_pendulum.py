"""InvertedDoublePendulum-v5: keep two poles on a cart upright."""

import numpy as np

from moore.envs.env_spec import EnvSpec, ReferenceScores, Tensor, finite
from moore.envs.tasks import Fields, Task, scalar_square

POLE_LENGTH = 0.6  # m, both poles
VELOCITY_CLIP = 10.0  # of the observations


class DoublePendulum(Task):
    """InvertedDoublePendulum: keep the tip of two poles on a cart above 1 m."""

    def observe(self, fields: Fields) -> np.ndarray:
        """Give cart position, sines and cosines of both joints, clipped velocities, force of the rail's end."""
        qpos = fields["qpos"]
        velocity = np.clip(fields["qvel"], -VELOCITY_CLIP, VELOCITY_CLIP)
        force = np.clip(fields["qfrc_constraint"], -10, 10)[:, :1]
        return np.concatenate([qpos[:, :1], np.sin(qpos[:, 1:]), np.cos(qpos[:, 1:]), velocity, force], axis=1)

    def outcome(self, x_before: np.ndarray, fields: Fields, action: np.ndarray, dt: float) -> tuple[np.ndarray, ...]:
        """Pay 10 per step alive, less squared distances of the tip from (0, 2) and squared joint velocities."""
        x, y = fields["site_xpos"][:, 0, 0], fields["site_xpos"][:, 0, 2]
        v1, v2 = fields["qvel"][:, 1], fields["qvel"][:, 2]
        terminated = y <= 1
        distance_penalty = 0.01 * scalar_square(x) + scalar_square(y - 2)
        velocity_penalty = 1e-3 * scalar_square(v1) + 5e-3 * scalar_square(v2)
        return 10.0 * ~terminated - distance_penalty - velocity_penalty, terminated


def terminated(next_obs: Tensor) -> Tensor:
    """Tell from next_obs [..., 9] whether the tip is below 1 m: bool [...].

    The simulation tests the tip at the last stage of the integrator, less than 1e-3 m from where next_obs puts it.
    """
    sin1, sin2, cos1, cos2 = next_obs[..., 1:5].unbind(-1)
    tip_height = POLE_LENGTH * (cos1 + (cos1 * cos2 - sin1 * sin2))  # cos(a + b); the second angle is relative
    return ~(finite(next_obs) & (tip_height > 1.0))


INVERTED_DOUBLE_PENDULUM = EnvSpec(
    name="inverted_double_pendulum",
    gym_id="InvertedDoublePendulum-v5",
    obs_dim=9,
    action_dim=1,
    action_high=1.0,
    max_episode_steps=1000,
    task=lambda physics: DoublePendulum(
        "inverted_double_pendulum.xml", 5, 0.1, "normal", ("site_xpos", "qfrc_constraint"), collides=False
    ),
    terminated=terminated,
    # 0: mean of 1000 episodes of uniform actions here (standard error 0.6). 100: the return of the snapshots of the
    # project's SAC (moore/data/behaviours/inverted_double_pendulum.json) that never fell
    reference_scores=ReferenceScores(47.2, 9359.0),
    state_dim=3,
    termination_margin=2e-3,  # more than the 1e-3 m of `terminated`
    velocity_clip=VELOCITY_CLIP,
    state_columns=8,  # the last entry is the force at the end of the rail, which the last step left behind
)
