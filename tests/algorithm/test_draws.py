"""Draws by kept plans take the rows, bit for bit, that working everything out for every draw takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import moore.algorithm.draws
from moore.algorithm.config import RunConfig
from moore.algorithm.density_ratio import DensityRatio
from moore.algorithm.draws import Sampler
from moore.algorithm.replay import RealBuffer
from moore.algorithm.sampling import (
    ALL,
    CONSUMERS,
    DENSITY_RATIO,
    ROW_STRATEGIES,
    STRATEGIES,
    Mixture,
    Moment,
    Split,
    mixture,
    running_sum,
)
from moore.networks.batch import unpack
from moore.networks.random import Streams
from tests.support.core import tiny
from tests.support.draws import draw

CAPACITY = 60  # online transitions of `tiny`
COUNT = 40  # rows of a draw
EVERY_STRATEGY = (*STRATEGIES, *ROW_STRATEGIES, DENSITY_RATIO)


def literal_rows(sampler: Sampler, consumer: str, t: int, uniforms: Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """As the draws were before anything was kept: lists of numbers and running sums, made anew for each."""
    buffer, mixtures = sampler.buffer, []
    for run, config in enumerate(sampler.configs):
        strategy, n_on, n_off = getattr(config.sampling, consumer), buffer.online_size, buffer.offline_size[run]
        online = sampler.shared.online
        now = Moment(t, n_off, n_on, online.epochs, online.epoch_steps)
        if n_on and n_off and strategy == DENSITY_RATIO:
            mixtures.append(literal_density_ratio(sampler.density_ratio, run))
        elif n_on and n_off and strategy in ROW_STRATEGIES:
            mixtures.append(literal_priorities(sampler, run, strategy, now))
        else:
            mixtures.append(mixture(config.sampling, consumer, now))
    return literal_draw(buffer, mixtures, uniforms, split)


def literal_density_ratio(ratio: DensityRatio | None, run: int) -> Mixture:
    assert ratio is not None
    offline = ratio.priorities[run, : ratio.buffer.offline_size[run]]
    online = ratio.priorities[run, ratio.width : ratio.width + ratio.known_online]
    on, off = float(online.sum()), float(offline.sum())
    return Mixture(on / (on + off), offline, online)


def literal_priorities(sampler: Sampler, run: int, name: str, now: Moment) -> Mixture:
    priorities, config = sampler.priorities, sampler.configs[run].sampling
    offline = priorities.offline[f"{run}/{name}"]
    if name == "return_prioritized":
        priority = (1.0 / (config.decay_rate * now.t)) ** config.priority_exponent
        return Mixture(now.n_on / (now.n_on + now.n_off * priority), offline)
    online = priorities.online[f"{run}/{name}"]
    fresh = 1.0 if name == "on_policy" else float(torch.cat([offline, online]).amax())
    online = torch.cat([online, online.new_full((now.n_on - len(online),), fresh)])
    total = float(online.sum())
    return Mixture(total / (total + float(offline.sum())), offline, online)


def literal_draw(
    buffer: RealBuffer, mixtures: Sequence[Mixture], uniforms: Tensor, split: Split
) -> tuple[Tensor, Tensor]:
    offline = [split.offline(size) for size in buffer.offline_size]
    online_size = split.online_size(buffer.online_size)
    shares = []
    for (_, n_off), mix in zip(offline, mixtures, strict=True):
        shares.append(0.0 if online_size == 0 else 1.0 if n_off == 0 else float(mix.online_share))
    column = lambda values, dtype: torch.tensor(values, dtype=dtype)[:, None]  # noqa: E731
    from_online = uniforms[0] < column(shares, torch.float64)
    sizes = column([max(1, n) for _, n in offline], torch.long)
    inside_off = torch.minimum((uniforms[1] * sizes).long(), sizes - 1)
    inside_on = (uniforms[1] * max(1, online_size)).long().clamp(max=max(1, online_size) - 1)
    for run, mix in enumerate(mixtures):
        first, n_off = offline[run]
        if split.part == "holdout":
            break
        if mix.offline_weights is not None and n_off:
            inside_off[run] = literal_weighted(mix.offline_weights[first : first + n_off], uniforms[1, run])
        if mix.online_weights is not None and online_size:
            weights = mix.online_weights
            if split.part == "train":
                weights = weights[split.online_row(torch.arange(online_size))]
            inside_on[run] = literal_weighted(weights, uniforms[1, run])
    offline_row = buffer.offline_start[:, None] + column([first for first, _ in offline], torch.long) + inside_off
    online_row = buffer.online_start[:, None] + split.online_row(inside_on)
    return torch.where(from_online, online_row, offline_row), from_online.float().mean(1)


def literal_weighted(weights: Tensor, uniforms: Tensor) -> Tensor:
    cumulative = weights.double().cumsum(0)
    return torch.searchsorted(cumulative, uniforms * cumulative[-1], right=True).clamp(max=len(weights) - 1)


class World:
    """A sampler and what happens to it, with random weights in place of learned ones."""

    def __init__(self, configs: list[RunConfig], n_off: list[int], seed: int) -> None:
        self.configs, self.t, self.random = configs, 1, torch.Generator().manual_seed(seed)
        datasets = [torch.zeros(n, 5) for n in n_off if n]
        names = iter(range(len(datasets)))
        which = [next(names) if n else None for n in n_off]
        self.buffer = RealBuffer(datasets, which, 1, 1, CAPACITY)
        self.returns = [torch.rand(n, generator=self.random) if n else None for n in n_off]
        self.streams = Streams([config.seed for config in configs], "draw")
        self.sampler = self.new_sampler()

    def new_sampler(self) -> Sampler:
        return Sampler(self.configs, self.buffer, self.returns, 1, "online", torch.device("cpu"))

    def step(self, count: int = 1) -> None:
        for _ in range(min(count, CAPACITY - self.buffer.online_size)):
            self.buffer.append(unpack(torch.zeros(len(self.configs), 5), 1))

    def refresh(self) -> None:
        weigh = lambda _, run, rows, __: torch.rand(  # noqa: E731
            len(rows.reward), generator=self.random, dtype=torch.float64
        )
        learned = [patch(f"moore.algorithm.row_weights.{name}_weights", weigh) for name in ("on_policy", "model_error")]
        train = patch.object(DensityRatio, "train", lambda ratio, _: self.learn(ratio))
        unused: Any = None
        with learned[0], learned[1], train:
            self.draws.refresh(unused, unused, unused)

    def learn(self, ratio: DensityRatio) -> dict[str, Tensor]:
        ratio.priorities.uniform_(1e-3, 10.0, generator=self.random)
        return {}

    def load(self) -> None:
        """The sampler of another process that continues."""
        state = self.draws.state()
        self.refresh()  # what is loaded is not what is there and was drawn by
        for consumer in CONSUMERS:
            self.check(consumer, SPLITS[consumer][0])
        self.draws.load({key: {k: v.clone() for k, v in part.items()} for key, part in state.items()})

    def happen(self, event: str) -> None:
        if event == "step":
            self.step()
        elif event == "steps":
            self.step(7)
        elif event == "epoch":
            self.t += 1
        elif event == "refresh":
            self.refresh()
        else:
            self.load()

    def check(self, consumer: str, split: Split, sampler: Sampler | None = None) -> None:
        uniforms = self.streams.uniform(2, COUNT).transpose(0, 1)
        sampler = sampler or self.sampler
        index, share = sampler.rows(consumer, self.t, uniforms, split)
        expected, expected_share = literal_rows(sampler, consumer, self.t, uniforms, split)
        assert torch.equal(index, expected)
        assert torch.equal(share, expected_share)


def config_of(seed: int, strategies: Sequence[str], **changes: Any) -> RunConfig:
    sampling = dict(zip(CONSUMERS, strategies, strict=True)) | {"fresh_window": 0.1}
    return tiny(seed=seed, sampling=sampling, density_ratio={"hidden": [4]}, **changes)


EVENTS = st.lists(st.sampled_from(["step", "steps", "epoch", "refresh", "load"]), max_size=6)
SPLITS = {
    "model_batches": (Split("train", 0.2, 6), Split("holdout", 0.2, 6)),
    "start_states": (ALL,),
    "real_batches": (ALL,),
}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(*[st.sampled_from(EVERY_STRATEGY)] * 3), min_size=2, max_size=3),
    st.lists(st.integers(0, 50), min_size=3, max_size=3),
    EVENTS,
    st.integers(0, 2**32),
)
def test_model_based_runs(strategies: list[tuple[str, ...]], n_off: list[int], events: list[str], seed: int) -> None:
    """Breaks if a plan outlives its epoch, its online transitions or its weights, or mixes up runs, parts or sources.

    Every consumer draws twice after everything that happens; the runs from scratch have no offline rows.
    """
    if any(DENSITY_RATIO in names for names in strategies):
        strategies = [(*names[:2], DENSITY_RATIO) for names in strategies]  # all runs of a cohort learn it, or none
    configs = [config_of(run, names) for run, names in enumerate(strategies)]
    if not {name for names in strategies for name in names} <= {*STRATEGIES}:
        n_off = [n or 9 for n in n_off]  # there are weights of offline rows
    world = World(configs, [n and n + 5 for n in n_off[: len(configs)]], seed)
    if all(n_off):
        world.check("start_states", ALL)  # before the first online transition
    world.step(1 + seed % 6 if all(n_off) else 5)  # one of them at least is held out of five
    for event in ["refresh", *events]:
        world.happen(event)
        ratio = world.draws.density_ratio
        for consumer in CONSUMERS:
            if consumer == "model_batches" and ratio and ratio.known_online < world.buffer.online_size:
                continue  # the ensemble's data are drawn right after a refresh
            for split in SPLITS[consumer] * 2:
                world.check(consumer, split)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 50), min_size=2, max_size=3), EVENTS, st.integers(0, 2**32))
def test_weights_that_change_with_every_minibatch(n_off: list[int], events: list[str], seed: int) -> None:
    """Breaks if anything of Balanced Replay's draws is kept: its weights change in place, with no refresh between."""
    configs = [
        config_of(run, ["prioritized", "prioritized", DENSITY_RATIO], real_ratio=1.0) for run in range(len(n_off))
    ]
    world = World(configs, n_off, seed)
    world.step(3)
    for event in ["step", *events]:
        if event in ("step", "steps", "epoch"):
            world.happen(event)
        weights = world.draws.minibatch_weights
        assert weights is not None
        weights.add_online()
        for _ in range(3):
            world.learn(weights)
            world.check("real_batches", ALL)


def test_a_million_rows_are_summed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the offline rows are summed anew for a draw, a step or a consumer that has the same strategy."""
    world = World(
        [config_of(0, ["model_error"] * 3), config_of(1, ["on_policy", "model_error", "on_policy"])], [30, 20], 0
    )
    world.step(5)
    world.refresh()
    summed: list[tuple[int, int]] = []

    def counted(run: int, weights: Tensor) -> Tensor:
        summed.append((run, len(weights)))
        return running_sum(run, weights)

    monkeypatch.setattr(moore.algorithm.draws, "running_sum", counted)
    for _ in range(3):
        world.step()
        for consumer in CONSUMERS:
            for split in SPLITS[consumer] * 2:
                world.check(consumer, split)
    # the training part, which a draw for the model takes, and all rows, for both other consumers where they agree
    assert sorted(summed) == [(0, 24), (0, 30), (1, 16), (1, 20), (1, 20)]


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_draw_is_a_function_of_tensors(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a draw by a kept plan makes a tensor of numbers, or a number of a tensor: on a GPU each is a wait."""
    world = World([config_of(run, [strategy] * 3) for run in range(2)], [40, 20], 0)
    world.step(15)
    world.refresh()
    uniforms = world.streams.uniform(2, COUNT).transpose(0, 1)
    before = [world.draws.rows(consumer, 1, uniforms, split) for consumer in CONSUMERS for split in SPLITS[consumer]]

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the device would be waited for")

    for name in ("tensor", "as_tensor", "from_numpy", "nonzero"):
        monkeypatch.setattr(torch, name, refuse)
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__"):
        monkeypatch.setattr(Tensor, name, refuse)
    again = [world.draws.rows(consumer, 1, uniforms, split) for consumer in CONSUMERS for split in SPLITS[consumer]]
    monkeypatch.undo()
    for (index, share), (known, known_share) in zip(again, before, strict=True):
        assert torch.equal(index, known)
        assert torch.equal(share, known_share)


def test_shares_are_compared_in_double_precision() -> None:
    """Breaks if a share is rounded to float32, in which 0.1 is larger than 0.1."""
    buffer = World([config_of(0, ["uniform"] * 3)], [9], 0).buffer
    buffer.online_size = 4
    uniforms = torch.tensor([0.1 - 1e-12, 0.1, 0.1 + 1e-9], dtype=torch.float64).expand(2, 1, -1)
    index, _ = draw(buffer, [Mixture(0.1)], uniforms)
    assert index.tolist() == [[9, 0, 0]]
