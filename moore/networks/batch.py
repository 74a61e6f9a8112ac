"""Transitions as a typed tuple, and packed as rows of one table."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Transitions; every field has leading axes [R, B]."""

    obs: Tensor  # [R, B, obs_dim]
    action: Tensor  # [R, B, action_dim], in [-1, 1]
    reward: Tensor  # [R, B]
    next_obs: Tensor  # [R, B, obs_dim]
    terminated: Tensor  # [R, B], 1.0 stops the bootstrap; a time limit does not


class BatchWithReturns(NamedTuple):
    """A Batch for Cal-QL: with the discounted rewards from each transition to its episode's end."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    return_to_go: Tensor  # [R, B]


AnyBatch = Batch | BatchWithReturns


def pack(batch: Batch) -> Tensor:
    """Rows [..., D] of a batch with fields [...] and [..., dim]; D = 2 obs_dim + action_dim + 2."""
    return torch.cat(
        [batch.obs, batch.action, batch.reward[..., None], batch.next_obs, batch.terminated[..., None].float()], -1
    )


def unpack(rows: Tensor, obs_dim: int) -> Batch:
    """Return the batch that `pack` made rows [..., D] of."""
    action_dim = rows.shape[-1] - 2 * obs_dim - 2
    obs, action, reward, next_obs, terminated = rows.split([obs_dim, action_dim, 1, obs_dim, 1], -1)
    return Batch(obs, action, reward.squeeze(-1), next_obs, terminated.squeeze(-1))
