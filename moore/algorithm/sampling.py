"""Sampling strategies: which share of a draw from D_off ∪ D_on is online, and which transition inside each part.

Any priority that depends on the source only is drawn exactly in two steps: the source by its total priority, then a
transition uniformly inside it. A strategy may also weight single transitions inside a source.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.base.strict import FORBID, Count, ModelOnly, NonNegative, Positive, Share


@dataclass(frozen=True, config=FORBID)
class SamplingConfig:
    """Which strategy each consumer of D_off ∪ D_on uses; the paper uses `prioritized` for the first two."""

    # a function of this file or of row_weights.py, density_ratio, or package.module:name
    model_batches: ModelOnly[str] = "prioritized"  # training data of the dynamics ensemble
    start_states: ModelOnly[str] = "prioritized"  # first states of imagined rollouts
    real_batches: str = "prioritized"  # the real share of SAC's batches
    decay_rate: Positive = 1.0  # the paper's alpha in f = 1 / (alpha t)
    priority_exponent: NonNegative = 1.0  # PER's exponent, P(i) = p_i^e / sum p^e; 1 leaves the paper's priorities
    online_ratio: Share = 0.5  # of fixed_ratio (RLPD's offline_ratio is its complement)
    anneal_start: Share = 0.1  # of linear_anneal: the online share at the switch
    anneal_end: Share = 1.0  # of linear_anneal: the online share from anneal_epochs on
    anneal_epochs: Count | None = None  # of linear_anneal; None: all T epochs
    fresh_share: Share = 0.9  # of oorb (SUNG, arXiv 2306.07541: p = 0.1 for the union)
    fresh_window: Share = 0.2  # of oorb: the latest online transitions, a share of the stage's (SUNG: 20k of 100k)
    on_policy_temperature: ModelOnly[Positive] = 5.0  # of on_policy (song970407/ARB)
    return_base: ModelOnly[Positive] = 0.1  # of return_prioritized: added to the return scaled to 0-1; ours
    error_exponent: ModelOnly[NonNegative] = 0.6  # of model_error and self_tuned (PER, arXiv 1511.05952)
    tuning_rate: ModelOnly[Positive] = 1.0  # of self_tuned: how fast its share follows the model's errors; ours


class Mixture(NamedTuple):
    """A distribution over D_off ∪ D_on.

    online_share: probability that a drawn transition is online; a tensor (float64, a scalar) where it changes with
    every minibatch, which then need not wait for the number. The weights [N_off], [N_on], if given, are unnormalised
    probabilities inside the source; None is uniform.
    """

    online_share: float | Tensor
    offline_weights: Tensor | None = None
    online_weights: Tensor | None = None


class Moment(NamedTuple):
    """What a strategy may look at: the epoch t (from 1; 0 is the offline stage), the sizes, the online stage's plan."""

    t: int
    n_off: int
    n_on: int
    epochs: int = 100  # T
    epoch_steps: int = 1000  # S


def prioritized(config: SamplingConfig, now: Moment) -> Mixture:
    """Give online transitions the priority 1, offline ones f = 1 / (decay_rate t) (paper, eq. 3 and 4; t from 1)."""
    f = (1.0 / (config.decay_rate * now.t)) ** config.priority_exponent
    return Mixture(now.n_on / (now.n_on + now.n_off * f))


def uniform(config: SamplingConfig, now: Moment) -> Mixture:
    """Weigh every transition alike."""
    return Mixture(now.n_on / (now.n_on + now.n_off))


def half_half(config: SamplingConfig, now: Moment) -> Mixture:
    """Draw one half from each source."""
    return Mixture(0.5)


def pure_online(config: SamplingConfig, now: Moment) -> Mixture:
    """Draw online transitions only."""
    return Mixture(1.0)


def fixed_ratio(config: SamplingConfig, now: Moment) -> Mixture:
    """Keep a constant online share (RLPD, arXiv 2302.02948, sweeps it)."""
    return Mixture(config.online_ratio)


def linear_anneal(config: SamplingConfig, now: Moment) -> Mixture:
    """Let the online share grow linearly with the online steps; a control for the shape of the paper's schedule."""
    steps = (config.anneal_epochs or now.epochs) * now.epoch_steps
    return Mixture(config.anneal_start + (config.anneal_end - config.anneal_start) * min(1.0, now.n_on / steps))


def matched_anneal(config: SamplingConfig, now: Moment) -> Mixture:
    """Grow linearly from 0, with one half at the same step as `prioritized`: t* = sqrt(N_off / (decay_rate S)) epochs.

    With a PER exponent e, where S t = N_off (decay_rate t)^-e: t* = (N_off / (S decay_rate^e))^(1 / (1 + e)).
    """
    e = config.priority_exponent
    crossing = (now.n_off / (now.epoch_steps * config.decay_rate**e)) ** (1 / (1 + e)) * now.epoch_steps  # in steps
    return Mixture(min(1.0, 0.5 * now.n_on / crossing))


def oorb(config: SamplingConfig, now: Moment) -> Mixture:
    """Draw fresh_share from the latest fresh_window online transitions, the rest from everything (SUNG's OORB)."""
    rest = (1.0 - config.fresh_share) / (now.n_on + now.n_off)
    window = min(max(1, round(config.fresh_window * now.epochs * now.epoch_steps)), now.n_on)
    weights = torch.full((now.n_on,), rest, dtype=torch.float64)
    weights[now.n_on - window :] += config.fresh_share / window
    return Mixture(config.fresh_share + rest * now.n_on, online_weights=weights)


Strategy = Callable[[SamplingConfig, Moment], Mixture]
STRATEGIES: dict[str, Strategy] = {
    f.__name__: f
    for f in (prioritized, uniform, half_half, pure_online, fixed_ratio, linear_anneal, matched_anneal, oorb)
}
DENSITY_RATIO = "density_ratio"  # Balanced Replay's learned priorities, in density_ratio.py
CONSUMERS = ("model_batches", "start_states", "real_batches")
