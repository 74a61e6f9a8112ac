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

    def sample(self, params: Tensor, obs: Tensor, noise: Tensor) -> Tensor:
        """Clipped actions [R, B, A] from standard normal noise [R, B, A]."""
        mean, log_std = self.mean_and_log_std(params, obs)
        return (mean + log_std.exp() * noise).clamp(-1.0, 1.0)

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions [R, B, A] for obs [R, B, obs_dim]: sampled with standard normal noise, or the mean without."""
        with torch.no_grad():
            obs = self.standardize(obs)
            if noise is None:
                return self.mean_and_log_std(self.actor_params, obs)[0]
            return self.sample(self.actor_params, obs, noise)
