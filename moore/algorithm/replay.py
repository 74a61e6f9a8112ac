"""Transitions on the device: offline datasets stored once, an online part per run, and the model's imagined ones.

A transition is one row [obs, action, reward, next_obs, terminated] of a float32 table, so that a minibatch from any
mixture of sources is a single gather.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from moore.data.transitions import Transitions
from moore.networks.batch import Batch, BatchWithReturns, pack, unpack
from moore.networks.state import State

SHUFFLE_SEED = 0


class RealBuffer(State):
    """D_off and D_on of R runs in one table: the datasets' rows first, then `online_capacity` rows for each run.

    datasets: packed rows [N_k, D] of each distinct dataset, stored once; dataset_of: which one run r uses (None in
    a run from scratch). Every run has the same number of online transitions, one a step.
    """

    def __init__(
        self,
        datasets: Sequence[Tensor],
        dataset_of: Sequence[int | None],
        obs_dim: int,
        action_dim: int,
        online_capacity: int,
        device: torch.device | str = "cpu",
        return_to_go: Sequence[Tensor] | None = None,
    ) -> None:
        self.obs_dim, self.action_dim, self.online_capacity, self.online_size = obs_dim, action_dim, online_capacity, 0
        *offsets, total = accumulate((len(rows) for rows in datasets), initial=0)
        online = torch.zeros(len(dataset_of) * online_capacity, 2 * obs_dim + action_dim + 2)
        self.rows = torch.cat([*datasets, online]).to(device)
        self.return_to_go: Tensor | None = None
        if return_to_go is not None:
            self.return_to_go = torch.cat([*return_to_go, torch.full((len(online),), -torch.inf)]).to(device)
        # lists beside the tensors [R]: reading a number off a GPU would stall it
        self.offline_size = [0 if k is None else len(datasets[k]) for k in dataset_of]
        self._offline_first = [0 if k is None else offsets[k] for k in dataset_of]
        self._online_first = [total + online_capacity * run for run in range(len(dataset_of))]
        self.offline_start = torch.tensor(self._offline_first, device=device, dtype=torch.long)
        self.online_start = torch.tensor(self._online_first, device=device, dtype=torch.long)

    def append(self, batch: Batch) -> None:
        """Add one online transition per run; batch fields are [R, ...]."""
        assert self.online_size < self.online_capacity, "the online buffer is full: more steps than the run's budget"
        self.rows[self.online_start + self.online_size] = pack(batch)
        self.online_size += 1

    def end_episode(self, run: int, first: int, gamma: float, tail: float) -> None:
        """Fill in the returns of one run's online transitions number `first` to the latest, where they are kept.

        tail: the value of what comes after the latest, 0 if it terminated.
        """
        if self.return_to_go is None:
            return
        start = self._online_first[run]
        rewards = self.rows[start + first : start + self.online_size, -self.obs_dim - 2].tolist()
        for step in range(len(rewards) - 1, -1, -1):
            tail = rewards[step] = rewards[step] + gamma * tail
        self.return_to_go[start + first : start + self.online_size] = torch.tensor(rewards)

    def gather(self, index: Tensor) -> Batch:
        """Transitions at absolute row indices [R, B]."""
        return unpack(self.rows[index], self.obs_dim)

    def gather_with_returns(self, index: Tensor) -> BatchWithReturns:
        """Return transitions with their returns, where they are kept."""
        assert self.return_to_go is not None
        return BatchWithReturns(*self.gather(index), self.return_to_go[index])

    def all_of(self, run: int) -> Batch:
        """Return every transition of one run, offline then online; fields [N, ...]."""
        first, size = self._offline_first[run], self.offline_size[run]
        start = self._online_first[run]
        online = self.rows[start : start + self.online_size]
        return unpack(torch.cat([self.rows[first : first + size], online]), self.obs_dim)

    def state(self) -> dict[str, Any]:
        """Return the online transitions so far, [R, n, D]; with the datasets they are all that a checkpoint needs."""
        index = self.online_start[:, None] + torch.arange(self.online_size, device=self.rows.device)
        state = {"online_rows": self.rows[index]}
        return state if self.return_to_go is None else state | {"return_to_go": self.return_to_go[index]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.online_size = state["online_rows"].shape[1]
        index = self.online_start[:, None] + torch.arange(self.online_size, device=self.rows.device)
        self.rows[index] = state["online_rows"].to(self.rows.device)
        if self.return_to_go is not None:
            self.return_to_go[index] = state["return_to_go"].to(self.rows.device)


class ModelBuffer(State):
    """D_model of R runs: a first-in-first-out table [R, capacity, D] with its own fill level per run.

    Runs fill at different speeds because a terminated imagined branch adds nothing more.
    """

    def __init__(
        self, num_runs: int, capacity: int, obs_dim: int, action_dim: int, device: torch.device | str = "cpu"
    ) -> None:
        self.obs_dim, self.action_dim, self.capacity = obs_dim, action_dim, capacity
        # one row more in each run's table takes what is not to be added: picking out the rest would stall a GPU
        self._table = torch.zeros(num_runs, capacity + 1, 2 * obs_dim + action_dim + 2, device=device)
        self.rows = self._table[:, :capacity]
        self.written = torch.zeros(num_runs, dtype=torch.long, device=device)  # rows ever added, [R]

    @property
    def size(self) -> Tensor:
        """Transitions held by each run, [R]."""
        return self.written.clamp(max=self.capacity)

    def append(self, batch: Batch, valid: Tensor) -> None:
        """Add the transitions [R, B] whose valid [R, B] is True, in order; the oldest give way. B <= capacity."""
        slot = (self.written[:, None] + valid.cumsum(1) - 1) % self.capacity
        run = torch.arange(len(self.rows), device=self.rows.device)[:, None]
        self._table[run, torch.where(valid, slot, self.capacity)] = pack(batch)
        self.written += valid.sum(1)

    def gather(self, index: Tensor) -> Batch:
        """Transitions at positions [R, B], each below the run's size."""
        run = torch.arange(len(self.rows), device=self.rows.device)[:, None]
        return unpack(self.rows[run, index], self.obs_dim)


def shuffled(column: Any) -> Tensor:
    """Return an array or a tensor [N, ...] of a dataset in the order of offline rows, whose end is a fair holdout."""
    order = torch.randperm(len(column), generator=torch.Generator().manual_seed(SHUFFLE_SEED))
    return torch.as_tensor(column)[order]


def dataset_rows(data: Transitions) -> Tensor:
    """Return the packed rows [N, D] of a dataset, shuffled."""
    fields = (data.obs, data.action, data.reward, data.next_obs, data.terminated)
    return shuffled(pack(Batch(*(torch.as_tensor(x, dtype=torch.float32) for x in fields))))
