"""Branched model rollouts: H imagined steps from real states, with penalised rewards, into D_model."""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import Agent
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.penalty import ensemble_std, uncertainty
from moore.algorithm.replay import ModelBuffer
from moore.base.strict import FORBID, Count
from moore.networks.batch import Batch
from moore.networks.calls import Call, plain
from moore.networks.random import Streams, scale_to_index

FAR_STDS = 30.0  # imagined states this many standard deviations away from the data are counted
DATA_ROWS = 10_000  # of the data, for the quantile that ends rollouts


@dataclass(frozen=True, config=FORBID)
class RolloutConfig:
    """Settings of imagination; the defaults are MOPO's."""

    length: Count = 5  # H
    batch_size: Count = 50_000  # start states of each rollout, R in Algorithm 1
    retain: Count = 5  # D_model holds the transitions of this many rollouts
    # a branch ends where the ensemble disagrees more than at this quantile of the data, see `trusted`; not in the paper
    truncation_quantile: Annotated[float, Field(gt=0, lt=1)] | None = None


def rollout(
    ensemble: Ensemble,
    agent: Agent,
    start_obs: Tensor,
    length: int,
    terminated_fn: Callable[[Tensor], Tensor],
    kinds: Sequence[str],
    penalty_coef: Tensor,
    streams: Streams,
    buffer: ModelBuffer,
    call: Call = plain,
    truncates: bool = False,
) -> dict[str, Tensor]:
    """Imagine `length` steps from start_obs [R, B, obs_dim] and append them to `buffer`.

    Each step of each branch follows one random elite; next observation and reward are sampled from its Gaussian; the
    uncertainty comes from all members (MOPO). A branch that terminated adds nothing more; with `truncates` nor does one
    from the step on whose epistemic uncertainty exceeds `ensemble.trusted`, but for its first step, without which
    D_model could stay empty. penalty_coef: [R]. call: how a step is called (networks/calls.py). Returns metrics [R]:
    mean, 20, 50 and 80 % quantile of u and the mean rewards over the appended transitions.
    """
    obs, valid = start_obs, torch.ones(start_obs.shape[:2], dtype=torch.bool, device=start_obs.device)
    num_branches, obs_dim, action_dim = obs.shape[1], obs.shape[2], buffer.action_dim
    one_step = functools.partial(imagine, ensemble, agent, kinds, truncates)
    logs: list[tuple[Tensor, ...]] = []
    for h in range(length):
        action_noise = streams.normal(num_branches, action_dim)
        elite = scale_to_index(streams.uniform(num_branches), ensemble.elite_idxs.shape[1])
        noise = streams.normal(num_branches, obs_dim + 1)
        step = call("imagine", one_step, obs, action_noise, elite, noise)
        if h:
            valid = valid & step.is_trusted
        terminated = terminated_fn(step.next_obs)
        penalized = step.reward - penalty_coef[:, None] * step.uncertainty
        buffer.append(Batch(obs, step.action, penalized, step.next_obs, terminated), valid)
        mean, std = ensemble.input_mean[:, 0, :, :obs_dim], ensemble.input_std[:, 0, :, :obs_dim]
        far = (((step.next_obs - mean) / std).abs() > FAR_STDS).any(-1)
        logs.append((valid, step.uncertainty, step.reward, far, terminated))
        obs, valid = step.next_obs, valid & step.is_trusted & ~terminated
    held, u, reward, far, ended = (torch.cat(column, 1) for column in zip(*logs, strict=True))
    levels = torch.linspace(0.2, 0.8, 3, device=u.device)  # made on the device, which a list would stall
    quantiles = torch.where(held, u, torch.nan).nanquantile(levels, dim=1)  # [3, R]
    quantiles = torch.where((held & u.isnan()).any(1), torch.nan, quantiles)  # a run that diverged
    count = held.sum(1)
    average = lambda x: (x * held).sum(1) / count  # noqa: E731
    return {
        "penalty/mean": average(u),
        "penalty/q20": quantiles[0],
        "penalty/q50": quantiles[1],
        "penalty/q80": quantiles[2],
        "rollout/reward_raw": average(reward),
        "rollout/reward_penalized": average(reward - penalty_coef[:, None] * u),
        "rollout/far_share": average(far.float()),
        "rollout/terminated_share": average(ended.float()),
        "rollout/transitions": count.float(),
    }


class Imagined(NamedTuple):
    """One imagined step of every branch."""

    action: Tensor  # [R, B, action_dim]
    next_obs: Tensor  # [R, B, obs_dim]
    reward: Tensor  # [R, B], before the penalty
    uncertainty: Tensor  # [R, B], u in the penalty's units
    is_trusted: Tensor  # bool [R, B]; True where branches are not truncated


def imagine(
    ensemble: Ensemble,
    agent: Agent,
    kinds: Sequence[str],
    truncates: bool,
    obs: Tensor,
    action_noise: Tensor,
    elite: Tensor,
    noise: Tensor,
) -> Imagined:
    """Imagine one step from obs [R, B, obs_dim].

    action_noise [R, B, action_dim] and noise [R, B, obs_dim + 1]: standard normal; elite [R, B]: which of the elites
    each branch follows.
    """
    action = agent.act(obs, action_noise)
    mean, std = ensemble.predict(obs, action)
    member = ensemble.elite_idxs.gather(1, elite)[:, None, :, None].expand(-1, 1, -1, mean.shape[-1])
    sample = mean.gather(1, member).squeeze(1) + std.gather(1, member).squeeze(1) * noise
    u = uncertainty(kinds, mean, std) * ensemble.uncertainty_scale[:, None]
    is_trusted = torch.ones_like(u, dtype=torch.bool)
    if truncates:  # a run that diverged goes on: an empty D_model would hold up the others
        is_trusted = ~(ensemble_std(mean, std) > ensemble.trusted[:, None])
    return Imagined(action, sample[..., :-1], sample[..., -1], u, is_trusted)


def trusted(ensemble: Ensemble, run: int, batch: Batch, quantile: float) -> Tensor:
    """Return a quantile of the epistemic uncertainty over transitions [N] of one run, beyond which rollouts end.

    The uncertainty is the members' disagreement, penalty.ensemble_std. Ending rollouts where the ensemble leaves what
    it knows is M2AC's idea (arXiv 2010.04893) and MACURA's (2405.19014); a quantile on the data as the threshold is
    NEUBAY's (2512.04341). At most DATA_ROWS transitions are looked at.
    """
    every = -(-len(batch.reward) // DATA_ROWS)
    prediction = ensemble.only(run).predict(batch.obs[None, ::every], batch.action[None, ::every])
    return ensemble_std(*prediction)[0].quantile(quantile)
