"""IQL (Kostrikov et al., arXiv 2110.06169): expectile values that never query actions outside the data."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import ActorCriticConfig, Setup
from moore.agents.gaussian_actor import GaussianActorCritic, advantage_weight
from moore.agents.registry import register
from moore.base.strict import FORBID, Positive, Share
from moore.networks.adam import RunAdam
from moore.networks.batch import AnyBatch
from moore.networks.mlp import MLP
from moore.networks.random import Streams


@dataclass(frozen=True, config=FORBID)
class IQLConfig(ActorCriticConfig):
    """IQL's settings; the defaults of its own are its locomotion configuration (ikostrikov/implicit_q_learning)."""

    expectile: Share = 0.7
    temperature: Positive = 1.0 / 3.0  # 1 / beta in exp(beta A)
    max_weight: Positive = 100.0
    value_lr: Positive = 3e-4
    scale_rewards: bool = True  # times 1000 / (best - worst episode return of the dataset), online rewards too


REWARD_RANGE = 1000.0  # implicit_q_learning train_offline.py, normalize


@register("iql")
class IQL(GaussianActorCritic):
    """The same update offline and online; the online data is appended to the dataset."""

    Config: ClassVar[type] = IQLConfig
    noise_blocks = 0

    def __init__(self, config: IQLConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        obs_dim, seeds, device = setup.obs_dim, setup.seeds, setup.device
        self.value = MLP((obs_dim, *config.hidden, 1), precision=setup.precision)
        generators = Streams(seeds, "init", "value", device=device).generators
        self.value_params = self.value.init(generators, scheme=config.init)  # [R, P]
        self.value_adam = RunAdam(self.value_params, config.value_lr)
        self.reward_scale = torch.ones(len(seeds), 1, device=device)

    def fit_to_dataset(self, run: int, obs: Tensor, return_range: float) -> None:
        """Take one run's factor of the rewards from the range of its dataset's episode returns, too."""
        super().fit_to_dataset(run, obs, return_range)
        if self.config.scale_rewards and return_range > 0:
            self.reward_scale[run] = REWARD_RANGE / return_range

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Value, then actor, then critics, in the order of the authors' code; noise is not used."""
        obs, next_obs = self.standardize(batch.obs), self.standardize(batch.next_obs)
        with torch.no_grad():
            q = self.q(self.critic_target, obs, batch.action).amin(1)

        params = self.value_params.detach().requires_grad_()
        value_loss = expectile_loss(q - self._value(params, obs), self.numbers.expectile).mean(-1)
        (grad,) = torch.autograd.grad(value_loss.sum(), params)
        self.value_adam.step(grad)

        with torch.no_grad():
            advantage = q - self._value(self.value_params, obs)
            weight = advantage_weight(advantage, self.numbers.temperature, self.config.max_weight)
            next_value = self._value(self.value_params, next_obs)
            target = batch.reward * self.reward_scale + self.config.gamma * (1.0 - batch.terminated) * next_value
        actor_loss = self.regress_actor(obs, batch.action, weight)
        metrics = self.step_critics(obs, batch.action, target)
        self.update_targets()
        own = {"train/value_loss": value_loss.detach(), "train/advantage_weight": weight.mean(-1)}
        return metrics | {"train/actor_loss": actor_loss} | own

    def _value(self, params: Tensor, obs: Tensor) -> Tensor:
        return self.value(params, obs).squeeze(-1)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """|expectile - 1(difference < 0)| difference^2 (IQL, eq. 4), element by element."""
    weight = torch.where(difference < 0, 1.0 - expectile, expectile)
    return weight * difference.square()
