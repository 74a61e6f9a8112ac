"""Training the dynamics ensemble on D_off and D_on, drawn by each run's strategy (the first half of a phi step)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moore.algorithm.clock import SafePoint
from moore.algorithm.config import RunConfig
from moore.algorithm.diagnostics import HELD_OUT, MAX_ROWS, relative_change, unseen_errors
from moore.algorithm.draws import holdout_split
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.penalty import max_std, uncertainty
from moore.algorithm.rollout import trusted
from moore.networks.batch import Batch
from moore.networks.calls import Call, caller
from moore.networks.random import Streams

if TYPE_CHECKING:
    from moore.algorithm.cohort import Cohort


def train_model(cohort: Cohort, t: int, safe_point: SafePoint) -> None:
    """Train the ensemble in epoch t, until convergence or the cap; t = 0 is the offline stage.

    A training that a checkpoint cut off goes on. safe_point is called after every update.
    """
    ensemble, settings = cohort.ensemble, cohort.shared.dynamics
    assert ensemble is not None
    first = not ensemble.fitted
    if not first and settings.online_max_updates == 0:  # the offline model stays
        cohort.refresh_weights()  # rollouts still start where the strategies say
        return

    if not ensemble.training.running:
        begin(cohort, ensemble, t)
    draw = lambda count: draw_batch(cohort, t, "model_batches", count, "train")  # noqa: E731
    holdout = Batch(**cohort.holdout)
    cap = settings.offline_max_updates if first else settings.online_max_updates
    cohort.metrics.add(ensemble.fit(draw, holdout, cap, safe_point, cohort.model_call))

    if cohort.look:
        change = relative_change(cohort.look["uncertainty"], held_out_uncertainty(cohort, ensemble))
        cohort.metrics.add(cohort.look["errors"] | change)
    if first:
        rescale_uncertainty(cohort, ensemble, holdout)
    quantile = cohort.shared.rollout.truncation_quantile
    if quantile is not None:
        for run in range(len(cohort.seeds)):
            ensemble.trusted[run] = trusted(ensemble, run, cohort.real_buffer.all_of(run), quantile)
    cohort.holdout, cohort.look = {}, {}


def begin(cohort: Cohort, ensemble: Ensemble, t: int) -> None:
    """Prepare a training: streams, scaler, weights by row, and the transitions held out of it."""
    if is_last(cohort, ensemble, t):  # looked at before the scaler moves
        size, buffer = cohort.online_size, cohort.real_buffer
        latest = torch.arange(size - min(MAX_ROWS, cohort.shared.online.retrain_interval), size, device=cohort.device)
        errors = unseen_errors(ensemble, buffer.gather(buffer.online_start[:, None] + latest), cohort.kinds)
        cohort.look = {"errors": errors, "uncertainty": held_out_uncertainty(cohort, ensemble)}
    # a stream of its own for each training: how far a run draws must not depend on when the others converge
    cohort.streams["model_batches"] = Streams(
        cohort.seeds, cohort.stage, "model_batches", cohort.online_size, device=cohort.device
    )
    if not ensemble.fitted or cohort.shared.dataset is None:
        for run in range(len(cohort.seeds)):
            ensemble.fit_scaler(run, cohort.real_buffer.all_of(run))
    cohort.refresh_weights()
    cohort.holdout = draw_batch(cohort, t, "holdout", cohort.shared.dynamics.max_holdout, "holdout")._asdict()


def draw_batch(cohort: Cohort, t: int, stream: str, count: int, part: str) -> Batch:
    """Draw transitions [R, count] of one part of the data (see `Split`) for the ensemble."""
    return cohort.real_buffer.gather(cohort.draw("model_batches", t, stream, count, holdout_split(cohort.shared, part)))


def is_last(cohort: Cohort, ensemble: Ensemble, t: int) -> bool:
    """Tell whether this is a retraining online and no other one follows in epoch t."""
    online = cohort.shared.online
    return t > 0 and ensemble.fitted and cohort.online_size + online.retrain_interval > t * online.epoch_steps


def held_out(cohort: Cohort) -> Batch:
    """Return offline transitions [R, n] that never train, a run's few again and again; n = 0 in a run from scratch."""
    buffer = cohort.real_buffer
    parts = [holdout_split(cohort.shared).offline(size) for size in buffer.offline_size]
    first, held = (torch.tensor(column, device=cohort.device)[:, None] for column in zip(*parts, strict=True))
    count = HELD_OUT if cohort.shared.dataset is not None else 0
    return buffer.gather(buffer.offline_start[:, None] + first + torch.arange(count, device=cohort.device) % held)


def held_out_uncertainty(cohort: Cohort, ensemble: Ensemble) -> Tensor:
    """Return u [R, n] on the transitions that never train."""
    batch = held_out(cohort)
    return uncertainty(cohort.kinds, *ensemble.predict(batch.obs, batch.action))


def rescale_uncertainty(cohort: Cohort, ensemble: Ensemble, batch: Batch) -> None:
    """Give u the mean of max_std on transitions [R, B] in the runs that ask for it."""
    asked = [config.penalty.rescale for config in cohort.configs]
    if any(asked):
        prediction = ensemble.predict(batch.obs, batch.action)
        scale = max_std(*prediction).mean(1) / uncertainty(cohort.kinds, *prediction).mean(1)
        ensemble.uncertainty_scale.copy_(torch.where(torch.tensor(asked, device=cohort.device), scale, 1.0))


def model_caller(config: RunConfig, device: torch.device, updates: int) -> Call:
    """Return how so many updates of the ensemble are called."""
    dynamics = config.dynamics
    activations = dynamics.ensemble_size * dynamics.batch_size * max(dynamics.hidden, default=1)
    settings = dynamics.ensemble_size, dynamics.hidden, dynamics.layer_norm, config.precision
    return caller(device, settings, updates, activations)


def model_updates_of(config: RunConfig, stage: str) -> int:
    """Return how many updates of the ensemble are made at most up to the end of a stage."""
    trainings = config.online_steps // config.online.retrain_interval if stage == "online" else 0
    return config.dynamics.offline_max_updates + trainings * config.dynamics.online_max_updates
