"""What the ensemble knows of real transitions that it has not seen, and how retraining changes its uncertainty."""

from collections.abc import Sequence

import torch
from torch import Tensor

from moore.algorithm.dynamics import Ensemble
from moore.algorithm.penalty import uncertainty
from moore.networks.batch import Batch

MAX_STEPS = 10  # open-loop errors are measured up to so many steps
MAX_ROWS = 250  # unseen transitions that are looked at
HELD_OUT = 500  # offline transitions on which the change of u is measured
COVERAGES = (50, 80, 90, 95)  # per cent
CHANGE_LEVELS = tuple(range(25, 1000, 50))  # 20 quantiles of equal mass, in thousandths


def unseen_errors(ensemble: Ensemble, batch: Batch, kinds: Sequence[str]) -> dict[str, Tensor]:
    """Errors of the elites on transitions [R, n] of consecutive environment steps, before they are trained on.

    model/open_loop_error_h [R]: root mean squared error of the state after h = 1..10 steps along the real actions, each
    step to the elites' mean prediction, in standard deviations of the training inputs; NaN without h steps in a row.
    model/coverage_p [R]: share of next states and rewards inside the elites' central p % intervals.
    model/error_rank_correlation [R]: Spearman's coefficient between u and the one-step error.
    """
    obs_dim = batch.obs.shape[-1]
    mean, std = ensemble.predict(batch.obs, batch.action)
    elites = ensemble.elite_idxs[:, :, None, None].expand(-1, -1, *mean.shape[2:])
    target = torch.cat([batch.next_obs, batch.reward[..., None]], -1)[:, None]
    z = (target - mean.gather(1, elites)).abs() / std.gather(1, elites)
    width = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor([0.5 + p / 200 for p in COVERAGES])).tolist()
    out = {f"model/coverage_{p}": (z <= w).float().mean((1, 2, 3)) for p, w in zip(COVERAGES, width, strict=True)}

    unit = ensemble.input_std[:, 0, :, :obs_dim]  # [R, 1, obs_dim]
    follows = (batch.next_obs[:, :-1] == batch.obs[:, 1:]).all(-1)  # row i + 1 goes on where row i ended
    count = batch.obs.shape[1]
    state, valid = batch.obs, torch.ones_like(batch.reward, dtype=torch.bool)
    for h in range(1, min(MAX_STEPS, count) + 1):
        starts = count - h + 1
        if h > 1:
            state, valid = state[:, :starts], valid[:, :starts] & follows[:, h - 2 :]
        prediction, _ = ensemble.predict(state, batch.action[:, h - 1 :])
        state = prediction.gather(1, elites[:, :, :starts]).mean(1)[..., :-1]
        error = ((state - batch.next_obs[:, h - 1 :]) / unit).square().mean(-1)  # [R, starts]
        if h == 1:
            u = uncertainty(kinds, mean, std)
            out["model/error_rank_correlation"] = rank_correlation(u, error)
        out[f"model/open_loop_error_{h}"] = (error.where(valid, 0.0).sum(1) / valid.sum(1)).sqrt()
    return out


def rank_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Spearman's coefficient [R] between x and y [R, n], without ties."""
    ranks = torch.stack([x, y]).argsort(-1).argsort(-1).float()
    ranks = ranks - ranks.mean(-1, keepdim=True)
    return (ranks[0] * ranks[1]).sum(-1) / ranks.square().sum(-1).prod(0).sqrt()


def relative_change(before: Tensor, after: Tensor) -> dict[str, Tensor]:
    """Quantiles of (after - before) / before of the uncertainties [R, n]: our relative uncertainty error.

    The paper's Figure 4 shows the density of a "relative uncertainty error" without its formula. Empty for n = 0.
    """
    if not before.shape[1]:
        return {}
    levels = torch.tensor([level / 1000 for level in CHANGE_LEVELS], device=before.device)
    values = ((after - before) / before).quantile(levels, 1)  # [levels, R]
    return {f"penalty/relative_change_q{level:03}": row for level, row in zip(CHANGE_LEVELS, values, strict=True)}
