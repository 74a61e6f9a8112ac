"""Which rows of D_off ∪ D_on each run's consumers take: its strategies, and the weights that some of them learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from moore.agents.sac import SAC
from moore.algorithm.config import RunConfig
from moore.algorithm.density_ratio import DensityRatio
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.replay import RealBuffer
from moore.algorithm.row_weights import Priorities
from moore.algorithm.sampling import (
    DENSITY_RATIO,
    ROW_STRATEGIES,
    Mixture,
    Moment,
    Part,
    Plan,
    Split,
    mixture,
    part_of,
    plan,
    running_sum,
)
from moore.networks.random import Streams


class Sampler:
    """The distributions of R runs over one buffer.

    The density ratio weighs every minibatch of a model-free run (Balanced Replay); in a model-based run it is trained
    before each retraining of the ensemble, like the weights of the row strategies.

    What draws depend on beside their random numbers is worked out once and kept: until the epoch or the number of
    online transitions changes, and running sums of offline weights until these do.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        buffer: RealBuffer,
        episode_returns: Sequence[Tensor | None],
        action_dim: int,
        stage: str,
        device: torch.device,
    ) -> None:
        self.configs, self.shared, self.buffer = configs, configs[0], buffer
        self.priorities = Priorities([config.sampling for config in configs], buffer, episode_returns)
        steps, seeds = self.shared.online.epoch_steps, [config.seed for config in configs]
        self.density_ratio = (
            DensityRatio(self.shared.density_ratio, buffer, action_dim, steps, seeds, device, self.shared.precision)
            if stage == "online" and self.shared.uses_density_ratio
            else None
        )
        self._parts: dict[Split, Part] = {}
        self._plans: dict[tuple[str, Split], tuple[tuple[int, int], Plan]] = {}  # with epoch and online transitions
        self._offline_sums: dict[tuple[int, str, Split], Tensor] = {}  # by run, strategy and part

    @property
    def minibatch_weights(self) -> DensityRatio | None:
        """What weighs every minibatch anew, in a model-free run that asks for it."""
        return None if self.shared.uses_model else self.density_ratio

    def rows(self, consumer: str, t: int, uniforms: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Rows [R, B] for one consumer in epoch t and their online share [R]; uniforms as in `sampling.Plan.draw`."""
        return self._plan(consumer, t, split).draw(uniforms)

    def refresh(self, agent: SAC, ensemble: Ensemble, streams: Streams) -> dict[str, Tensor]:
        """Weights for the ensemble's next training and the rollouts after it; returns metrics [R]."""
        if self.buffer.online_size == 0:
            return {}  # everything is drawn from the offline data
        self._forget()
        self.priorities.refresh(agent, ensemble)
        if self.density_ratio is None:
            return {}
        self.density_ratio.add_online()
        return self.density_ratio.train(streams)

    def state(self) -> dict[str, Any]:
        """The weights, and what learns them."""
        ratio = self.density_ratio.state() if self.density_ratio else {}
        return {"priorities": self.priorities.state(), "density_ratio": ratio}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._forget()
        self.priorities.load(state["priorities"])
        if self.density_ratio:
            self.density_ratio.load(state["density_ratio"])

    def _forget(self) -> None:
        """Weights are about to change."""
        self._plans.clear()
        self._offline_sums.clear()

    def _plan(self, consumer: str, t: int, split: Split) -> Plan:
        now = t, self.buffer.online_size
        if self.minibatch_weights is not None:
            return plan(self._part(split), self._mixtures(consumer, t))
        then, made = self._plans.get((consumer, split), (None, None))
        if made is None or then != now:
            made = plan(self._part(split), self._mixtures(consumer, t), partial(self._offline_sum, consumer, split))
            self._plans[consumer, split] = now, made
        return made

    def _offline_sum(self, consumer: str, split: Split, run: int, weights: Tensor) -> Tensor:
        """`running_sum`, but once for all consumers of one strategy and for any number of online transitions."""
        key = run, getattr(self.configs[run].sampling, consumer), split
        if key not in self._offline_sums:
            self._offline_sums[key] = running_sum(run, weights)
        return self._offline_sums[key]

    def _part(self, split: Split) -> Part:
        online_size = split.online_size(self.buffer.online_size)
        if split not in self._parts or self._parts[split].online_size != online_size:
            self._parts[split] = part_of(self.buffer, split)
        return self._parts[split]

    def _mixtures(self, consumer: str, t: int) -> list[Mixture]:
        return [self._mixture(run, consumer, t) for run in range(len(self.configs))]

    def _mixture(self, run: int, consumer: str, t: int) -> Mixture:
        config, online = self.configs[run].sampling, self.shared.online
        strategy, n_on = getattr(config, consumer), self.buffer.online_size
        now = Moment(t, self.buffer.offline_size[run], n_on, online.epochs, online.epoch_steps)
        if n_on and now.n_off:
            if strategy == DENSITY_RATIO:
                assert self.density_ratio is not None
                return self.density_ratio.mixture(run)
            if strategy in ROW_STRATEGIES:
                return self.priorities.mixture(run, strategy, now)
        return mixture(config, consumer, now)
