"""Sampling strategies: which share of a draw from D_off ∪ D_on is online, and which transition inside each part.

Any priority that depends on the source only is drawn exactly in two steps: the source by its total priority, then a
transition uniformly inside it. A strategy may also weight single transitions inside a source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from moore.algorithm.replay import RealBuffer
from moore.networks.random import scale_to_index


@dataclass(frozen=True)
class SamplingConfig:
    """Which strategy each consumer of D_off ∪ D_on uses; the paper uses `prioritized` for the first two."""

    model_batches: str = "prioritized"  # training data of the dynamics ensemble
    start_states: str = "prioritized"  # first states of imagined rollouts
    real_batches: str = "prioritized"  # the real share of SAC's batches
    decay_rate: float = 1.0  # the paper's alpha in f = 1 / (alpha t)
    priority_exponent: float = 1.0  # PER's exponent, P(i) = p_i^e / sum p^e; 1 leaves the paper's priorities
    online_ratio: float = 0.5  # of fixed_ratio (RLPD's offline_ratio is its complement)
    anneal_start: float = 0.1  # of linear_anneal: the online share at the switch
    anneal_end: float = 1.0  # of linear_anneal: the online share from anneal_epochs on
    anneal_epochs: int | None = None  # of linear_anneal; None: all T epochs
    fresh_share: float = 0.9  # of oorb (SUNG, arXiv 2306.07541: p = 0.1 for the union)
    fresh_window: float = 0.2  # of oorb: the latest online transitions, a share of the stage's (SUNG: 20k of 100k)
    on_policy_temperature: float = 5.0  # of on_policy (song970407/ARB)
    return_base: float = (
        0.1  # of return_prioritized: added to the return scaled to 0-1, so that no episode is lost; ours
    )
    error_exponent: float = 0.6  # of model_error (PER, arXiv 1511.05952)


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
    """Priority 1 for online and f = 1 / (decay_rate t) for offline transitions (paper, eq. 3 and 4; t from 1)."""
    priority = (1.0 / (config.decay_rate * now.t)) ** config.priority_exponent
    return Mixture(now.n_on / (now.n_on + now.n_off * priority))


def uniform(config: SamplingConfig, now: Moment) -> Mixture:
    """Every transition alike."""
    return Mixture(now.n_on / (now.n_on + now.n_off))


def half_half(config: SamplingConfig, now: Moment) -> Mixture:
    """One half from each source."""
    return Mixture(0.5)


def pure_online(config: SamplingConfig, now: Moment) -> Mixture:
    """Online transitions only."""
    return Mixture(1.0)


def fixed_ratio(config: SamplingConfig, now: Moment) -> Mixture:
    """A constant online share (RLPD, arXiv 2302.02948, sweeps it)."""
    return Mixture(config.online_ratio)


def linear_anneal(config: SamplingConfig, now: Moment) -> Mixture:
    """The online share grows linearly with the online steps; a control for the shape of the paper's schedule."""
    steps = (config.anneal_epochs or now.epochs) * now.epoch_steps
    return Mixture(config.anneal_start + (config.anneal_end - config.anneal_start) * min(1.0, now.n_on / steps))


def matched_anneal(config: SamplingConfig, now: Moment) -> Mixture:
    """Linear from 0, with one half at the same step as `prioritized`: t* = sqrt(N_off / (decay_rate S)) epochs.

    With a PER exponent e, where S t = N_off (decay_rate t)^-e: t* = (N_off / (S decay_rate^e))^(1 / (1 + e)).
    """
    e = config.priority_exponent
    crossing = (now.n_off / (now.epoch_steps * config.decay_rate**e)) ** (1 / (1 + e)) * now.epoch_steps  # in steps
    return Mixture(min(1.0, 0.5 * now.n_on / crossing))


def oorb(config: SamplingConfig, now: Moment) -> Mixture:
    """fresh_share from the latest fresh_window online transitions, the rest uniform over everything (SUNG's OORB)."""
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
DENSITY_RATIO = "density_ratio"  # Balanced Replay's learned priorities (moore/algorithm/density_ratio.py)
ROW_STRATEGIES = (
    "on_policy",
    "return_prioritized",
    "model_error",
)  # weights of rows (row_weights.py)
CONSUMERS = ("model_batches", "start_states", "real_batches")


def mixture(config: SamplingConfig, consumer: str, now: Moment) -> Mixture:
    """The distribution of one consumer.

    Whatever the strategy, an empty source gets no draws: before the first online transition everything, `pure_online`
    included, is drawn from the offline data; in a run from scratch everything is online.
    """
    if now.n_on == 0 or now.n_off == 0:
        return Mixture(0.0 if now.n_on == 0 else 1.0)
    return STRATEGIES[getattr(config, consumer)](config, now)


class Split(NamedTuple):
    """Which rows of a source a draw may take: all, the ones that train the ensemble, or its holdout.

    The holdout is the end of the (shuffled) offline data and every `online_every`-th online transition, at most
    `limit` of each, so that the same rows are held out from one retraining to the next.
    """

    part: str = "all"  # all | train | holdout
    ratio: float = 0.2
    limit: int = 1000

    @property
    def online_every(self) -> int:
        """One online transition in this many is held out."""
        return max(2, round(1 / self.ratio))

    def offline(self, n_off: int) -> tuple[int, int]:
        """(first row, number of rows) of this part of n_off offline rows."""
        held = min(int(self.ratio * n_off), self.limit)
        return {"all": (0, n_off), "train": (0, n_off - held), "holdout": (n_off - held, held)}[self.part]

    def online_size(self, n_on: int) -> int:
        """Number of rows of this part of n_on online rows."""
        held = min(n_on // self.online_every, self.limit)
        return {"all": n_on, "train": n_on - held, "holdout": held}[self.part]

    def online_row(self, index: Tensor) -> Tensor:
        """Row numbers of this part's online transitions number `index`."""
        every = self.online_every
        if self.part == "train":
            return index + (index // (every - 1)).clamp(max=self.limit)
        return index * every + every - 1 if self.part == "holdout" else index


ALL = Split()


class Part(NamedTuple):
    """A split of a buffer as it is now: as numbers, and as what draws need on the device."""

    split: Split
    offline: list[tuple[int, int]]  # of each run: (first row, number of rows)
    online_size: int
    offline_start: Tensor  # [R, 1], absolute row
    offline_count: Tensor  # [R, 1], at least 1
    online_start: Tensor  # [R, 1], absolute row of the first online transition, in the part or not
    online_count: Tensor  # [1, 1], at least 1


def part_of(buffer: RealBuffer, split: Split = ALL) -> Part:
    """The rows of `buffer` that draws from this split may take."""
    offline, online_size = [split.offline(size) for size in buffer.offline_size], split.online_size(buffer.online_size)
    assert all(size or online_size for _, size in offline), f"no transitions in the part {split.part!r}"
    column = lambda values: torch.tensor(values, device=buffer.rows.device, dtype=torch.long)[:, None]  # noqa: E731
    start = buffer.offline_start[:, None] + column([first for first, _ in offline])
    counts = column([max(1, n) for _, n in offline]), column([max(1, online_size)])
    return Part(split, offline, online_size, start, counts[0], buffer.online_start[:, None], counts[1])


class Plan(NamedTuple):
    """All that draws from one part depend on beside their uniforms, on the device."""

    part: Part
    online_share: Tensor  # [R, 1] float64
    offline_sums: dict[int, Tensor]  # of each run with such weights: their running sum [n] over the part's rows
    online_sums: dict[int, Tensor]

    def draw(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw absolute row indices of the buffer, by tensor operations of fixed shapes alone: nothing waits for them.

        uniforms: float64 [2, R, B] in [0, 1): the first picks the source, the second the transition inside it.
        Returns index [R, B] and the realised online share [R].
        """
        from_online = uniforms[0] < self.online_share
        inside_off = scale_to_index(uniforms[1], self.part.offline_count)
        inside_on = scale_to_index(uniforms[1], self.part.online_count)
        for inside, sums in ((inside_off, self.offline_sums), (inside_on, self.online_sums)):
            for run, cumulative in sums.items():
                inside[run] = _inverted(cumulative, uniforms[1, run])
        online_row = self.part.online_start + self.part.split.online_row(inside_on)
        return torch.where(from_online, online_row, self.part.offline_start + inside_off), from_online.float().mean(1)


def running_sum(run: int, weights: Tensor) -> Tensor:
    """The running sum [n] of one run's weights [n], float64."""
    return weights.double().cumsum(0)


def plan(part: Part, mixtures: Sequence[Mixture], offline_sum: Callable[[int, Tensor], Tensor] = running_sum) -> Plan:
    """How to draw from a part, run r from mixtures[r].

    Inside a part, weights count for its rows; the holdout, a yardstick, is drawn uniformly inside each source.
    offline_sum: what gives `running_sum` of a run's offline weights in the part, for who has it from before.
    """
    device, split, online_size = part.offline_start.device, part.split, part.online_size
    shares, offline_sums, online_sums = [], {}, {}
    for run, (mix, (first, n_off)) in enumerate(zip(mixtures, part.offline, strict=True)):
        share = 0.0 if online_size == 0 else 1.0 if n_off == 0 else mix.online_share
        # filled in, not copied from the host: no draw waits for a share that is a tensor already
        shares.append(share if isinstance(share, Tensor) else torch.full((), share, dtype=torch.float64, device=device))
        if split.part == "holdout":
            continue
        if mix.offline_weights is not None and n_off:
            offline_sums[run] = offline_sum(run, mix.offline_weights[first : first + n_off].to(device))
        if mix.online_weights is not None and online_size:
            weights = mix.online_weights.to(device)
            if split.part == "train":
                weights = weights[split.online_row(torch.arange(online_size, device=device))]
            online_sums[run] = running_sum(run, weights)
    return Plan(part, torch.stack(shares)[:, None], offline_sums, online_sums)


def _inverted(cumulative: Tensor, uniforms: Tensor) -> Tensor:
    """Indices [B] drawn in proportion to weights by inverting their running sum [n] at uniforms [B]."""
    return torch.searchsorted(cumulative, uniforms * cumulative[-1], right=True).clamp(max=len(cumulative) - 1)
