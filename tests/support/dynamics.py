"""Ensembles, slow and plain: one member as torch's own modules, the measures of uncertainty, a linear system."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moore.algorithm.dynamics import Ensemble


class Net:
    """One ensemble member."""

    def __init__(self, ensemble: Ensemble, run: int, k: int) -> None:
        self.linears: list[nn.Linear] = []
        for weight, bias in ensemble.net.layers(ensemble.params[run, k]):
            linear = nn.Linear(*weight.shape)
            linear.load_state_dict({"weight": weight.T, "bias": bias[0]})
            self.linears.append(linear)

    def __call__(self, x: Tensor) -> Tensor:
        for linear in self.linears[:-1]:
            x = F.silu(linear(x))
        return self.linears[-1](x)

    def flat(self) -> Tensor:
        return torch.cat([x.detach().flatten() for m in self.linears for x in (m.weight.T, m.bias)])


def true_mean(obs: Tensor, action: Tensor) -> Tensor:
    """(next obs, reward) without noise."""
    matrix = torch.tensor([[0.9, 0.2, 1.0], [-0.1, 0.8, 0.5], [0.3, 0.4, -1.0]])
    return torch.cat([obs, action], -1) @ matrix


def numpy_uncertainty(kind: str, mean: np.ndarray, std: np.ndarray) -> float:
    """u of one transition from mean, std [K, OBS + 1]."""
    if kind == "max_std":
        return max(float(np.sqrt((row**2).sum())) for row in std)
    if kind == "ensemble_std":
        return float(np.sqrt(np.var(mean[:, :-1], axis=0).mean()))
    center = mean[:, :-1].mean(0)
    return max(float(np.linalg.norm(row[:-1] - center)) for row in mean)
