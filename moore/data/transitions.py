"""From the rows of a file to one-step transitions: which rows count, and where the next observation comes from."""

from dataclasses import dataclass

import numpy as np

from moore.base.errors import UserError
from moore.data.hdf5 import Dataset
from moore.envs.spec import find_spec


@dataclass(frozen=True)
class Transitions:
    """M transitions for training, float32 but for the flag. Returns are of the file's episodes, as far as it has them.

    A time limit does not stop the bootstrap, so there is no flag for it.
    """

    obs: np.ndarray  # [M, obs_dim], and next_obs
    action: np.ndarray  # [M, action_dim] in [-1, 1]
    reward: np.ndarray  # [M]
    next_obs: np.ndarray
    terminated: np.ndarray  # [M] bool, stops the bootstrap
    return_range: float = 0.0  # best minus worst undiscounted return of an episode
    return_to_go: np.ndarray | None = None  # [M] discounted rewards to the episode's end
    return_floor: float | None = None  # what it counts for what comes after an end that was no termination
    episode_return: np.ndarray | None = None  # [M] undiscounted return of the transition's episode

    def __len__(self) -> int:
        return len(self.obs)


SUBSET_SEED = 0


def to_transitions(
    dataset: Dataset, keep_timeouts: bool = False, limit: int | None = None, gamma: float | None = None
) -> Transitions:
    """Make the transitions of a dataset; none bootstraps from another episode.

    keep_timeouts=False repeats `d4rl.qlearning_dataset`, which published numbers are based on: next_obs is the
    observation of the file's next row; timeout rows, whose next row starts another episode, and the last row are
    dropped. A terminated row keeps the next episode's first observation: no bootstrap reads it, but a model learns it.
    keep_timeouts=True takes the stored next_observations: every row counts and every next_obs is the true one.

    limit: at most so many transitions, drawn without replacement, always the same ones. gamma: the discount of
    return_to_go, which is left out without it. After a time limit or the end of the file the episode could have gone
    on with the worst reward in the file, min(0, worst) / (1 - gamma), so that the return is a lower bound (Cal-QL).

    Raises UserError when nothing is left, or when keep_timeouts is asked of a file without next_observations.
    """
    rows: np.ndarray | slice = slice(None)  # all rows are views, not copies
    after, count = dataset.next_obs, len(dataset)
    if not keep_timeouts:
        rows, after = np.flatnonzero(~dataset.truncated[:-1]), dataset.obs[1:]
        count = len(rows)
    if after is None:
        raise UserError(f"this {dataset.env} file has no 'next_observations'; accepted: keep_timeouts: false")
    if count == 0:
        raise UserError(f"no transition in {len(dataset)} rows of {dataset.env}; accepted: two rows of one episode")
    if limit is not None and limit < count:
        chosen = np.sort(np.random.default_rng(SUBSET_SEED).choice(count, limit, replace=False))
        rows = chosen if isinstance(rows, slice) else rows[chosen]
    action = dataset.action[rows] / np.float32(find_spec(dataset.env).action_high)
    ends = dataset.terminated | dataset.truncated
    ends[-1] = True
    first = np.append(True, ends[:-1])
    returns = np.add.reduceat(dataset.reward.astype(np.float64), np.flatnonzero(first))
    floor: float | None = None
    returns_after = None
    if gamma is not None:
        floor = min(0.0, float(dataset.reward.min()))
        if floor < 0:  # the worst reward for ever; else an episode that ends at once
            floor = floor / (1.0 - gamma) if gamma < 1 else -np.inf
        returns_after = returns_to_go(dataset.reward, ends, np.where(dataset.terminated, 0.0, floor), gamma)[rows]
    return Transitions(
        obs=dataset.obs[rows],
        action=np.clip(action, -1.0, 1.0, out=action),  # the reader allows for rounding just beyond the bounds
        reward=dataset.reward[rows],
        next_obs=after[rows],
        terminated=dataset.terminated[rows],
        return_range=float(returns.max() - returns.min()),
        return_to_go=returns_after,
        return_floor=floor,
        episode_return=returns[np.cumsum(first) - 1][rows].astype(np.float32),
    )


def returns_to_go(reward: np.ndarray, ends: np.ndarray, tail: np.ndarray, gamma: float) -> np.ndarray:
    """Compute discounted sums float32 [N] of reward [N] from each row to its episode's end, and of tail [N] after it.

    ends [N] bool marks last rows, whose tail is the value of the state behind them.
    """
    sums, total = [], 0.0
    for value, end, after in zip(*(x[::-1].tolist() for x in (reward, ends, tail)), strict=True):
        total = value + gamma * (after if end else total)
        sums.append(total)
    return np.array(sums[::-1], dtype=np.float32)
