"""AWAC (Nair et al., arXiv 2006.09359): the critics evaluate the policy, the actor regresses onto good data actions."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import ActorCriticConfig
from moore.agents.gaussian_actor import GaussianActorCritic, advantage_weight
from moore.agents.registry import register
from moore.base.strict import FORBID, Positive
from moore.networks.batch import AnyBatch


@dataclass(frozen=True, config=FORBID)
class AWACConfig(ActorCriticConfig):
    """AWAC's settings."""

    temperature: Positive = 1.0  # lambda in exp(A / lambda); CORL's locomotion 1/3, its other tasks 0.1, rlkit 2
    max_weight: Positive = 100.0  # upper bound of exp(A / lambda); CORL


@register("awac")
class AWAC(GaussianActorCritic):
    """The same update offline and online; the online data is appended to the dataset."""

    Config: ClassVar[type] = AWACConfig
    log_std_min = -20.0  # CORL

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Take one gradient step; noise [2, R, B, A]: of the next action, of the policy's action at the advantage."""
        obs, next_obs = self.standardize(batch.obs), self.standardize(batch.next_obs)
        with torch.no_grad():  # no entropy bonus
            next_action = self.sample(self.actor_params, next_obs, noise[0])
            next_value = self.q(self.critic_target, next_obs, next_action).amin(1)
            target = batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value
        metrics = self.step_critics(obs, batch.action, target)

        with torch.no_grad():
            value = self.q(self.critic_params, obs, self.sample(self.actor_params, obs, noise[1])).amin(1)
            advantage = self.q(self.critic_params, obs, batch.action).amin(1) - value
            weight = advantage_weight(advantage, self.numbers.temperature, self.config.max_weight)
        actor_loss = self.regress_actor(obs, batch.action, weight)
        self.update_targets()
        return metrics | {"train/actor_loss": actor_loss, "train/advantage_weight": weight.mean(-1)}
