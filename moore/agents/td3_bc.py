"""TD3+BC (Fujimoto and Gu, arXiv 2106.06860), fine-tuned with the same loss on offline and online data."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import ActorCritic, ActorCriticConfig, Setup
from moore.agents.registry import register
from moore.base.strict import FORBID, Count, NonNegative, OnlineOnly
from moore.networks.batch import AnyBatch


@dataclass(frozen=True, config=FORBID)
class TD3BCConfig(ActorCriticConfig):
    """TD3+BC's settings; the defaults of its own are the authors' (sfujim/TD3_BC)."""

    q_coef: NonNegative = 2.5  # the paper's alpha: weight of the critic, which is divided by mean |Q|, beside cloning
    policy_delay: Count = 2  # critic updates for one update of actor and targets
    target_noise: NonNegative = 0.2  # standard deviation of the smoothing noise on target actions
    target_noise_clip: NonNegative = 0.5
    exploration_noise: OnlineOnly[NonNegative] = 0.1  # standard deviation of the noise on actions taken online


@register("td3_bc")
class TD3BC(ActorCritic):
    """A deterministic policy tanh(actor(obs)); standardised observations belong to the method (normalize_obs)."""

    Config: ClassVar[type] = TD3BCConfig
    noise_blocks = 1
    head = 1  # the action before tanh

    def __init__(self, config: TD3BCConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.actor_interval = config.policy_delay
        self.actor_target = self.actor_params.detach().clone()

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions [R, B, A] for obs [R, B, obs_dim]: with exploration noise, or without for evaluation."""
        with torch.no_grad():
            action = self.actor(self.actor_params, self.standardize(obs)).tanh()
            return action if noise is None else (action + self.config.exploration_noise * noise).clamp(-1.0, 1.0)

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Take one gradient step of the critics, and with update_actor of actor and targets; noise [1, R, B, A]."""
        obs, next_obs = self.standardize(batch.obs), self.standardize(batch.next_obs)
        with torch.no_grad():
            target_action = self.actor(self.actor_target, next_obs).tanh()
            next_action = smoothed(target_action, noise[0], self.config.target_noise, self.config.target_noise_clip)
            next_value = self.q(self.critic_target, next_obs, next_action).amin(1)
            target = batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value
        metrics = self.step_critics(obs, batch.action, target)
        if not update_actor:
            return metrics

        def loss(params: Tensor) -> tuple[Tensor, Tensor]:
            """-w Q / mean|Q| + (policy - data action)^2, with the first critic as in the authors' code."""
            action = self.actor(params, obs).tanh()
            q = self.q(self.critic_params[:, :1], obs, action)[:, 0]
            cloning = (action - batch.action).square().mean((-2, -1))
            return cloning - self.numbers.q_coef * (q.mean(-1) / q.detach().abs().mean(-1)), cloning

        actor_loss, cloning = self.step_actor(loss)
        self.update_targets()
        self.move(self.actor_target, self.actor_params.detach())
        return metrics | {"train/actor_loss": actor_loss, "train/cloning_loss": cloning}


def smoothed(action: Tensor, noise: Tensor, std: float, clip: float) -> Tensor:
    """Target policy smoothing (TD3, arXiv 1802.09477): clipped noise on a target action, within the bounds."""
    return (action + (std * noise).clamp(-clip, clip)).clamp(-1.0, 1.0)
