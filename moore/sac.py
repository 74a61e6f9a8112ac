"""Soft actor-critic for R runs at once (Haarnoja et al., arXiv 1812.05905): twin critics, automatic temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moore.nets import MLP, deterministic_action, squashed_gaussian
from moore.optim import RunAdam
from moore.replay import Batch
from moore.rng import Streams

NUM_CRITICS = 2


@dataclass(frozen=True)
class SACConfig:
    """Settings of the policy optimiser; the defaults are MOPO's (tianheyu927/mopo), except the target entropy."""

    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer, actor and critics
    actor_lr: float = 3e-4
    critic_lr: float = 3e-4
    alpha_lr: float = 3e-4
    gamma: float = 0.99  # discount
    tau: float = 0.005  # Polyak rate of the target critics
    batch_size: int = 256
    init_alpha: float = 1.0  # entropy coefficient at the start
    target_entropy: float | None = None  # None: -dim(action); MOPO uses -3 for every task
    critic_layer_norm: bool = False  # LayerNorm in the critics (RLPD); not in the paper
    normalize_obs: bool = False  # standardise network inputs with the offline data's moments; not in the paper


class SAC:
    """Parameters and optimisers of R agents; `update` trains all of them in one pass."""

    def __init__(
        self, config: SACConfig, obs_dim: int, action_dim: int, seeds: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        self.config = config
        self.actor = MLP((obs_dim, *config.hidden, 2 * action_dim))
        self.critic = MLP((obs_dim + action_dim, *config.hidden, 1), layer_norm=config.critic_layer_norm)
        init = Streams(seeds, "init", "sac", device=device).generators
        self.actor_params = self.actor.init(init)  # [R, P]
        self.critic_params = self.critic.init(init, members=NUM_CRITICS)  # [R, 2, P]
        self.critic_target = self.critic_params.clone()
        self.log_alpha = torch.full((len(seeds),), config.init_alpha, device=device).log()  # [R]
        self.obs_mean = torch.zeros(len(seeds), 1, obs_dim, device=device)
        self.obs_std = torch.ones(len(seeds), 1, obs_dim, device=device)
        self.target_entropy = -float(action_dim) if config.target_entropy is None else config.target_entropy
        self.actor_adam = RunAdam(self.actor_params, config.actor_lr)
        self.critic_adam = RunAdam(self.critic_params, config.critic_lr)
        self.alpha_adam = RunAdam(self.log_alpha, config.alpha_lr)

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions [R, B, A] for obs [R, B, obs_dim]: sampled with standard normal noise, or the mean without."""
        with torch.no_grad():
            head = self.actor(self.actor_params, self._standardize(obs))
            return deterministic_action(head) if noise is None else squashed_gaussian(head, noise)[0]

    def update(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """One gradient step of critics, actor, temperature and target critics for every run.

        batch: fields [R, B, ...]; noise: standard normal [2, R, B, A], for the next and the current action.
        Returns metrics, each [R]. The losses are summed over runs: the gradient of run r then comes from its own
        loss alone.
        """
        obs, next_obs = self._standardize(batch.obs), self._standardize(batch.next_obs)
        alpha = self.log_alpha.exp()[:, None]

        # Critics: soft Bellman target from the target critics' minimum.
        with torch.no_grad():
            next_action, next_log_prob = squashed_gaussian(self.actor(self.actor_params, next_obs), noise[0])
            next_value = self._q(self.critic_target, next_obs, next_action).amin(1) - alpha * next_log_prob
            target = batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value  # [R, B]
        critic_params = self.critic_params.detach().requires_grad_()
        q = self._q(critic_params, obs, batch.action)  # [R, 2, B]
        critic_loss = (q - target[:, None]).square().mean(-1).sum(-1)  # [R]
        (critic_grad,) = torch.autograd.grad(critic_loss.sum(), critic_params)
        self.critic_adam.step(critic_grad)

        # Actor: maximise the critics' minimum plus entropy.
        actor_params = self.actor_params.detach().requires_grad_()
        action, log_prob = squashed_gaussian(self.actor(actor_params, obs), noise[1])
        value = self._q(self.critic_params, obs, action).amin(1)
        actor_loss = (alpha * log_prob - value).mean(-1)
        (actor_grad,) = torch.autograd.grad(actor_loss.sum(), actor_params)
        self.actor_adam.step(actor_grad)

        # Temperature: d/d log_alpha of -log_alpha (log pi + target entropy); targets follow by Polyak averaging.
        entropy = -log_prob.detach().mean(-1)
        self.alpha_adam.step(entropy - self.target_entropy)
        self.critic_target.lerp_(self.critic_params, self.config.tau)
        return {
            "train/critic_loss": critic_loss.detach(),
            "train/actor_loss": actor_loss.detach(),
            "train/q": q.detach().mean((1, 2)),
            "train/alpha": alpha[:, 0],
            "train/entropy": entropy,
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, each tensor with the leading run axis; indexing it forks runs."""
        state = {
            "actor_params": self.actor_params,
            "critic_params": self.critic_params,
            "critic_target": self.critic_target,
            "log_alpha": self.log_alpha,
            "obs_mean": self.obs_mean,
            "obs_std": self.obs_std,
        }
        for name, adam in (("actor", self.actor_adam), ("critic", self.critic_adam), ("alpha", self.alpha_adam)):
            state |= {f"{name}_adam/{key}": value for key, value in adam.state().items()}
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned (same number of runs), in place."""
        for key, value in self.state().items():
            with torch.no_grad():
                value.copy_(state[key])

    def _standardize(self, obs: Tensor) -> Tensor:
        return (obs - self.obs_mean) / self.obs_std if self.config.normalize_obs else obs

    def _q(self, params: Tensor, obs: Tensor, action: Tensor) -> Tensor:
        """Q-values [R, 2, B] of both critics."""
        inputs = torch.cat([obs, action], -1)[:, None].expand(-1, NUM_CRITICS, -1, -1)
        return self.critic(params, inputs).squeeze(-1)
