"""For ensembles: the measures of uncertainty by NumPy, and a linear system."""

import numpy as np
import torch
from torch import Tensor


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
