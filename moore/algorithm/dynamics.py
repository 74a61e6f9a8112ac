"""The probabilistic dynamics ensemble of R runs (PETS, arXiv 1805.12114; settings of MOPO and MBPO)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.base.errors import UserError
from moore.base.strict import FORBID, Count, NonNegative, NonNegativeInt, OnlineOnly, Positive, Share
from moore.networks.adam import RunAdam
from moore.networks.batch import Batch
from moore.networks.calls import Call, plain
from moore.networks.mlp import MLP, divisor
from moore.networks.random import Streams
from moore.networks.state import State

BOUND_COEF = 0.01  # weight of the log-variance bounds in the loss (PETS; tianheyu927/mopo models/bnn.py)
INIT_MAX_LOGVAR, INIT_MIN_LOGVAR = 0.5, -10.0  # same source
# activations of a layer that are held at once in predictions: a CPU's caches, a share of a GPU's memory
PREDICT_FLOATS = {"cpu": 2**22, "cuda": 2**28}


@dataclass(frozen=True, config=FORBID)
class DynamicsConfig:
    """Settings of the ensemble; the defaults are MOPO's, except the caps on updates."""

    ensemble_size: Count = 7
    num_elites: Count = 5
    hidden: tuple[Count, ...] = (200, 200, 200, 200)
    weight_decay: tuple[NonNegative, ...] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)  # one for each layer
    lr: Positive = 1e-3
    batch_size: Count = 256
    normalize_targets: bool = False  # standardise (delta obs, reward); the uncertainty stays in raw units
    layer_norm: bool = False  # LayerNorm before each activation (NEUBAY, arXiv 2512.04341); not in the paper
    holdout_ratio: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    max_holdout: Count = 1000  # transitions held out of the offline and of the online data
    epoch_updates: Count = 1000  # updates between two looks at the holdout error
    patience: NonNegativeInt = 5  # stop a run when no member improved for more than this many looks
    min_improvement: Share = 0.01  # relative improvement of the holdout error that counts
    fresh_optimizer: bool = False  # forget Adam's moments before each retraining; see Ensemble.fit; not in the paper
    offline_max_updates: Count = 100_000  # cap on the first training; the paper trains until convergence
    online_max_updates: OnlineOnly[NonNegativeInt] = 1000  # cap on each retraining; 0: the offline model stays

    def __post_init__(self) -> None:
        if self.num_elites > self.ensemble_size:
            most = f"1 to ensemble_size = {self.ensemble_size}"
            raise UserError(f"dynamics.num_elites: {self.num_elites} is not accepted; expected {most}")
        layers = len(self.hidden) + 1
        if len(self.weight_decay) != layers:
            expected = f"{layers} numbers, one for each layer"
            raise UserError(f"dynamics.weight_decay: {self.weight_decay} is not accepted; expected {expected}")


class Training(State):
    """How far a training of the ensemble is; `running` between its first update and its end."""

    def __init__(self, params: Tensor) -> None:
        self.start(params)
        self.running = False

    def start(self, params: Tensor) -> None:
        """Begin before the first update of parameters [R, K, P]."""
        runs = len(params)
        self.best = params.clone()  # [R, K, P], each member's snapshot with the lowest holdout error
        self.best_mse = torch.full(params.shape[:2], torch.inf, device=params.device)  # [R, K], that error
        self.loss = torch.zeros(runs, device=params.device)  # [R], of the latest update
        self.stale = [0] * runs  # looks without an improvement
        self.active = [True] * runs  # runs that have not converged
        self.updates = [0] * runs  # updates up to the latest look at a run
        self.done = 0  # updates so far
        self.running = True


class Ensemble(State):
    """Parameters of [R, K] networks that predict (delta obs, reward) as a Gaussian."""

    def __init__(
        self,
        config: DynamicsConfig,
        obs_dim: int,
        action_dim: int,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.config, self.obs_dim = config, obs_dim
        num_runs, out = len(seeds), obs_dim + 1
        sizes = obs_dim + action_dim, *config.hidden, 2 * out
        self.net = MLP(sizes, activation="swish", layer_norm=config.layer_norm, precision=precision)
        init = Streams(seeds, "init", "dynamics", device=device).generators
        self.params = self.net.init(init, members=config.ensemble_size)  # [R, K, P]
        # max_logvar, min_logvar [R, 2, out]; shared by the members
        bounds = torch.tensor([INIT_MAX_LOGVAR, INIT_MIN_LOGVAR], device=device)
        self.bounds = bounds[:, None].repeat(num_runs, 1, out)
        self.elite_idxs = torch.arange(config.num_elites, device=device).repeat(num_runs, 1)  # [R, num_elites]
        self.input_mean = torch.zeros(num_runs, 1, 1, obs_dim + action_dim, device=device)
        self.input_std = torch.ones_like(self.input_mean)
        self.target_mean = torch.zeros(num_runs, 1, 1, out, device=device)
        self.target_std = torch.ones_like(self.target_mean)
        self.uncertainty_scale = torch.ones(num_runs, device=device)  # of the penalty, see PenaltyConfig.rescale
        self.trusted = torch.full((num_runs,), torch.inf, device=device)  # where rollouts end, see rollout.trusted
        layers = zip(config.weight_decay, self.net.shapes, strict=True)
        decays = [(n, wd) for decay, (n_in, n_out) in layers for n, wd in ((n_in * n_out, decay), (n_out, 0.0))]
        self._decay = torch.cat([torch.full((n,), wd) for n, wd in decays]).to(device)  # [P]; none of biases
        self.params_adam, self.bounds_adam = RunAdam(self.params, config.lr), RunAdam(self.bounds, config.lr)
        self.fitted = False
        self.training = Training(self.params)

    def fit_scaler(self, run: int, batch: Batch) -> None:
        """Standardise one run's inputs (and, if configured, targets) with the moments of transitions [N]."""
        inputs, targets = self._tensors(batch)
        pairs = [(inputs, self.input_mean, self.input_std)]
        if self.config.normalize_targets:
            pairs.append((targets, self.target_mean, self.target_std))
        for values, mean, std in pairs:
            mean[run, 0, 0], std[run, 0, 0] = values.mean(0), divisor(values.std(0, correction=0))

    def fit(
        self,
        draw: Callable[[int], Batch],
        holdout: Batch,
        max_updates: int,
        safe_point: Callable[[], None] = lambda: None,
        call: Call = plain,
    ) -> dict[str, Tensor]:
        """Train until each run's holdout error stops improving, at most max_updates gradient updates.

        draw(n): n transitions [R, n] by the run's strategy, called with K x batch_size so that every member has its
        own bootstrap. holdout: [R, H]. Each member's best snapshot is restored; the elites are the members with the
        lowest holdout error. A run that has converged stops moving while others go on. Returns metrics [R].

        safe_point is called after every update; what it saves lets a later call with the same arguments go on from
        there. call: how an update is called, see moore/networks/calls.py.
        """
        config, training = self.config, self.training
        if not training.running:
            # second moments of a converged training are tiny: where the data then shifts at once (half_half,
            # pure_online), the first steps with them are so large that they destroy the ensemble
            if config.fresh_optimizer:
                self.params_adam.reset()
                self.bounds_adam.reset()
            training.start(self.params)
        while training.done < max_updates and any(training.active):
            batch = draw(config.ensemble_size * config.batch_size)
            if all(training.active):
                training.loss = call("model", functools.partial(model_step, self), *batch)["loss"]
            else:  # which runs go on changes too often for recordings, and is not traced
                training.loss = self.update(batch, training.active)
            training.done += 1
            if training.done % config.epoch_updates == 0 or training.done == max_updates:
                self._look(training, holdout)
            safe_point()
        training.running = False
        with torch.no_grad():
            self.params.copy_(training.best)
        self.elite_idxs.copy_(training.best_mse.argsort(1)[:, : config.num_elites])
        self.fitted = True
        elite_mse = training.best_mse.gather(1, self.elite_idxs).mean(1)
        updates = torch.tensor(training.updates, dtype=torch.float32)
        return {"model/holdout_mse": elite_mse, "model/loss": training.loss, "model/updates": updates}

    def _look(self, training: Training, holdout: Batch) -> None:
        """Keep each member's best snapshot, and stop the runs that have not improved for too long."""
        mse = self.squared_error(holdout).mean((2, 3))
        running = torch.tensor(training.active, device=mse.device)[:, None]
        best_mse = training.best_mse
        # the first look has no predecessor and always counts, as in MOPO
        improved = running & (
            (best_mse.isinf() & mse.isfinite()) | ((best_mse - mse) / best_mse > self.config.min_improvement)
        )
        training.best_mse = torch.where(improved, mse, best_mse)
        training.best.copy_(torch.where(improved[..., None], self.params, training.best))
        for run, any_improved in enumerate(improved.any(1).tolist()):
            if training.active[run]:
                training.updates[run] = training.done
                training.stale[run] = 0 if any_improved else training.stale[run] + 1
                training.active[run] = training.stale[run] <= self.config.patience

    def predict(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return every member's mean and std of (next obs, reward), each [R, K, B, obs_dim + 1], in raw units."""
        num_runs, members = self.params.shape[:2]
        at_once = PREDICT_FLOATS.get(self.params.device.type, PREDICT_FLOATS["cuda"])
        chunk = max(1, at_once // (num_runs * members * max(self.config.hidden)))
        means, stds = [], []
        with torch.no_grad():
            for o, a in zip(obs.split(chunk, 1), action.split(chunk, 1), strict=True):
                mean, logvar = self._forward(self.params, self.bounds, torch.cat([o, a], -1)[:, None])
                mean = mean * self.target_std + self.target_mean
                mean[..., :-1] += o[:, None]
                means.append(mean)
                stds.append((0.5 * logvar).exp() * self.target_std)
        return torch.cat(means, 2), torch.cat(stds, 2)

    def squared_error(self, batch: Batch) -> Tensor:
        """Squared errors [R, K, B, obs_dim + 1] of the mean predictions on transitions [R, B], in the loss's units."""
        inputs, targets = self._tensors(batch)
        with torch.no_grad():
            mean, _ = self._forward(self.params, self.bounds, inputs[:, None])
        return (mean - self._scale(targets[:, None])).square()

    def only(self, run: int) -> Ensemble:
        """Return the ensemble of one run, R = 1, for predictions: its tensors are views."""
        one = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and not name.startswith("_"):
                setattr(one, name, value[run : run + 1])
        return one

    def update(self, batch: Batch, active: Sequence[bool] | None = None) -> Tensor:
        """Take a gradient step of the active runs, None: all, on K bootstrap batches packed in [R, K x B].

        Returns the loss [R].
        """
        members = self.config.ensemble_size
        inputs, targets = (x.unflatten(1, (members, -1)) for x in self._tensors(batch))
        params, bounds = self.params.detach().requires_grad_(), self.bounds.detach().requires_grad_()
        mean, logvar = self._forward(params, bounds, inputs)
        error = (mean - self._scale(targets)).square() * (-logvar).exp()
        nll = (error + logvar).mean((2, 3)).sum(1)  # [R]: mean over batch and dimensions, sum over members
        loss = nll + BOUND_COEF * (bounds[:, 0] - bounds[:, 1]).sum(-1)
        params_grad, bounds_grad = torch.autograd.grad(loss.sum(), (params, bounds))
        # gradient of 0.5 decay |w|^2; the compiler's tracing does not broadcast an addcmul over R
        params_grad.addcmul_(self.params.detach(), self._decay.expand_as(params))
        self.params_adam.step(params_grad, active)
        self.bounds_adam.step(bounds_grad, active)
        return loss.detach()

    def _forward(self, params: Tensor, bounds: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and softly bounded log-variance [R, K, B, out], in the loss's units; raw inputs [R, K or 1, B, in]."""
        x = ((inputs - self.input_mean) / self.input_std).expand(-1, params.shape[1], -1, -1)
        mean, logvar = self.net(params, x).chunk(2, -1)
        max_logvar, min_logvar = bounds[:, 0, None, None], bounds[:, 1, None, None]
        logvar = max_logvar - F.softplus(max_logvar - logvar)
        return mean, min_logvar + F.softplus(logvar - min_logvar)

    def _scale(self, targets: Tensor) -> Tensor:
        return (targets - self.target_mean) / self.target_std

    def _tensors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Network inputs (obs, action) and raw targets (delta obs, reward) of transitions [R, B]."""
        inputs = torch.cat([batch.obs, batch.action], -1)
        return inputs, torch.cat([batch.next_obs - batch.obs, batch.reward[..., None]], -1)


def model_step(ensemble: Ensemble, *fields: Tensor) -> dict[str, Tensor]:
    """Update every run as a function of tensors with the run axis first, which can be recorded or compiled."""
    return {"loss": ensemble.update(Batch(*fields))}
