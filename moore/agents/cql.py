"""CQL(H) on SAC (Kumar et al., arXiv 2006.04779) and Cal-QL (Nakamoto et al., arXiv 2303.05479).

Offline the critics also minimise how far they value actions of the policy and random actions above the data's. Online
`cql_sac` and `wsrl` drop that term, `cal_ql` keeps it; Cal-QL's critics are held to the return of the data.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import CriticTerm, Setup
from moore.agents.registry import register
from moore.agents.sac import SAC, SACConfig
from moore.base.strict import FORBID, Count, Finite, NonNegative, OnlineOnly
from moore.networks.batch import AnyBatch, BatchWithReturns
from moore.networks.gaussian import squashed_gaussian

Step = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True, config=FORBID)
class CQLConfig(SACConfig):
    """SAC's settings and those of the conservative term."""

    cql_coef: NonNegative = 5.0  # weight offline (Cal-QL and WSRL 5, CORL's fine-tuning 10)
    online_cql_coef: OnlineOnly[NonNegative] = 0.0  # weight online: 0 is plain SAC from then on
    num_actions: Count = 10  # actions of each of the three kinds for each state
    calibrated: bool = False  # Cal-QL: policy actions are valued at least as the data's return
    log_std_offset: Finite | None = None  # start of a learned offset of the log std, beside a factor (Cal-QL -1)
    joint_step: bool = False  # differentiate actor and critics at the same parameters (authors); else critics first


@register("cql")
class CQL(SAC):
    """SAC with a conservative term whose weight depends on the stage."""

    Config: ClassVar[type] = CQLConfig

    @staticmethod
    def reads_returns(config: CQLConfig) -> bool:
        return config.calibrated

    def __init__(self, config: CQLConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._coef_key = "cql_coef" if setup.stage == "offline" else "online_cql_coef"
        self.coef = getattr(config, self._coef_key)
        self._first_block = self.noise_blocks
        self.noise_blocks += 3 * config.num_actions if self.coef else 0

    @property
    def activations(self) -> int:
        """Numbers that one run has in the critics' largest layer; the conservative term values 3n actions a state."""
        return super().activations * (3 * self.config.num_actions if self.coef else 1)

    def extra_params(self) -> list[float]:
        """Return factor and offset of the log std at the start, where the config has them."""
        return [] if self.config.log_std_offset is None else [1.0, self.config.log_std_offset]

    def policy(self, params: Tensor, obs: Tensor) -> Tensor:
        """Return SAC's mean and log std, the latter times a factor plus an offset that are the same in every state."""
        if self.config.log_std_offset is None:
            return super().policy(params, obs)
        weights, factor, offset = params.split([self.actor.num_params, 1, 1], -1)
        mean, log_std = super().policy(weights, obs).chunk(2, -1)
        return torch.cat([mean, factor[..., None] * log_std + offset[..., None]], -1)

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Take SAC's step with the conservative term; an actor that steps rarely (WSRL) comes after its critics."""
        obs, next_obs = self.standardize(batch.obs), self.standardize(batch.next_obs)
        alpha = self.log_alpha.exp()[:, None]
        target = self.bellman_target(batch, next_obs, alpha, noise)
        term = self.conservative_term(batch, obs, next_obs, noise)
        metrics = step_both(
            self.config.joint_step and self.actor_interval == 1,
            lambda: self.step_critics(obs, batch.action, target, term),
            lambda: self.update_actor(obs, batch.action, alpha, noise[1]) if update_actor else {},
        )
        self.update_targets()
        return metrics

    def conservative_term(self, batch: AnyBatch, obs: Tensor, next_obs: Tensor, noise: Tensor) -> CriticTerm | None:
        """coef (logsumexp over sampled actions - Q(data)), summed over critics."""
        if not self.coef:
            return None
        n, blocks = self.config.num_actions, noise[self._first_block :]
        uniform = torch.erf(blocks[:n] / math.sqrt(2.0))  # 2 Phi(z) - 1 of a standard normal z is uniform in (-1, 1)
        with torch.no_grad():
            heads = self.policy(self.actor_params, torch.cat([obs, next_obs], 1)).unflatten(1, (2, -1))
            each = heads.repeat_interleave(n, 1).flatten(1, 2)  # [R, 2n B, 2 A]: one pass for n actions of a state
            action, log_prob = squashed_gaussian(each, blocks[n:].movedim(0, 1).flatten(1, 2))
        actions = torch.cat([uniform.movedim(0, 1).flatten(1, 2), action], 1)  # [R, 3n B, A]
        density = torch.full_like(log_prob[:, : n * obs.shape[1]], -self.action_dim * math.log(2.0))
        log_density = torch.cat([density, log_prob], 1).unflatten(1, (3 * n, -1))  # [R, 3n, B]
        repeated = obs.repeat(1, 3 * n, 1)

        def loss(runs: slice, params: Tensor, q: Tensor) -> Tensor:
            sampled = self.q(params, repeated[runs], actions[runs]).unflatten(2, (3 * n, -1))  # [R, C, 3n, B]
            if self.config.calibrated:
                assert isinstance(batch, BatchWithReturns)
                sampled = calibrate(sampled, batch.return_to_go[runs], n)
            gap = conservative_gap(sampled, log_density[runs], q).mean(-1).sum(-1)
            return getattr(self.numbers, self._coef_key) * gap

        return loss


def step_both(joint: bool, critics: Step, actor: Step) -> dict[str, Tensor]:
    """Step critics and actor, the critics' target already computed; returns both's metrics.

    Jointly, the actor steps first: its gradient is then at the critics of before, and theirs does not read the actor.
    """
    return actor() | critics() if joint else critics() | actor()


def calibrate(sampled: Tensor, return_to_go: Tensor, num_random: int) -> Tensor:
    """max(Q, return of the data) for policy actions; sampled [R, C, 3n, B], the first num_random are uniform."""
    random, policy = sampled.split([num_random, sampled.shape[2] - num_random], 2)
    return torch.cat([random, torch.maximum(policy, return_to_go[:, None, None])], 2)


def conservative_gap(sampled: Tensor, log_density: Tensor, q: Tensor) -> Tensor:
    """logsumexp_a [Q(s, a) - log density of a] - Q(s, data action): [R, C, B].

    sampled [R, C, M, B]; log_density [R, M, B] of the distribution that drew each action, the importance weight of
    CQL(H) (CQL, appendix F; its constant log M is left out, as in the authors' code); q [R, C, B].
    """
    return (sampled - log_density[:, None]).logsumexp(2) - q
