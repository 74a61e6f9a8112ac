"""What the actor-critic methods share: networks, targets and optimisers of R agents, and one gradient step of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from moore.networks.adam import RunAdam
from moore.networks.batch import AnyBatch
from moore.networks.mlp import MLP
from moore.networks.random import Streams


@dataclass(frozen=True)
class SACConfig:
    """Settings of actor and critics, in every method; the defaults are MOPO's SAC, except the target entropy."""

    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer, actor and critics
    actor_lr: float = 3e-4
    critic_lr: float = 3e-4
    alpha_lr: float = 3e-4
    gamma: float = 0.99  # discount
    tau: float = 0.005  # Polyak rate of the target critics
    batch_size: int = 256
    init_alpha: float = 1.0  # entropy coefficient at the start
    target_entropy: float | None = None  # None: -dim(action); MOPO uses -3 for every task
    entropy_backup: bool = True  # entropy in the critics' target; CQL and Cal-QL leave it out
    num_critics: int = 2  # RLPD and WSRL: 10
    target_critics: int = 2  # the target is the minimum over this many critics, drawn anew at each update (REDQ)
    actor_value: str = "min"  # the actor maximises the critics' `min`, or their `mean` (RLPD)
    critic_layer_norm: bool = False  # LayerNorm in the critics (RLPD); not in the paper
    normalize_obs: bool = False  # standardise network inputs with the offline data's moments; not in the paper


# activations of a layer that are held at once where a term multiplies the batch: beyond the caches it only costs
ACTIVATIONS = {"cpu": 2**21, "cuda": 2**28}


class CriticTerm(NamedTuple):
    """What a method adds to the critics' loss.

    loss(runs, params, q) -> [R] for a slice of the runs, with their parameters and Q-values [R, C, B] of the batch;
    activations: numbers that one run has in a layer while it is computed.
    """

    loss: Callable[[slice, Tensor, Tensor], Tensor]
    activations: int


class ActorCritic:
    """Parameters and optimisers of R agents; every tensor of `state` has the leading run axis.

    A method adds its update: `update(batch, noise, update_actor)` with noise [noise_blocks, R, B, A] standard normal is
    a pure function of the state, the batch and the noise.
    """

    noise_blocks = 2
    head = 2  # the actor's outputs for each action dimension: mean and log std
    extra = 0  # zeros for each action dimension behind the actor's flat parameters, trained beside its network

    def __init__(
        self,
        config: SACConfig,
        obs_dim: int,
        action_dim: int,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.config, self.batch_size, self.action_dim = config, config.batch_size, action_dim
        self.actor = MLP((obs_dim, *config.hidden, self.head * action_dim), precision=precision)
        self.critic = MLP(
            (obs_dim + action_dim, *config.hidden, 1), layer_norm=config.critic_layer_norm, precision=precision
        )
        init = Streams(seeds, "init", "sac", device=device).generators
        params = self.actor.init(init)
        self.actor_params = torch.cat([params, params.new_zeros(len(seeds), self.extra * action_dim)], 1)  # [R, P]
        self.critic_params = self.critic.init(init, members=config.num_critics)  # [R, C, P]
        self.critic_target = self.critic_params.clone()
        self.obs_mean = torch.zeros(len(seeds), 1, obs_dim, device=device)
        self.obs_std = torch.ones(len(seeds), 1, obs_dim, device=device)
        self.actor_adam = RunAdam(self.actor_params, config.actor_lr)
        self.critic_adam = RunAdam(self.critic_params, config.critic_lr)

    def set_normalizer(self, run: int, mean: Tensor, std: Tensor) -> None:
        """Moments [obs_dim] that standardise one run's observations where the config asks for it."""
        self.obs_mean[run, 0], self.obs_std[run, 0] = mean, std

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions [R, B, A] for obs [R, B, obs_dim]: sampled with standard normal noise, or the mean without."""
        raise NotImplementedError

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """One update of every run on batch [R, B]; returns metrics [R]."""
        raise NotImplementedError

    def step_critics(
        self, obs: Tensor, action: Tensor, target: Tensor, extra: CriticTerm | None = None
    ) -> dict[str, Tensor]:
        """One Adam step on the squared error to target [R, B], summed over critics, plus an extra term.

        The losses are summed over runs: the gradient of run r then comes from its own loss alone.
        """
        num_runs, device = len(target), target.device.type
        at_once = (
            num_runs if extra is None else max(1, ACTIVATIONS.get(device, ACTIVATIONS["cuda"]) // extra.activations)
        )
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for first in range(0, num_runs, at_once):
            runs = slice(first, first + at_once)
            params = self.critic_params[runs].detach().requires_grad_()
            q = self.q(params, obs[runs], action[runs])  # [R, C, B]
            loss = (q - target[runs, None]).square().mean(-1).sum(-1)  # [R]
            if extra is not None:
                loss = loss + extra.loss(runs, params, q)
            parts.append((torch.autograd.grad(loss.sum(), params)[0], loss.detach(), q.detach()))
        grad, loss, q = parts[0] if len(parts) == 1 else (torch.cat(part) for part in zip(*parts, strict=True))
        self.critic_adam.step(grad)
        return {"train/critic_loss": loss, "train/q": q.mean((1, 2))}

    def step_actor(self, loss: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """One Adam step on the loss [R]; loss(actor_params) gives it and another tensor, both returned detached."""
        params = self.actor_params.detach().requires_grad_()
        value, other = loss(params)
        (grad,) = torch.autograd.grad(value.sum(), params)
        self.actor_adam.step(grad)
        return value.detach(), other.detach()

    def update_targets(self) -> None:
        """Polyak averaging of the target critics."""
        self.critic_target.lerp_(self.critic_params, self.config.tau)

    def standardize(self, obs: Tensor) -> Tensor:
        """Network inputs of observations [R, B, obs_dim]."""
        return (obs - self.obs_mean) / self.obs_std if self.config.normalize_obs else obs

    def q(self, params: Tensor, obs: Tensor, action: Tensor) -> Tensor:
        """Q-values [R, C, B] of all critics for standardised obs [R, B, obs_dim] and action [R, B, A]."""
        inputs = (x[:, None].expand(-1, params.shape[1], -1, -1) for x in (obs, action))
        return self.critic(params, *inputs).squeeze(-1)

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, each tensor with the leading run axis; indexing it forks runs."""
        state = {
            "actor_params": self.actor_params,
            "critic_params": self.critic_params,
            "critic_target": self.critic_target,
            "obs_mean": self.obs_mean,
            "obs_std": self.obs_std,
        }
        for name, adam in (("actor", self.actor_adam), ("critic", self.critic_adam)):
            state |= {f"{name}_adam/{key}": value for key, value in adam.state().items()}
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned (same number of runs), in place."""
        for key, value in self.state().items():
            with torch.no_grad():
                value.copy_(state[key])
