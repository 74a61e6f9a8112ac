"""Ensemble uncertainty u(s, a) and the schedule of its coefficient in the reward (MOPO, arXiv 2005.13239)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PenaltyConfig:
    """r_tilde = r_hat - coef u (paper, eq. 2); the paper keeps MOPO's u and a constant coefficient."""

    coef: float = 1.0  # lambda
    uncertainty: str = "max_std"
    schedule: str = "constant"


def max_std(mean: Tensor, std: Tensor) -> Tensor:
    """Largest norm of the predicted standard deviation over all members, reward included (tianheyu927/mopo)."""
    return std.norm(dim=-1).amax(1)


def ensemble_std(mean: Tensor, std: Tensor) -> Tensor:
    """Root of the members' variance in the mean next observation, averaged over dimensions (OfflineRL-Kit)."""
    return mean[..., :-1].var(1, correction=0).mean(-1).sqrt()


def max_deviation(mean: Tensor, std: Tensor) -> Tensor:
    """Largest distance of a member's mean next observation from the ensemble's (tianheyu927/mopo, OfflineRL-Kit)."""
    next_obs = mean[..., :-1]
    return (next_obs - next_obs.mean(1, keepdim=True)).norm(dim=-1).amax(1)


Uncertainty = Callable[[Tensor, Tensor], Tensor]
UNCERTAINTIES: dict[str, Uncertainty] = {f.__name__: f for f in (max_std, ensemble_std, max_deviation)}
SCHEDULES = ("constant", "zero_online", "linear_decay")


def uncertainty(kinds: Sequence[str], mean: Tensor, std: Tensor) -> Tensor:
    """u [R, B] from member predictions mean, std [R, K, B, obs_dim + 1] (last: reward); kinds[r] is run r's measure."""
    values = {kind: UNCERTAINTIES[kind](mean, std) for kind in dict.fromkeys(kinds)}
    if len(values) == 1:
        return next(iter(values.values()))
    return torch.stack([values[kind][run] for run, kind in enumerate(kinds)])


def penalty_coef(config: PenaltyConfig, t: int, num_epochs: int) -> float:
    """The coefficient in online epoch t = 1..num_epochs; t = 0 is the offline stage.

    linear_decay falls from coef offline to 0 in the last epoch.
    """
    if config.schedule == "constant" or t == 0:
        return config.coef
    return 0.0 if config.schedule == "zero_online" else config.coef * (1 - t / num_epochs)
