"""Branched model rollouts: H imagined steps from real states, with penalised rewards, into D_model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moore.dynamics import Ensemble
from moore.penalty import uncertainty
from moore.replay import Batch, ModelBuffer
from moore.rng import Streams, scale_to_index
from moore.sac import SAC

FAR_STDS = 30.0  # imagined states this many standard deviations away from the data are counted


@dataclass(frozen=True)
class RolloutConfig:
    """Settings of imagination; the defaults are MOPO's."""

    length: int = 5  # H
    batch_size: int = 50_000  # start states of each rollout, R in Algorithm 1
    retain: int = 5  # D_model holds the transitions of this many rollouts


def rollout(
    ensemble: Ensemble,
    agent: SAC,
    start_obs: Tensor,
    length: int,
    terminated_fn: Callable[[Tensor], Tensor],
    kinds: Sequence[str],
    penalty_coef: Tensor,
    streams: Streams,
    buffer: ModelBuffer,
) -> dict[str, Tensor]:
    """Imagine `length` steps from start_obs [R, B, obs_dim] and append them to `buffer`.

    Each step of each branch follows one random elite; next observation and reward are sampled from its Gaussian; the
    uncertainty comes from all members (MOPO). A branch that terminated adds nothing more. penalty_coef: [R].
    Returns metrics [R]: mean, 20 % and 80 % quantile of u and the mean rewards over the appended transitions.
    """
    obs, valid = start_obs, torch.ones(start_obs.shape[:2], dtype=torch.bool, device=start_obs.device)
    num_branches, action_dim = obs.shape[1], agent.actor.sizes[-1] // 2
    logs: list[tuple[Tensor, ...]] = []
    for _ in range(length):
        action = agent.act(obs, streams.normal(num_branches, action_dim))
        mean, std = ensemble.predict(obs, action)
        elite = scale_to_index(streams.uniform(num_branches), ensemble.elite_idxs.shape[1])
        member = ensemble.elite_idxs.gather(1, elite)[:, None, :, None].expand(-1, 1, -1, mean.shape[-1])
        noise = streams.normal(num_branches, mean.shape[-1])
        sample = mean.gather(1, member).squeeze(1) + std.gather(1, member).squeeze(1) * noise
        next_obs, reward = sample[..., :-1], sample[..., -1]
        u = uncertainty(kinds, mean, std) * ensemble.uncertainty_scale[:, None]
        terminated = terminated_fn(next_obs)
        penalized = reward - penalty_coef[:, None] * u
        buffer.append(Batch(obs, action, penalized, next_obs, terminated), valid)
        z = (next_obs - ensemble.input_mean[:, 0, :, : obs.shape[-1]]) / ensemble.input_std[:, 0, :, : obs.shape[-1]]
        logs.append((valid, u, reward, (z.abs() > FAR_STDS).any(-1), terminated))
        obs, valid = next_obs, valid & ~terminated
    held, u, reward, far, ended = (torch.cat(column, 1) for column in zip(*logs, strict=True))
    levels = torch.tensor([0.2, 0.8], device=u.device)
    quantiles = torch.stack([u[run, held[run]].quantile(levels) for run in range(len(u))])  # [R, 2]
    count = held.sum(1)
    average = lambda x: (x * held).sum(1) / count  # noqa: E731
    return {
        "penalty/mean": average(u),
        "penalty/q20": quantiles[:, 0],
        "penalty/q80": quantiles[:, 1],
        "rollout/reward_raw": average(reward),
        "rollout/reward_penalized": average(reward - penalty_coef[:, None] * u),
        "rollout/far_share": average(far.float()),
        "rollout/terminated_share": average(ended.float()),
        "rollout/transitions": count.float(),
    }
