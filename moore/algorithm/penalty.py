"""Ensemble uncertainty u(s, a) and the schedule of its coefficient in the reward (MOPO, arXiv 2005.13239)."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.base.plugins import find
from moore.base.strict import FORBID, NonNegative, OnlineOnly
from moore.networks.state import State

Schedule = Literal["constant", "zero_online", "linear_decay", "adaptive"]


@dataclass(frozen=True, config=FORBID)
class PenaltyConfig:
    """r_tilde = r_hat - coef u (paper, eq. 2); the paper keeps MOPO's u and a constant coefficient."""

    coef: NonNegative = 1.0  # lambda
    uncertainty: str = "max_std"  # a function of this file, or package.module:name
    schedule: OnlineOnly[Schedule] = "constant"
    online_factor: OnlineOnly[NonNegative] = 1.0  # times coef in the online stage
    rescale: bool = False  # scale u to max_std's mean after the first training: measures differ in where

    def __post_init__(self) -> None:
        find_uncertainty(self.uncertainty)


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


def find_uncertainty(name: str) -> Uncertainty:
    """Return a measure by its name, or from `package.module:name`. Raises UserError for another."""
    return find(name, UNCERTAINTIES, "penalty.uncertainty")


def uncertainty(kinds: Sequence[str], mean: Tensor, std: Tensor) -> Tensor:
    """u [R, B] from member predictions mean, std [R, K, B, obs_dim + 1] (last: reward); kinds[r] is run r's measure."""
    values = {kind: find_uncertainty(kind)(mean, std) for kind in dict.fromkeys(kinds)}
    return torch.stack([values[kind][run] for run, kind in enumerate(kinds)])


def penalty_coef(config: PenaltyConfig, t: int, num_epochs: int) -> float:
    """Return the coefficient in online epoch t = 1..num_epochs; t = 0 is the offline stage.

    linear_decay falls to 0 in the last epoch. adaptive is constant here; see `PenaltyCoef`.
    """
    if t == 0:
        return config.coef
    shares = {"zero_online": 0.0, "linear_decay": 1 - t / num_epochs}
    return config.coef * config.online_factor * shares.get(config.schedule, 1.0)


class PenaltyCoef(State):
    """The coefficients of R runs.

    `adaptive` (ours) keeps the mean penalty of the first online rollout, coef x its mean u / the latest rollout's mean
    u, where the paper says that the penalty fades by itself as u shrinks.
    """

    def __init__(self, configs: Sequence[PenaltyConfig], epochs: int, device: torch.device | str = "cpu") -> None:
        coefs = [[penalty_coef(config, t, epochs) for config in configs] for t in range(epochs + 1)]
        self._coefs = torch.tensor(coefs, device=device)  # [epochs + 1, R]
        self._adaptive = torch.tensor([config.schedule == "adaptive" for config in configs], device=device)
        self.first = torch.full((len(configs),), torch.nan, device=device)  # mean u of the first online rollout
        self.latest = self.first.clone()

    def at(self, t: int) -> Tensor:
        """Coefficients [R] in epoch t; 0 is the offline stage."""
        coef = self._coefs[t]
        return torch.where(self._adaptive & self.first.isfinite(), coef * self.first / self.latest, coef)

    def observe(self, mean_uncertainty: Tensor) -> None:
        """Take the mean u [R] of an online rollout."""
        self.latest = mean_uncertainty
        self.first = torch.where(self.first.isnan(), mean_uncertainty, self.first)
