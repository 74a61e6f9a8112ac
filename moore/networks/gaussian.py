"""The tanh-squashed Gaussian policy of SAC."""

import math

import torch.nn.functional as F
from torch import Tensor

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # rlkit and MOPO: TanhGaussianPolicy


def squashed_gaussian(head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions in (-1, 1) and their log-density from an actor's output.

    head: [..., B, 2A] (mean, log std); noise: standard normal [..., B, A].
    Returns action [..., B, A] and log_prob [..., B]. The tanh correction is written as 2 (log 2 - x - softplus(-2x)),
    which stays finite where 1 - tanh(x)^2 underflows (SAC, arXiv 1801.01290, appendix C).
    """
    mean, log_std = head.chunk(2, dim=-1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    pre_tanh = mean + log_std.exp() * noise
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    correction = 2.0 * (math.log(2.0) - pre_tanh - F.softplus(-2.0 * pre_tanh))
    return pre_tanh.tanh(), (gaussian - correction).sum(-1)


def deterministic_action(head: Tensor) -> Tensor:
    """Return the evaluation policy's action [..., B, A]: tanh of the mean of an actor's output [..., B, 2A]."""
    return head.chunk(2, dim=-1)[0].tanh()
