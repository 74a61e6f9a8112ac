"""Draws from D_off ∪ D_on: the shares, the distribution, and which rows train the ensemble."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from moore.replay import RealBuffer, unpack
from moore.rng import Streams
from moore.sampling import STRATEGIES, Mixture, SamplingConfig, Split, draw, mixture


def filled(n_off: list[int | None], n_on: int) -> RealBuffer:
    """A buffer whose rows are numbered, with one dataset per run that has one."""
    sizes = [n for n in n_off if n is not None]
    names = iter(range(len(sizes)))
    buffer = RealBuffer(
        [torch.zeros(n, 5) for n in sizes], [None if n is None else next(names) for n in n_off], 1, 1, n_on
    )
    for _ in range(n_on):
        buffer.append(unpack(torch.zeros(len(n_off), 5), 1))
    return buffer


def uniforms(runs: int, count: int, seed: int = 0) -> Tensor:
    return Streams([seed + run for run in range(runs)], "draw").uniform(2, count).transpose(0, 1)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("t", [1, 7, 20])
def test_prioritized_share_in_closed_form(alpha: float, t: int) -> None:
    """Breaks if the priority is not 1 / (alpha t), is given to the wrong source or t is off by one."""
    s, n = 250, 10_000
    share = mixture(SamplingConfig(decay_rate=alpha), "model_batches", t, n, s * t).online_share
    assert share == pytest.approx(alpha * s * t**2 / (alpha * s * t**2 + n))


def test_alpha_one_starts_uniform() -> None:
    """Breaks if t starts at 0 or the exponent does not act on the priority."""
    for config in (SamplingConfig(), SamplingConfig(decay_rate=10, priority_exponent=0)):
        t = 1 if config.priority_exponent else 9
        assert mixture(config, "start_states", t, 900, 100).online_share == pytest.approx(0.1)


def test_strategies_and_consumers() -> None:
    """Breaks if a strategy's share changes or a consumer reads another one's setting."""
    shares = {
        name: mixture(SamplingConfig(model_batches=name), "model_batches", 5, 300, 100).online_share
        for name in STRATEGIES
    }
    assert shares == {"prioritized": 5 / 8, "uniform": 0.25, "half_half": 0.5, "pure_online": 1.0}
    config = SamplingConfig("uniform", "half_half", "pure_online")
    got = [
        mixture(config, name, 5, 300, 100).online_share for name in ("model_batches", "start_states", "real_batches")
    ]
    assert got == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_an_empty_source_gets_no_draws(strategy: str) -> None:
    """Breaks if pure_online draws from an empty D_on, or a run from scratch from an empty D_off."""
    config = SamplingConfig(strategy, strategy, strategy)
    for n_off, n_on in (([6], 0), ([None], 6)):
        buffer = filled([*n_off], n_on)
        mix = mixture(config, "start_states", 1, n_off[0] or 0, n_on)
        index, share = draw(buffer, [mix], uniforms(1, 200))
        assert mix.online_share == (n_on > 0)
        assert set(index.flatten().tolist()) == set(range(6))
        assert share.item() == (n_on > 0)


@pytest.mark.parametrize(("exponent", "seed"), [(1.0, 0), (0.6, 1)])
def test_two_buckets_are_the_explicit_distribution(exponent: float, seed: int) -> None:
    """Breaks if P(i) is not p_i^e / sum p^e. Chi-square at level 1e-4 on a fixed seed: it passes always or never."""
    n_off, n_on, t, count = [40, 25], 30, 3, 40_000
    config = SamplingConfig(decay_rate=2.0, priority_exponent=exponent)
    buffer = filled([*n_off], n_on)
    mixes = [mixture(config, "model_batches", t, n, n_on) for n in n_off]
    index, share = draw(buffer, mixes, uniforms(2, count, seed))
    for run, n in enumerate(n_off):
        priority = np.concatenate([np.full(n, 1 / (2.0 * t)), np.ones(n_on)]) ** exponent
        rows = torch.cat([buffer.offline_start[run] + torch.arange(n), buffer.online_start[run] + torch.arange(n_on)])
        counts = np.bincount(index[run].numpy(), minlength=len(buffer.rows))
        assert counts.sum() == counts[rows.numpy()].sum()  # nothing of the other run
        assert chisquare(counts[rows.numpy()], count * priority / priority.sum()).pvalue > 1e-4
        assert share[run] == pytest.approx(counts[rows.numpy()][n:].sum() / count)


def test_weights_inside_a_source() -> None:
    """Breaks if weights are not inverted exactly; a grid of uniforms gives exact counts."""
    buffer = filled([3], 2)
    grid = (torch.arange(80, dtype=torch.float64) + 0.5) / 80
    for share, weights, expected in (
        (0.0, {"offline_weights": torch.tensor([1.0, 0.0, 3.0])}, [20, 0, 60, 0, 0]),
        (1.0, {"online_weights": torch.tensor([5.0, 3.0])}, [0, 0, 0, 50, 30]),
    ):
        index, _ = draw(buffer, [Mixture(share, **weights)], torch.stack([grid, grid])[:, None])
        assert torch.bincount(index[0], minlength=5).tolist() == expected


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.01, 0.5), st.integers(1, 30))
def test_split_is_a_partition(n_off: int, n_on: int, ratio: float, limit: int) -> None:
    """Breaks if a row is in both parts or in none, or a part is longer than it says."""
    parts = [Split(part, ratio, limit) for part in ("train", "holdout")]
    offline: list[int] = []
    online: list[int] = []
    for split in parts:
        first, size = split.offline(n_off)
        offline += range(first, first + size)
        online += split.online_row(torch.arange(split.online_size(n_on))).tolist()
    assert sorted(offline) == list(range(n_off))
    assert sorted(online) == list(range(n_on))
    assert parts[1].offline(n_off)[1] <= limit
    assert parts[1].online_size(n_on) <= limit


@given(st.integers(5, 60), st.integers(0, 60), st.integers(1, 8))
def test_held_out_rows_stay_held_out(n_off: int, n_on: int, more: int) -> None:
    """Breaks if a growing D_on moves a row from the holdout into the training data."""

    def rows(part: str, n: int) -> set[int]:
        split = Split(part, 0.2, 5)
        return set(split.online_row(torch.arange(split.online_size(n))).tolist())

    assert rows("holdout", n_on) <= rows("holdout", n_on + more)
    assert rows("train", n_on) <= rows("train", n_on + more)


@pytest.mark.parametrize("part", ["train", "holdout"])
def test_draws_stay_in_their_part(part: str) -> None:
    """Breaks if a draw for training takes held-out rows or the reverse, or leaves rows of its part out."""
    buffer = filled([40, 20], 15)
    split = Split(part, 0.25, 6)
    index, _ = draw(buffer, [Mixture(0.5), Mixture(0.5)], uniforms(2, 3000), split)
    for run, n in enumerate((40, 20)):
        first, size = split.offline(n)
        expected = {int(buffer.offline_start[run]) + first + i for i in range(size)}
        online = split.online_row(torch.arange(split.online_size(15)))
        expected |= {int(buffer.online_start[run]) + i for i in online.tolist()}
        assert set(index[run].tolist()) == expected
