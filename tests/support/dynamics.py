"""For ensembles: one run's training loop in plain PyTorch, the measures of uncertainty by NumPy, a linear system."""

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moore.algorithm.dynamics import Ensemble
from moore.networks.batch import Batch
from tests.support.agents import flat, linear_stack


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


def plain_fit(
    ensemble: Ensemble, run: int, draw: Callable[[int], Batch], holdout: Batch, cap: int
) -> tuple[Tensor, list[int], int, float]:
    """Parameters [K, P], elites, number of updates and the elites' error of one run's training, the slow way."""
    c = ensemble.config
    nets = [linear_stack(ensemble.net, ensemble.params[run, k]) for k in range(c.ensemble_size)]
    bounds = ensemble.bounds[run].clone().requires_grad_()
    groups: list[dict[str, object]] = [{"params": [bounds]}]
    for net in nets:
        for layer, decay in zip([layer for layer in net if isinstance(layer, nn.Linear)], c.weight_decay, strict=True):
            groups += [{"params": [layer.weight], "weight_decay": decay}, {"params": [layer.bias]}]
    adam = torch.optim.Adam(groups, lr=c.lr)
    mean, std = ensemble.input_mean[run, 0], ensemble.input_std[run, 0]
    t_mean, t_std = ensemble.target_mean[run, 0], ensemble.target_std[run, 0]

    def tensors(batch: Batch) -> tuple[Tensor, Tensor]:
        x = (torch.cat([batch.obs[0], batch.action[0]], -1) - mean) / std
        return x, (torch.cat([batch.next_obs[0] - batch.obs[0], batch.reward[0][:, None]], -1) - t_mean) / t_std

    best = [(float("inf"), copy.deepcopy(net)) for net in nets]
    stale = updates = 0
    while updates < cap and stale <= c.patience:
        for _ in range(min(c.epoch_updates, cap - updates)):
            x, y = tensors(draw(c.ensemble_size * c.batch_size))
            loss = 0.01 * (bounds[0] - bounds[1]).sum()
            for k, net in enumerate(nets):
                rows = slice(k * c.batch_size, (k + 1) * c.batch_size)
                mu, logvar = net(x[rows]).chunk(2, -1)
                logvar = bounds[0] - F.softplus(bounds[0] - logvar)
                logvar = bounds[1] + F.softplus(logvar - bounds[1])
                loss = loss + ((mu - y[rows]) ** 2 * torch.exp(-logvar) + logvar).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            updates += 1
        x, y = tensors(holdout)
        improved = False
        for k, net in enumerate(nets):
            mse = float(((net(x).chunk(2, -1)[0] - y) ** 2).mean().detach())
            if best[k][0] == float("inf") or (best[k][0] - mse) / best[k][0] > c.min_improvement:
                best[k], improved = (mse, copy.deepcopy(net)), True
        stale = 0 if improved else stale + 1
    elites = sorted(range(c.ensemble_size), key=lambda k: best[k][0])[: c.num_elites]
    error = sum(best[k][0] for k in elites) / len(elites)
    return torch.stack([flat(net) for _, net in best]), elites, updates, error
