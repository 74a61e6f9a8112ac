"""When episodes end in MuJoCo environments that Gymnasium simulates for us, so that a model can imagine them.

gymnasium/envs/mujoco/*_v5.py with the arguments that `gymnasium.make` gives them.
"""

from collections.abc import Callable

from moore.envs.env_spec import Tensor, finite, never


def ant_terminated(next_obs: Tensor) -> Tensor:
    """End an episode where the torso leaves the heights from 0.2 to 1 m: bool [...] of next_obs [..., obs_dim]."""
    height = next_obs[..., 0]
    return ~(finite(next_obs) & (height >= 0.2) & (height <= 1.0))


def inverted_pendulum_terminated(next_obs: Tensor) -> Tensor:
    """End an episode where the pole leans by more than 0.2 rad: bool [...] of next_obs [..., 4]."""
    return ~(finite(next_obs) & (next_obs[..., 1].abs() <= 0.2))


TERMINATED: dict[str, Callable[[Tensor], Tensor]] = {
    "Ant-v5": ant_terminated,
    "InvertedPendulum-v5": inverted_pendulum_terminated,
    "Pusher-v5": never,
    "Reacher-v5": never,
    "Swimmer-v5": never,
}
"""By Gymnasium's id."""
