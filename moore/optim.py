"""Adam over the run axis: one fused step for all runs, with a step count and an on/off switch per run."""

from __future__ import annotations

import torch
from torch import Tensor


class RunAdam:
    """torch's fused Adam whose parameters are the rows params[r] of one tensor [R, ...].

    Adam is element-wise, so runs stay independent; a run switched off keeps parameters, moments and step count.
    """

    def __init__(self, params: Tensor, lr: float) -> None:
        self.params, self.lr = params, lr
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(params), torch.zeros_like(params)
        self.steps = torch.zeros(len(params), device=params.device)
        self._rows = [params[run].requires_grad_() for run in range(len(params))]
        self._adam = torch.optim.Adam(self._rows, lr=lr, fused=True)
        for run, row in enumerate(self._rows):
            # torch's own state entries, as views: a checkpoint or a fork is then indexing of three tensors
            self._adam.state[row] = {
                "step": self.steps[run],
                "exp_avg": self.exp_avg[run],
                "exp_avg_sq": self.exp_avg_sq[run],
            }

    def step(self, grad: Tensor, active: list[bool] | None = None) -> None:
        """One Adam step with gradients shaped like params; runs whose `active` is False do not move."""
        for run, row in enumerate(self._rows):
            row.grad = grad[run] if active is None or active[run] else None
        self._adam.step()

    def reset(self) -> None:
        """Forget moments and step counts of every run."""
        for value in self.state().values():
            value.zero_()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts, each with the leading run axis."""
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "steps": self.steps}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned, in place."""
        self.exp_avg.copy_(state["exp_avg"])
        self.exp_avg_sq.copy_(state["exp_avg_sq"])
        self.steps.copy_(state["steps"])
