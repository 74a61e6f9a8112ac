"""Balanced Replay's priorities: the ratio network's loss, what becomes of the priorities, and who is drawn."""

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
    return DensityRatio(config, buffer, STEPS, list(range(len(dataset_of))), "float32")


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


def test_bounds_of_a_priority() -> None:
    """Breaks if a bound moves, or a network that is certain, w = 0 on all offline data, makes priorities NaN."""
    w = torch.tensor([[0.0, 1e-20, 1e30]]).expand(2, -1)
    assert priority(w, torch.tensor([0.0, 10.0]), 5.0).tolist() == [[1e-3, 1e3, 1e3], [1e-3, 1e-3, 1e3]]


def test_mixture_is_the_priorities() -> None:
    """Breaks if a run is drawn by another run's or source's priorities, or by those of rows that it does not have."""
    ratio = make(DensityRatioConfig(hidden=(8,)), [1, 0])
    step_online(ratio, 15)
    ratio.add_online()
    ratio.priorities[:] = 10 ** Streams([5, 6], "priorities").normal(ratio.priorities.shape[1])
    for run, size in enumerate([OFFLINE[1], OFFLINE[0]]):
        mix, table = ratio.mixture(run), ratio.priorities[run]
        offline, online = table[:size], table[max(OFFLINE) : max(OFFLINE) + 15]
        assert torch.equal(mix.offline_weights, offline)
        assert torch.equal(mix.online_weights, online)
        assert float(mix.online_share) == pytest.approx(float(online.sum() / (online.sum() + offline.sum())))


class Plain:
    """One run's ratio network, slow and plain."""

    def __init__(self, ratio: DensityRatio, run: int) -> None:
        self.config, self.buffer, self.run = ratio.config, ratio._buffer, run
        self.size = self.buffer.offline_size[run]
        self.net = linear_stack(ratio.net, ratio.params[run])
        self.optimizer = torch.optim.Adam(self.net.parameters(), self.config.lr)

    def ratios(self) -> Tensor:
        """w of all rows, offline ones first."""
        everything = self.buffer.all_of(self.run)
        return self.net(torch.cat([everything.obs, everything.action], -1))[:, 0].relu()

    def step(self, uniforms: Tensor) -> tuple[float, np.ndarray]:
        """One Adam step on rows drawn by uniforms [2, B]; the loss, and w of the offline rows before it."""
        w = self.ratios()
        off, on = (uniforms[0] * self.size).long(), (uniforms[1] * self.buffer.online_size).long()
        w_off, w_on = w[off], w[self.size + on]
        loss = -(2 / (w_off + 1)).log().mean() - (2 * w_on / (w_on + 1) + 1e-10).log().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item(), w_off.detach().numpy()


@pytest.mark.parametrize("for_model", [False, True])
def test_priorities_are_the_loop(for_model: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the loss, its batches or a step is wrong, runs mix, a priority is another row's, old, not w^(1/T) over
    the offline mean of the same, or given to a row that a run does not have, or the largest so far is forgotten.

    For minibatches: the drawn rows, by the networks before their step. For model data: every row, by the new networks.
    """
    monkeypatch.setattr(moore.algorithm.density_ratio, "CHUNK", 16)  # neither dataset is a multiple of it
    config = DensityRatioConfig(hidden=(16,), lr=1e-2, batch_size=32, model_updates=3, first_share=0.01)
    ratio, streams, again = make(config, [0, 1, 0]), *(Streams([0, 1, 2], "ratio") for _ in range(2))
    assert (ratio.params.detach()[:, -1] == 1).all()  # the last bias
    with torch.no_grad():
        ratio.params.mul_(3.0)  # ratios that differ
    plain = [Plain(ratio, run) for run in range(3)]
    expected, largest = [np.ones(one.size) for one in plain], [one.size / (99 * STEPS) for one in plain]
    for seed in range(3):
        step_online(ratio, 4)
        ratio.add_online()
        before = [one.ratios().detach().numpy() for one in plain]
        index = drawn(ratio, seed, 12)
        metrics = ratio.train(streams) if for_model else ratio.update(index, streams)
        for _ in range(config.model_updates if for_model else 1):
            uniforms = again.uniform(2, config.batch_size)
            steps = [one.step(uniforms[run]) for run, one in enumerate(plain)]
        for run, one in enumerate(plain):
            w, rows = before[run], index[run] - ratio._buffer.offline_start[run]
            of_mean = steps[run][1]
            online = index[run] >= ratio._buffer.online_start[run]
            rows[online] = index[run][online] - ratio._buffer.online_start[run] + one.size
            if for_model:
                w, rows = one.ratios().detach().numpy(), torch.arange(one.size + ratio._buffer.online_size)
                of_mean = w[: one.size]
            new = np.clip(w ** (1 / 5) / (of_mean ** (1 / 5)).mean(), 1e-3, 1e3)[rows]
            expected[run] = np.append(expected[run], [largest[run]] * 4)
            expected[run][rows] = new
            largest[run] = max(largest[run], new.max())
            known, width = ratio.width + ratio._buffer.online_size, ratio.width
            got = torch.cat([ratio.priorities[run, : one.size], ratio.priorities[run, width:known]])
            np.testing.assert_allclose(got, expected[run], rtol=1e-4)
            assert (ratio.priorities[run, one.size : width] == 1).all()
            assert (ratio.priorities[run, known:] == 1).all()
            assert ratio.max_priority[run].item() == pytest.approx(largest[run], rel=1e-4)
            assert metrics["train/ratio_loss"][run].item() == pytest.approx(steps[run][0], abs=1e-6)
    for run, one in enumerate(plain):
        torch.testing.assert_close(ratio.params[run].detach(), flat(one.net), rtol=1e-4, atol=1e-6)
