"""Soft actor-critic for R runs at once (Haarnoja et al., arXiv 1812.05905): critics, automatic temperature."""

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import ActorCritic, ActorCriticConfig, Setup
from moore.agents.registry import register
from moore.base.errors import UserError
from moore.base.strict import FORBID, Count, Finite, NonNegative, OnlineOnly, Positive
from moore.networks.adam import RunAdam
from moore.networks.batch import AnyBatch
from moore.networks.gaussian import deterministic_action, squashed_gaussian


@dataclass(frozen=True, config=FORBID)
class SACConfig(ActorCriticConfig):
    """SAC's own settings; the defaults are those of MOPO's SAC, except the target entropy."""

    alpha_lr: Positive = 3e-4
    init_alpha: Positive = 1.0  # entropy coefficient at the start
    alpha_loss: Literal["log_alpha", "alpha"] = "log_alpha"  # what the temperature's loss multiplies; RLPD: alpha
    target_entropy: Finite | None = None  # None: -dim(action); MOPO uses -3 for every task
    entropy_backup: bool = True  # entropy in the critics' target; CQL and Cal-QL leave it out
    target_critics: Count = 2  # the target is the minimum over this many critics, drawn anew at each update (REDQ)
    actor_value: Literal["min", "mean"] = "min"  # what of the critics the actor maximises; RLPD: mean
    bc_coef: NonNegative = 0.0  # weight of behaviour cloning in the actor's loss, see `cloned`; not in the paper
    online_actor_interval: OnlineOnly[Count] = 1  # critic updates for one of actor and temperature (RLPD: utd_ratio)

    def __post_init__(self) -> None:
        if self.target_critics > self.num_critics:
            expected = f"expected 1 to num_critics = {self.num_critics}"
            raise UserError(f"agent.target_critics: {self.target_critics} is not accepted; {expected}")


@register("sac")
class SAC(ActorCritic):
    """R agents; `update` trains all of them in one pass. More than two critics make it RLPD's agent (REDQ's target)."""

    Config: ClassVar[type] = SACConfig

    def __init__(self, config: SACConfig, setup: Setup) -> None:
        if config.target_entropy is None:
            config = replace(config, target_entropy=-float(setup.action_dim))
        super().__init__(config, setup)
        seeds, device = setup.seeds, setup.device
        self.actor_interval = config.online_actor_interval if setup.stage == "online" else 1
        self.log_alpha = torch.full((len(seeds),), config.init_alpha, device=device).log()  # [R]
        self.alpha_adam = RunAdam(self.log_alpha, config.alpha_lr)
        self.target_entropy = config.target_entropy
        # a random subset of the critics needs random numbers of its own
        self.noise_blocks = 2 if config.target_critics == config.num_critics else 3
        self._num_real = round(config.batch_size * setup.real_share)
        if config.bc_coef:
            self.bc_weight = torch.full((len(seeds),), config.bc_coef, device=device)

    def policy(self, params: Tensor, obs: Tensor) -> Tensor:
        """Return mean and log std [R, B, 2A] of the actions before tanh at standardised obs [R, B, obs_dim]."""
        return self.actor(params, obs)

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            head = self.policy(self.actor_params, self.standardize(obs))
            return deterministic_action(head) if noise is None else squashed_gaussian(head, noise)[0]

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Take one gradient step of critics, actor, temperature and target critics for every run.

        batch: fields [R, B, ...]; noise: standard normal [noise_blocks, R, B, A], for the next and the current action
        (and the choice of target critics). Without update_actor, actor and temperature stay. Returns metrics [R].
        """
        obs, next_obs = self.standardize(batch.obs), self.standardize(batch.next_obs)
        alpha = self.log_alpha.exp()[:, None]
        metrics = self.step_critics(obs, batch.action, self.bellman_target(batch, next_obs, alpha, noise))
        if update_actor:
            metrics |= self.update_actor(obs, batch.action, alpha, noise[1])
        self.update_targets()
        return metrics

    def bellman_target(self, batch: AnyBatch, next_obs: Tensor, alpha: Tensor, noise: Tensor) -> Tensor:
        """Return the critics' soft target [R, B], from the target critics' minimum at standardised next_obs."""
        with torch.no_grad():
            next_action, next_log_prob = squashed_gaussian(self.policy(self.actor_params, next_obs), noise[0])
            next_q = self.q(self.critic_target, next_obs, next_action)
            if self.config.target_critics < self.config.num_critics:
                next_q = random_subset(next_q, self.config.target_critics, noise[2])
            next_value = next_q.amin(1)
            if self.config.entropy_backup:
                next_value = next_value - alpha * next_log_prob
            return batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value

    def update_actor(self, obs: Tensor, data_action: Tensor, alpha: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Take one gradient step of actor and temperature on standardised obs [R, B, obs_dim]."""

        def loss(params: Tensor) -> tuple[Tensor, Tensor]:
            """Maximise the critics' value plus entropy."""
            head = self.policy(params, obs)
            action, log_prob = squashed_gaussian(head, noise)
            q = self.q(self.critic_params, obs, action)
            value = q.amin(1) if self.config.actor_value == "min" else q.mean(1)
            if self.bc_weight is None:
                return (alpha * log_prob - value).mean(-1), log_prob
            own, theirs = deterministic_action(head)[:, : self._num_real], data_action[:, : self._num_real]
            return cloned(alpha * log_prob, value, own, theirs, self.bc_weight), log_prob

        actor_loss, log_prob = self.step_actor(loss)
        # Temperature: d/d log_alpha of log_alpha (entropy - target entropy), or of alpha (entropy - target entropy).
        entropy = -log_prob.mean(-1)
        excess = entropy - self.numbers.target_entropy
        self.alpha_adam.step(excess if self.config.alpha_loss == "log_alpha" else excess * alpha[:, 0])
        return {"train/actor_loss": actor_loss, "train/alpha": alpha[:, 0], "train/entropy": entropy}


@register("moore")
class ModelBasedSAC(SAC):
    """The agent of MOPO, MOORe and MBPO: SAC on batches that are imagined, but for a real share."""

    uses_model = True


def cloned(cost: Tensor, value: Tensor, own: Tensor, data: Tensor, weight: Tensor) -> Tensor:
    """Return the actor's losses [R] with behaviour cloning: mean(cost - Q) / mean|Q| + weight mean (pi(s) - a)^2.

    TD3+BC's loss (arXiv 2106.06860), whose weight is 1 / 2.5, with SAC's cost of entropy beside the value; cost and
    value [R, B], weight [R]. pi is the deterministic policy, so that the width of the policy stays the temperature's
    matter; own and data actions [R, n, A] are those of real transitions.
    """
    return (cost - value).mean(-1) / value.detach().abs().mean(-1) + weight * (own - data).square().mean((-2, -1))


def random_subset(q: Tensor, count: int, noise: Tensor) -> Tensor:
    """Q-values [R, count, B] of critics that each run draws at random from q [R, C, B] (REDQ, arXiv 2101.05982).

    noise [R, B, A]: C independent standard normals of each run, in random order by nature, make the permutation.
    """
    chosen = noise.flatten(1)[:, : q.shape[1]].argsort(1)[:, :count]  # [R, count]
    return q.gather(1, chosen[..., None].expand(-1, -1, q.shape[2]))
