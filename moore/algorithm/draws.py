"""How rows of D_off ∪ D_on are drawn: by each run's strategies, and by the weights that some of them learn."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moore.agents.actor_critic import Agent
from moore.algorithm.config import RunConfig
from moore.algorithm.density_ratio import DensityRatio
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.replay import RealBuffer
from moore.algorithm.row_weights import RowWeights, find_strategy, is_by_row
from moore.algorithm.sampling import DENSITY_RATIO, Mixture, Moment, prioritized
from moore.algorithm.self_tuned import SELF_TUNED, SelfTuned
from moore.networks.random import Streams, scale_to_index
from moore.networks.state import State


class Split(NamedTuple):
    """Which rows of a source a draw may take: all, the ones that train the ensemble, or its holdout.

    The holdout is the end of the (shuffled) offline data and every `online_every`-th online transition, of each at most
    `limit`, online the newest. No row comes back into it: what the ensemble has trained on never judges it.
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
        """Return number of rows of this part of n_on online rows."""
        held = min(n_on // self.online_every, self.limit)
        return {"all": n_on, "train": n_on - held, "holdout": held}[self.part]

    def online_row(self, index: Tensor, n_on: int) -> Tensor:
        """Row numbers of the transitions number `index` of this part of n_on online rows."""
        every = self.online_every
        first = max(0, n_on // every - self.limit) * every  # all before it train
        if self.part == "train":
            return index + (index - first).clamp(min=0) // (every - 1)
        return first + index * every + every - 1 if self.part == "holdout" else index


ALL = Split()


def holdout_split(config: RunConfig, part: str = "holdout") -> Split:
    """Return which rows train the ensemble ("train") or are held out."""
    return Split(part, config.dynamics.holdout_ratio, config.dynamics.max_holdout)


class Plan:
    """Draws from a split of a buffer as it is now, run r by mixtures[r]; all but the uniforms is on the device.

    Inside a split, weights count for its rows; the holdout, a yardstick, is drawn uniformly inside each source. sums:
    by run, running sums of offline weights that are known already; those that are not are added to it.
    """

    def __init__(self, buffer: RealBuffer, mixtures: Sequence[Mixture], split: Split, sums: dict[int, Tensor]) -> None:
        device, online_size = buffer.rows.device, split.online_size(buffer.online_size)
        self.split, self.n_on, self.online_count = split, buffer.online_size, max(1, online_size)
        # of each run that weighs: the running sum [n] of weights over the split's rows
        self.offline_sums: dict[int, Tensor] = {}
        self.online_sums: dict[int, Tensor] = {}
        shares, starts, counts = list[float | Tensor](), list[int](), list[int]()
        for run, (mix, size) in enumerate(zip(mixtures, buffer.offline_size, strict=True)):
            first, n_off = split.offline(size)
            assert n_off or online_size, f"no transitions in the part {split.part!r}"
            starts.append(first)
            counts.append(max(1, n_off))
            shares.append(0.0 if online_size == 0 else 1.0 if n_off == 0 else mix.online_share)
            if split.part == "holdout":
                continue
            if mix.offline_weights is not None and n_off:
                if run not in sums:
                    sums[run] = mix.offline_weights[first : first + n_off].to(device).double().cumsum(0)
                self.offline_sums[run] = sums[run]
            if mix.online_weights is not None and online_size:
                weights = mix.online_weights.to(device)
                if split.part == "train":
                    weights = weights[split.online_row(torch.arange(online_size, device=device), self.n_on)]
                self.online_sums[run] = weights.double().cumsum(0)
        self.online_share = _column(shares, torch.float64, device)  # [R, 1]
        self.offline_start = buffer.offline_start[:, None] + _column(starts, torch.long, device)
        self.offline_count = _column(counts, torch.long, device)
        self.online_start = buffer.online_start[:, None]  # in the split or not

    def draw(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw absolute row indices of the buffer, by tensor operations of fixed shapes alone: nothing waits for them.

        uniforms: float64 [2, R, B] in [0, 1): the first picks the source, the second the transition inside it.
        Returns index [R, B] and the realised online share [R].
        """
        from_online = uniforms[0] < self.online_share
        inside_off = scale_to_index(uniforms[1], self.offline_count)
        inside_on = scale_to_index(uniforms[1], self.online_count)
        for inside, sums in ((inside_off, self.offline_sums), (inside_on, self.online_sums)):
            for run, cumulative in sums.items():  # in proportion to weights, by inverting their running sum
                picked = torch.searchsorted(cumulative, uniforms[1, run] * cumulative[-1], right=True)
                inside[run] = picked.clamp(max=len(cumulative) - 1)
        online_row = self.online_start + self.split.online_row(inside_on, self.n_on)
        return torch.where(from_online, online_row, self.offline_start + inside_off), from_online.float().mean(1)


def _column(values: Sequence[float | Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers and tensors of one number as [R, 1], filled in, not copied from the host: a GPU waits for that."""
    if len(set(values)) == 1 and not isinstance(values[0], Tensor):
        return torch.full((len(values), 1), values[0], dtype=dtype, device=device)
    full = lambda x: x if isinstance(x, Tensor) else torch.full((), x, dtype=dtype, device=device)  # noqa: E731
    return torch.stack([full(value) for value in values])[:, None]


class Draws(State):
    """The distributions of R runs over one buffer.

    The density ratio weighs every minibatch of a model-free run (Balanced Replay); in a model-based run it is trained
    before each retraining of the ensemble, like the weights of the row strategies. What other draws depend on is kept
    until the epoch or the number of online transitions changes, running sums of offline weights until these do.
    """

    def __init__(
        self, configs: Sequence[RunConfig], buffer: RealBuffer, episode_returns: Sequence[Tensor | None], stage: str
    ) -> None:
        self._configs, self._shared, self._buffer = configs, configs[0], buffer
        shared, samplings, split = configs[0], [config.sampling for config in configs], holdout_split(configs[0])
        self.row_weights = RowWeights(samplings, buffer, episode_returns)
        self.self_tuned = SelfTuned(samplings, buffer, [split.offline(size)[1] for size in buffer.offline_size])
        self.density_ratio: DensityRatio | None = None
        if stage == "online" and shared.uses_density_ratio:
            steps, seeds = shared.online.epoch_steps, [config.seed for config in configs]
            self.density_ratio = DensityRatio(shared.density_ratio, buffer, steps, seeds, shared.precision)
        self._plans: dict[tuple[str, Split], tuple[tuple[int, int], Plan]] = {}  # with epoch and online transitions
        self._sums: dict[tuple[str, Split], dict[int, Tensor]] = {}  # of offline weights, by run

    @property
    def minibatch_weights(self) -> DensityRatio | None:
        """What weighs every minibatch anew, in a model-free run that asks for it."""
        return None if self._shared.uses_model else self.density_ratio

    def rows(self, consumer: str, t: int, uniforms: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Rows [R, B] for one consumer in epoch t and their online share [R]; uniforms as in `Plan.draw`."""
        now = t, self._buffer.online_size
        then, plan = self._plans.get((consumer, split), (None, None))
        if plan is None or then != now or self.minibatch_weights is not None:
            mixtures = [self._mixture(run, consumer, t) for run in range(len(self._configs))]
            known = {} if self.minibatch_weights is not None else self._sums.setdefault((consumer, split), {})
            plan = Plan(self._buffer, mixtures, split, known)
            self._plans[consumer, split] = now, plan
        return plan.draw(uniforms)

    def refresh(self, agent: Agent, ensemble: Ensemble, streams: Streams) -> dict[str, Tensor]:
        """Weights for the ensemble's next training and the rollouts after it; returns metrics [R]."""
        if self._buffer.online_size == 0:
            return {}  # everything is drawn from the offline data
        self._forget()
        self.row_weights.refresh(agent, ensemble)
        t = -(-self._buffer.online_size // self._shared.online.epoch_steps)
        self.self_tuned.refresh(ensemble, [self._moment(run, t) for run in range(len(self._configs))])
        if self.density_ratio is None:
            return {}
        self.density_ratio.add_online()
        return self.density_ratio.train(streams)

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._forget()
        super().load(state)

    def _forget(self) -> None:
        """Weights are about to change."""
        self._plans.clear()
        self._sums.clear()

    def _mixture(self, run: int, consumer: str, t: int) -> Mixture:
        """Return the distribution of one run's consumer in epoch t.

        Whatever the strategy, an empty source gets no draws: before the first online transition everything,
        `pure_online` included, is drawn from the offline data; in a run from scratch everything is online.
        """
        config, now = self._configs[run].sampling, self._moment(run, t)
        if now.n_on == 0 or now.n_off == 0:
            return Mixture(0.0 if now.n_on == 0 else 1.0)
        name = getattr(config, consumer)
        if name == DENSITY_RATIO:
            assert self.density_ratio is not None
            return self.density_ratio.mixture(run)
        strategy = find_strategy(name, f"sampling.{consumer}")
        if not is_by_row(strategy):
            return strategy(config, now)
        found = self.row_weights.mixture(run, name, now)
        if name != SELF_TUNED:
            return found
        floor = float(prioritized(config, now).online_share)  # the paper's curve goes on between two retrainings
        return found._replace(online_share=max(self.self_tuned.share[run], floor))

    def _moment(self, run: int, t: int) -> Moment:
        online = self._shared.online
        return Moment(t, self._buffer.offline_size[run], self._buffer.online_size, online.epochs, online.epoch_steps)
