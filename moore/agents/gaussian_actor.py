"""A Gaussian policy with a learned standard deviation that does not depend on the state, as AWAC and IQL use it.

Both regress onto actions of the data, whose density under a tanh-squashed Gaussian explodes at the bounds. So the mean
is squashed, the Gaussian around it is not, and sampled actions are clipped (ikostrikov/implicit_q_learning policy.py,
tanh_squash_distribution=False; corl-team/CORL finetune/awac.py).
"""

import math

import torch
from torch import Tensor

from moore.agents.actor_critic import ActorCritic

LOG_STD_MAX = 2.0


class GaussianActorCritic(ActorCritic):
    """Actor-critic whose flat actor parameters end with the action_dim log standard deviations."""

    head = 1  # the mean
    log_std_min = -5.0  # IQL's learner

    def extra_params(self) -> list[float]:
        """Return the log standard deviations at the start."""
        return [0.0] * self.action_dim

    def mean_and_log_std(self, params: Tensor, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [R, B, A] in (-1, 1) and log std [R, 1, A] for standardised obs [R, B, obs_dim]."""
        weights, log_std = params.split([self.actor.num_params, self.action_dim], -1)
        return self.actor(weights, obs).tanh(), log_std[:, None].clamp(self.log_std_min, LOG_STD_MAX)

    def log_prob(self, params: Tensor, obs: Tensor, action: Tensor) -> Tensor:
        """Log-density [R, B] of data actions [R, B, A]."""
        mean, log_std = self.mean_and_log_std(params, obs)
        z = (action - mean) * (-log_std).exp()
        return (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def regress_actor(self, obs: Tensor, action: Tensor, weight: Tensor) -> Tensor:
        """Take one step of maximum likelihood of data actions, weighted by weight [R, B]; returns the loss [R]."""
        return self.step_actor(lambda params: (-(weight * self.log_prob(params, obs, action)).mean(-1), weight))[0]

    def sample(self, params: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Clipped actions [R, B, A] from standard normal noise [R, B, A], or their mean without."""
        mean, log_std = self.mean_and_log_std(params, obs)
        return mean if noise is None else (mean + log_std.exp() * noise).clamp(-1.0, 1.0)

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return self.sample(self.actor_params, self.standardize(obs), noise)


def advantage_weight(advantage: Tensor, temperature: float, max_weight: float) -> Tensor:
    """min(exp(advantage / temperature), max_weight): how much a data action counts."""
    return (advantage / temperature).exp().clamp(max=max_weight)
