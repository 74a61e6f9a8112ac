"""Adam over the run axis: one fused step for all runs, with a step count and an on/off switch per run."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moore.networks.state import State
from moore.networks.tracing import is_tracing

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults, and those of the papers
OPTIONS: dict[str, Any] = dict(beta1=BETA1, beta2=BETA2, eps=EPS, weight_decay=0.0, amsgrad=False, maximize=False)


class RunAdam(State):
    """Adam whose parameters are the rows params[r] of one tensor [R, ...].

    Adam is element-wise, so runs stay independent; a run switched off keeps parameters, moments and step count.
    """

    def __init__(self, params: Tensor, lr: float) -> None:
        self._params, self._lr = params, lr
        self._traced_lr = torch.tensor(lr, device=params.device)
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(params), torch.zeros_like(params)
        self.steps = torch.zeros(len(params), device=params.device)
        self._rows = [tuple(x.unbind()) for x in (params, self.exp_avg, self.exp_avg_sq, self.steps)]  # views

    def step(self, grad: Tensor, active: Sequence[bool] | None = None) -> None:
        """Take one Adam step with gradients shaped like params; runs whose `active` is False do not move."""
        if is_tracing():
            assert active is None, "only a step of all runs is traced"
            self._step_plainly(grad)
            return
        runs = [run for run in range(len(grad)) if active is None or active[run]]
        params, exp_avgs, exp_avg_sqs, steps = ([rows[run] for run in runs] for rows in self._rows)
        grads = grad.contiguous().unbind()  # the kernel takes them for that
        torch._foreach_add_(steps, 1)
        # the kernel of torch.optim.Adam(fused=True): for small networks the class around it takes several times as long
        torch._fused_adam_(
            params, [grads[run] for run in runs], exp_avgs, exp_avg_sqs, [], steps, lr=self._lr, **OPTIONS
        )

    def _step_plainly(self, grad: Tensor) -> None:
        """Take the step operation by operation (Adam, arXiv 1412.6980, algorithm 1), which a compiler fuses."""
        self.steps.add_(1)
        steps = self.steps.double()
        # beta ** steps by one exponential for both: its result is kept, not a power computed for every parameter
        powers = torch.stack([steps * math.log(beta) for beta in (BETA1, BETA2)]).exp()
        unbias1, unbias2 = (1 - powers).to(grad.dtype).view(2, -1, *(1 for _ in grad.shape[1:]))
        self.exp_avg.lerp_(grad, 1 - BETA1)
        self.exp_avg_sq.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
        scale = (self.exp_avg_sq / unbias2).sqrt() + EPS
        self._params.sub_(self._traced_lr / unbias1 * self.exp_avg / scale)

    def reset(self) -> None:
        """Forget moments and step counts of every run."""
        for value in (self.exp_avg, self.exp_avg_sq, self.steps):
            value.zero_()
