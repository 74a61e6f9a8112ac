"""Simulations in closed form, whose state is positions and velocities and nothing else."""

import numpy as np


class ClosedForm:
    """`num_sims` simulations with positions `qpos`, velocities `qvel` [num_sims, size]; children have the dynamics."""

    def __init__(self, num_sims: int, size: int) -> None:
        self.qpos, self.qvel = np.zeros((2, num_sims, size))

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, ids: np.ndarray) -> np.ndarray:
        self.qpos[ids], self.qvel[ids] = qpos, qvel
        return self.observe(ids)

    def observe(self, ids: np.ndarray) -> np.ndarray:
        """Return obs [k, obs_dim] of the states as they are."""
        raise NotImplementedError

    def state(self) -> np.ndarray:
        return np.concatenate([self.qpos, self.qvel], axis=1)

    def load_state(self, state: np.ndarray) -> None:
        self.qpos[...], self.qvel[...] = np.split(state, 2, axis=1)
