"""Balanced Replay's priorities: the ratio network's loss, what becomes of the priorities, and who is drawn."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import moore.algorithm.density_ratio
from moore.algorithm.density_ratio import DensityRatio, DensityRatioConfig, priority, ratio_loss
from moore.algorithm.replay import RealBuffer
from moore.networks.batch import Batch, pack, unpack
from moore.networks.random import Streams
from tests.support.agents import flat, linear_stack
from tests.support.draws import draw
from tests.support.state import tensors

OBS, ACT, WIDTH = 2, 1, 7
OFFLINE, CAPACITY, STEPS = [60, 100], 40, 20  # rows of the two datasets, online budget, steps of an epoch
many = settings(max_examples=30, deadline=None)
pytestmark = pytest.mark.usefixtures("double_precision")


def rows(seed: int, count: int, mean: float = 0.0) -> Tensor:
    """Packed transitions [count, WIDTH] whose observations and actions lie around `mean`."""
    g = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, count, OBS, generator=g) + mean
    return pack(
        Batch(obs, torch.randn(count, ACT, generator=g) + mean, torch.zeros(count), next_obs, torch.zeros(count))
    )


def make(config: DensityRatioConfig, dataset_of: list[int], mean: float = 0.0) -> DensityRatio:
    """Runs on either of two datasets around -mean; nothing online yet."""
    offline = [rows(k, size, -mean) for k, size in enumerate(OFFLINE)]
    buffer = RealBuffer(offline, list(dataset_of), OBS, ACT, CAPACITY)
    return DensityRatio(config, buffer, ACT, STEPS, list(range(len(dataset_of))))


def step_online(ratio: DensityRatio, count: int, mean: float = 0.0, first_run: int = 0) -> None:
    """`count` more online transitions of every run around `mean`."""
    for _ in range(count):
        runs = range(first_run, first_run + len(ratio.params))
        new = torch.cat([rows(1000 * (run + 1) + ratio._buffer.online_size, 1, mean) for run in runs])
        ratio._buffer.append(unpack(new, OBS))


def drawn(ratio: DensityRatio, seed: int, count: int, first_run: int = 0) -> Tensor:
    """Rows [R, count] drawn by the priorities."""
    seeds = [100 * seed + first_run + run for run in range(len(ratio.params))]
    uniforms = Streams(seeds, "draw").uniform(2, count).transpose(0, 1)
    return draw(ratio._buffer, [ratio.mixture(run) for run in range(len(seeds))], uniforms)[0]


@many
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 50)), min_size=1, max_size=20))
def test_ratio_loss(pairs: list[tuple[float, float]]) -> None:
    """Breaks if the loss is not E_off[-log 2/(w+1)] - E_on[log 2w/(w+1)]."""
    off, on = np.array(pairs).T
    expected = np.mean(-np.log(2 / (off + 1))) - np.mean(np.log(2 * on / (on + 1)))
    assert ratio_loss(torch.tensor(off)[None], torch.tensor(on)[None]).item() == pytest.approx(expected, abs=1e-6)


@many
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=6), st.integers(0, 99))
def test_best_ratio_is_the_density_ratio(counts: list[tuple[int, int]], seed: int) -> None:
    """Breaks if the minimiser is not online over offline density, or its loss not -2 JS: a sign, or the two swapped."""
    on, off = np.array(counts).T
    p, q = on / on.sum(), off / off.sum()
    js = (p * np.log(2 * p / (p + q))).sum() / 2 + (q * np.log(2 * q / (p + q))).sum() / 2

    def loss(w: np.ndarray) -> float:
        return ratio_loss(torch.tensor(np.repeat(w, off))[None], torch.tensor(np.repeat(w, on))[None]).item()

    assert loss(p / q) == pytest.approx(-2 * js, abs=1e-6)
    other = p / q * np.exp(np.random.default_rng(seed).normal(size=len(p)))
    assert loss(other) > loss(p / q)


@many
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 10.0))
def test_priority(seed: int, temperature: float) -> None:
    """Breaks if the priority is not w^(1/T) over the offline mean of the same, clipped to [1e-3, 1e3]."""
    rng = np.random.default_rng(seed)
    w = np.append(np.exp(rng.normal(size=(2, 6)) * 4), [[0.0], [1e30]], 1)
    mean = np.exp(rng.normal(size=2))
    expected = np.clip(w ** (1 / temperature) / mean[:, None], 1e-3, 1e3)
    np.testing.assert_allclose(priority(torch.tensor(w), torch.tensor(mean), temperature), expected)


def test_priority_where_no_offline_ratio_is_left() -> None:
    """Breaks if a network that tells the sources apart for certain, w = 0 on all offline data, makes priorities NaN."""
    got = priority(torch.tensor([[0.0, 1e-20, 1.0]]), torch.zeros(1), 5.0)
    assert got.tolist() == [[1e-3, 1e3, 1e3]]


def test_defaults_are_the_authors() -> None:
    """Breaks if temperature, first share, batches or the clipping change unnoticed."""
    config = DensityRatioConfig()
    assert (config.temperature, config.first_share, config.batch_size, config.lr) == (5.0, 0.5, 256, 3e-4)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_share_of_the_first_epoch(share: float) -> None:
    """Breaks if the first epoch's transitions together do not get share f, or a source is drawn from unevenly."""
    ratio = make(DensityRatioConfig(hidden=(8,), first_share=share), [0, 1])
    step_online(ratio, STEPS)
    ratio.add_online()
    for run in range(2):
        mix = ratio.mixture(run)
        assert float(mix.online_share) == pytest.approx(share)
        assert mix.offline_weights is not None
        assert mix.online_weights is not None
        assert len(set(mix.offline_weights.tolist())) == len(set(mix.online_weights.tolist())) == 1


def test_mixture_is_the_priorities() -> None:
    """Breaks if a run is drawn by another run's or source's priorities, or by those of rows that it does not have."""
    ratio = make(DensityRatioConfig(hidden=(8,)), [1, 0])
    step_online(ratio, 15)
    ratio.add_online()
    ratio.priorities[:] = 10 ** Streams([5, 6], "priorities").normal(ratio.priorities.shape[1])
    for run, size in enumerate([OFFLINE[1], OFFLINE[0]]):
        mix, table = ratio.mixture(run), ratio.priorities[run]
        offline, online = table[:size], table[max(OFFLINE) : max(OFFLINE) + 15]
        assert mix.offline_weights is not None
        assert mix.online_weights is not None
        assert torch.equal(mix.offline_weights, offline)
        assert torch.equal(mix.online_weights, online)
        assert float(mix.online_share) == pytest.approx(float(online.sum() / (online.sum() + offline.sum())))


def test_update_is_one_adam_step_on_uniform_batches() -> None:
    """Breaks if w is not relu(net), offline and online batches are swapped or not uniform, or runs mix."""
    config = DensityRatioConfig(hidden=(16,), lr=1e-2, batch_size=32)
    ratio, streams, again = make(config, [0, 1, 1]), *(Streams([0, 1, 2], "ratio") for _ in range(2))
    assert (ratio.params.detach()[:, -1] == 1).all()  # the last bias
    plain = [linear_stack(ratio.net, ratio.params[run]) for run in range(3)]
    optimizers = [torch.optim.Adam(net.parameters(), config.lr) for net in plain]
    for _ in range(4):
        step_online(ratio, 5)
        ratio.add_online()
        metrics = ratio.update(drawn(ratio, 0, 8), streams)
        uniforms = again.uniform(2, config.batch_size)
        for run, (net, optimizer) in enumerate(zip(plain, optimizers, strict=True)):
            everything, size = ratio._buffer.all_of(run), ratio._buffer.offline_size[run]
            rank = [(uniforms[run, 0] * size).long(), size + (uniforms[run, 1] * ratio._buffer.online_size).long()]
            inputs = torch.cat([everything.obs, everything.action], -1)
            off, on = (net(inputs[rows])[:, 0].relu() for rows in rank)
            loss = -(2 / (off + 1)).log().mean() - (2 * on / (on + 1)).log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert metrics["train/ratio_loss"][run].item() == pytest.approx(loss.item(), abs=1e-6)
    for run, net in enumerate(plain):
        torch.testing.assert_close(ratio.params[run].detach(), flat(net), rtol=1e-4, atol=1e-6)


def test_priorities_of_the_drawn_rows() -> None:
    """Breaks if another row's priority changes, the wrong one is written, or the largest so far is forgotten."""
    config = DensityRatioConfig(hidden=(16,), lr=1e-12, batch_size=32, first_share=0.01)  # w stays
    ratio, streams, again = make(config, [1, 0]), *(Streams([0, 1], "ratio") for _ in range(2))
    with torch.no_grad():
        ratio.params.mul_(3.0)  # ratios that differ
    expected = [{} for _ in range(2)]  # type: list[dict[int, float]]
    largest = [OFFLINE[1] / (99 * STEPS), OFFLINE[0] / (99 * STEPS)]
    for seed in range(3):
        for run in range(2):
            for new in range(ratio._buffer.online_size, ratio._buffer.online_size + 4):
                expected[run][ratio._buffer.offline_size[run] + new] = largest[run]
        step_online(ratio, 4)
        ratio.add_online()
        index, uniforms = drawn(ratio, seed, 12), again.uniform(2, config.batch_size)
        ratio.update(index, streams)
        for run, size in enumerate(ratio._buffer.offline_size):
            everything = ratio._buffer.all_of(run)
            net = linear_stack(ratio.net, ratio.params[run])
            w = net(torch.cat([everything.obs, everything.action], -1))[:, 0].relu().detach().numpy()
            mean = np.mean(w[(uniforms[run, 0] * size).long().numpy()] ** (1 / 5))
            for row in index[run].tolist():
                online = row >= ratio._buffer.online_start[run]
                number = (
                    row - int(ratio._buffer.online_start[run]) + size
                    if online
                    else row - int(ratio._buffer.offline_start[run])
                )
                expected[run][number] = float(np.clip(w[number] ** (1 / 5) / mean, 1e-3, 1e3))
                largest[run] = max(largest[run], expected[run][number])
    for run, size in enumerate(ratio._buffer.offline_size):
        got = torch.cat(
            [ratio.priorities[run, :size], ratio.priorities[run, ratio.width :][: ratio._buffer.online_size]]
        )
        want = [expected[run].get(number, 1.0) for number in range(len(got))]
        np.testing.assert_allclose(got, want, rtol=1e-6)
        assert ratio.max_priority[run].item() == pytest.approx(largest[run])
    assert any(size < max(OFFLINE) for size in ratio._buffer.offline_size)  # rows beyond a smaller dataset stay out


def test_training_for_model_data_weighs_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a row keeps an old priority, gets another's, or one is written where a run has no row.

    Literally: as many Adam steps, then every row's tempered w by the new networks over the mean of the offline ones.
    """
    monkeypatch.setattr(moore.algorithm.density_ratio, "CHUNK", 16)  # neither dataset is a multiple of it
    config = DensityRatioConfig(hidden=(16,), lr=1e-2, batch_size=32, model_updates=3, first_share=0.01)
    ratio, streams, again = make(config, [0, 1, 0]), *(Streams([0, 1, 2], "ratio") for _ in range(2))
    with torch.no_grad():
        ratio.params.mul_(3.0)  # ratios that differ
    plain = [linear_stack(ratio.net, ratio.params[run]) for run in range(3)]
    optimizers = [torch.optim.Adam(net.parameters(), config.lr) for net in plain]
    largest = ratio.max_priority.tolist()
    for _ in range(2):
        step_online(ratio, 9)
        ratio.add_online()
        metrics = ratio.train(streams)
        for _ in range(config.model_updates):
            uniforms = again.uniform(2, config.batch_size)
            for run, (net, optimizer) in enumerate(zip(plain, optimizers, strict=True)):
                everything, size = ratio._buffer.all_of(run), ratio._buffer.offline_size[run]
                inputs = torch.cat([everything.obs, everything.action], -1)
                off = net(inputs[(uniforms[run, 0] * size).long()])[:, 0].relu()
                on = net(inputs[size + (uniforms[run, 1] * ratio._buffer.online_size).long()])[:, 0].relu()
                loss = -(2 / (off + 1)).log().mean() - (2 * on / (on + 1) + 1e-10).log().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        for run, net in enumerate(plain):
            everything, size = ratio._buffer.all_of(run), ratio._buffer.offline_size[run]
            w = net(torch.cat([everything.obs, everything.action], -1))[:, 0].relu().detach().numpy()
            expected = np.clip(w ** (1 / 5) / (w[:size] ** (1 / 5)).mean(), 1e-3, 1e3)
            known, unused = ratio.width + ratio._buffer.online_size, ratio.priorities[run, size : ratio.width]
            got = torch.cat([ratio.priorities[run, :size], ratio.priorities[run, ratio.width : known]])
            np.testing.assert_allclose(got, expected, rtol=1e-4)
            assert (unused == 1).all()
            assert (ratio.priorities[run, known:] == 1).all()
            largest[run] = max(largest[run], expected.max())
            assert ratio.max_priority[run].item() == pytest.approx(largest[run], rel=1e-4)
            assert len(set(expected.tolist())) > 20
        assert metrics["train/ratio_loss"][2].item() == pytest.approx(loss.item(), abs=1e-6)  # of the last step


@pytest.mark.parametrize("for_model", [False, True])
def test_online_looking_transitions_are_preferred(for_model: bool) -> None:
    """Breaks if w is larger offline, or priorities do not follow it: a sign in the loss or in the exponent."""
    ratio = make(DensityRatioConfig(hidden=(16,), lr=1e-2, batch_size=64, model_updates=150), [0, 1], mean=0.5)
    streams = Streams([0, 1], "ratio")
    step_online(ratio, CAPACITY, mean=0.5)
    ratio.add_online()
    if for_model:
        ratio.train(streams)
    else:
        for step in range(150):
            ratio.update(drawn(ratio, step, 32), streams)
    for run, size in enumerate(OFFLINE):
        offline, everything = ratio.priorities[run, :size], ratio._buffer.all_of(run)
        w = ratio.ratio(ratio.params, Batch(*(x[None].expand(2, *x.shape) for x in everything)))[run]
        assert w[size:].mean() > 2 * w[:size].mean()
        assert ratio.priorities[run, ratio.width :].mean() > 1.5 * offline.mean()
        alike = everything.obs[:size].mean(-1) + everything.action[:size, 0]
        far, near = alike < alike.quantile(0.3), alike > alike.quantile(0.7)
        assert offline[near].mean() > 1.3 * offline[far].mean()
        share = ratio.mixture(run).online_share
        assert share > 1.5 * CAPACITY / (CAPACITY + size)  # of the draws, beyond uniform's


@pytest.mark.parametrize("for_model", [False, True])
def test_cohort_is_single_runs_and_load_continues(for_model: bool) -> None:
    """Breaks if runs with datasets of different sizes disturb each other, or the state misses something."""
    # a first share so small that later priorities are larger than the first ones
    config = DensityRatioConfig(hidden=(8,), lr=1e-2, batch_size=16, first_share=0.01, model_updates=2)

    def train(ratio: DensityRatio, streams: Streams, first_run: int, steps: range) -> dict[str, Any]:
        for step in steps:
            step_online(ratio, 3, first_run=first_run)
            ratio.add_online()
            if for_model:
                ratio.train(streams)
            else:
                ratio.update(drawn(ratio, step, 8, first_run), streams)
        return copy.deepcopy(ratio.state())

    dataset_of = [1, 0, 1]
    together, streams = make(config, dataset_of), Streams([0, 1, 2], "ratio")
    half = train(together, streams, 0, range(5))
    online, generators = copy.deepcopy((together._buffer.state(), streams.state()))
    whole = train(together, streams, 0, range(5, 10))

    restored, streams = make(config, dataset_of), Streams([7, 8, 9], "ratio")
    restored._buffer.load(online)
    restored.load(half)
    streams.load(generators)
    known = tensors(whole)
    for key, value in tensors(train(restored, streams, 0, range(5, 10))).items():
        assert torch.equal(value, known[key]), key
    assert whole["known_online"] == 30

    for run, dataset in enumerate(dataset_of):
        buffer = RealBuffer([rows(dataset, OFFLINE[dataset])], [0], OBS, ACT, CAPACITY)
        alone = tensors(train(DensityRatio(config, buffer, ACT, STEPS, [run]), Streams([run], "ratio"), run, range(10)))
        n = OFFLINE[dataset]
        for key, value in known.items():
            cut = torch.cat([value[run, :n], value[run, max(OFFLINE) :]]) if key == "priorities" else value[run]
            torch.testing.assert_close(cut, alone[key][0], rtol=1e-7, atol=1e-9)


def test_load_knows_which_transitions_have_priorities() -> None:
    """Breaks if a resumed run forgets which online transitions are still to enter with the largest priority so far."""
    saved, restored = (make(DensityRatioConfig(hidden=(8,)), [0, 1]) for _ in range(2))
    step_online(saved, 4)
    saved.add_online()
    step_online(saved, 3)  # a checkpoint between two rounds of updates
    restored._buffer.load(saved._buffer.state())
    restored.load(saved.state())
    for ratio in (saved, restored):
        ratio.add_online()
    assert torch.equal(saved.priorities, restored.priorities)
