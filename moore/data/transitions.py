"""From the rows of a file to one-step transitions: which rows count, and where the next observation comes from."""

from dataclasses import dataclass

import numpy as np

from moore.data.hdf5 import Dataset
from moore.envs.spec import ENVIRONMENTS
from moore.errors import UserError


@dataclass(frozen=True)
class Transitions:
    """M transitions for training, float32 but for the flag.

    obs, next_obs [M, obs_dim]; action [M, action_dim] in [-1, 1]; reward [M]; terminated [M] bool, which stops the
    bootstrap. A time limit does not, so there is no other flag.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray

    def __len__(self) -> int:
        return len(self.obs)


def to_transitions(dataset: Dataset, keep_timeouts: bool = False) -> Transitions:
    """The transitions of a dataset; none bootstraps from another episode.

    keep_timeouts=False repeats `d4rl.qlearning_dataset`, which published numbers are based on: next_obs is the
    observation of the file's next row, timeout rows are dropped (their next row starts another episode), and so is the
    last row. A terminated row keeps, as in D4RL, the next episode's first observation, which no bootstrap reads, but a
    dynamics model would learn: train models on the other variant.

    keep_timeouts=True takes the stored next_observations: every row counts and every next_obs is the true one. A
    timeout row is an ordinary transition with terminated False.

    Raises UserError when nothing is left, or when keep_timeouts is asked of a file without next_observations.
    """
    if keep_timeouts:
        if dataset.next_obs is None:
            raise UserError(f"this {dataset.env} file has no 'next_observations'; accepted: keep_timeouts=False")
        rows = np.arange(len(dataset))
        next_obs = dataset.next_obs
    else:
        rows = np.flatnonzero(~dataset.truncated[:-1])
        next_obs = dataset.obs[rows + 1]
    if len(rows) == 0:
        raise UserError(f"no transition in {len(dataset)} rows of {dataset.env}; accepted: two rows of one episode")
    action = dataset.action[rows] / np.float32(ENVIRONMENTS[dataset.env].action_high)
    return Transitions(
        obs=dataset.obs[rows],
        action=np.clip(action, -1.0, 1.0),  # the reader allows for rounding just beyond the bounds
        reward=dataset.reward[rows],
        next_obs=next_obs,
        terminated=dataset.terminated[rows],
    )
