"""Draws from D_off ∪ D_on: the shares, the distribution, and which rows train the ensemble."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from moore.algorithm.draws import ALL, Split
from moore.algorithm.sampling import STRATEGIES, Mixture, Moment, SamplingConfig, oorb, prioritized
from tests.support.core import make_cohort, random_data, tiny
from tests.support.draws import draw, filled, uniforms

SHARES = st.floats(0.0, 1.0)


def share_of(config: SamplingConfig, strategy: str, now: Moment) -> float:
    """The online share of one strategy, asked for by its name."""
    return float(STRATEGIES[strategy](config, now).online_share)


def test_strategies() -> None:
    """Breaks if a strategy's share changes."""
    config, now = SamplingConfig(online_ratio=0.3), Moment(5, n_off=300, n_on=100, epochs=20, epoch_steps=20)
    shares = {name: share_of(config, name, now) for name in STRATEGIES}
    assert shares == pytest.approx(
        {
            "prioritized": 100 / (100 + 300 / 5),
            "uniform": 0.25,
            "half_half": 0.5,
            "pure_online": 1.0,
            "fixed_ratio": 0.3,
            "linear_anneal": 0.1 + 0.9 * 5 / 20,
            "matched_anneal": 0.5 * 5 / np.sqrt(300 / 20),
            "oorb": 0.9 + 0.1 * 100 / 400,
        }
    )


@given(SHARES, SHARES, st.none() | st.integers(1, 30), st.integers(1, 30), st.integers(1, 50), st.integers(1, 40))
def test_linear_anneal(
    start: float, end: float, anneal_epochs: int | None, epochs: int, epoch_steps: int, t: int
) -> None:
    """Breaks if it does not go in equal steps from start to end, ends early or late, or leaves the end again."""
    config = SamplingConfig(anneal_start=start, anneal_end=end, anneal_epochs=anneal_epochs)
    last = (epochs if anneal_epochs is None else anneal_epochs) * epoch_steps
    path = np.append(np.linspace(start, end, last + 1), np.full(60 * epoch_steps, end))  # by environment steps
    for n_on in {1, t * epoch_steps, last, last + 1}:
        now = Moment(t, 7, n_on, epochs, epoch_steps)
        assert share_of(config, "linear_anneal", now) == pytest.approx(path[n_on], abs=1e-12)


@given(
    st.floats(0.05, 20.0),
    st.integers(1, 100),
    st.integers(1, 1000),
    st.integers(1, 5000),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_matched_anneal_crosses_with_prioritized(
    alpha: float, crossing: int, epoch_steps: int, n_on: int, exponent: float
) -> None:
    """Breaks if it passes one half elsewhere than `prioritized` does, is not a line from 0, or exceeds 1.

    N_off is such that t*, where S t = N_off (alpha t)^-e, is a whole epoch, up to rounding.
    """
    n_off = round(epoch_steps * crossing * (alpha * crossing) ** exponent)
    if n_off == 0:
        return
    config = SamplingConfig(decay_rate=alpha, priority_exponent=exponent)
    steps = (n_off / (alpha**exponent * epoch_steps)) ** (1 / (1 + exponent)) * epoch_steps
    share = lambda name, t, n: share_of(config, name, Moment(t, n_off, n, 100, epoch_steps))  # noqa: E731
    assert share("matched_anneal", 1, n_on) == pytest.approx(min(1.0, 0.5 * n_on / steps))
    rounding = 1 / n_off
    for name in ("prioritized", "matched_anneal"):
        assert share(name, crossing, crossing * epoch_steps) == pytest.approx(0.5, rel=rounding + 1e-9)
        if crossing > 1 and n_off > 100:
            assert share(name, crossing - 1, (crossing - 1) * epoch_steps) < 0.5
            assert share(name, crossing + 1, (crossing + 1) * epoch_steps) > 0.5


@pytest.mark.parametrize("fresh_share", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(
    ("n_on", "window", "rows"), [(30, 0.2, 8), (30, 0.75, 30), (12, 1.0, 12), (12, 0.0, 1), (1, 0.01, 1), (1, 1.0, 1)]
)
def test_oorb_is_the_two_stage_draw(fresh_share: float, n_on: int, window: float, rows: int) -> None:
    """Breaks if the window is the oldest rows, no share of the 40 steps, not cut to D_on, or the union lacks a part.

    The probabilities literally: fresh_share from the latest `rows` online rows, the rest from the union; the draws by
    chi-square at level 1e-4 on a fixed seed.
    """
    n_off, count = 20, 20_000
    config = SamplingConfig(fresh_share=fresh_share, fresh_window=window)
    mix = oorb(config, Moment(1, n_off, n_on, epochs=4, epoch_steps=10))
    expected = np.full(n_off + n_on, (1 - fresh_share) / (n_off + n_on))
    for row in range(n_off + n_on - rows, n_off + n_on):
        expected[row] += fresh_share / rows
    assert expected.sum() == pytest.approx(1.0)
    assert mix.online_share == pytest.approx(expected[n_off:].sum())
    assert len(mix.online_weights) == n_on
    np.testing.assert_allclose(mix.online_share * mix.online_weights / mix.online_weights.sum(), expected[n_off:])
    index, _ = draw(filled([n_off], n_on), [mix], uniforms(1, count))
    counts, possible = np.bincount(index[0], minlength=n_off + n_on), expected > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert chisquare(counts[possible], count * expected[possible]).pvalue > 1e-4


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize(("dataset", "steps"), [("some", 0), (None, 6)])
def test_an_empty_source_gets_no_draws(strategy: str, dataset: str | None, steps: int) -> None:
    """Breaks if pure_online draws from an empty D_on, or a run from scratch from an empty D_off."""
    cohort = make_cohort([tiny(dataset=dataset, sampling={"start_states": strategy})], "online", random_data(n=6))
    for _ in range(steps):
        cohort.interact()
    index, share = cohort.draws.rows("start_states", 1, uniforms(1, 200), ALL)
    assert set(index.flatten().tolist()) == set(range(6))
    assert share.item() == (steps > 0)


@pytest.mark.parametrize(("exponent", "seed"), [(1.0, 0), (0.6, 1)])
def test_two_buckets_are_the_explicit_distribution(exponent: float, seed: int) -> None:
    """Breaks if P(i) is not p_i^e / sum p^e. Chi-square at level 1e-4 on a fixed seed: it passes always or never."""
    n_off, n_on, t, count = [40, 25], 30, 3, 40_000
    config = SamplingConfig(decay_rate=2.0, priority_exponent=exponent)
    buffer = filled([*n_off], n_on)
    mixes = [prioritized(config, Moment(t, n, n_on)) for n in n_off]
    index, share = draw(buffer, mixes, uniforms(2, count, seed))
    for run, n in enumerate(n_off):
        priority = np.concatenate([np.full(n, 1 / (2.0 * t)), np.ones(n_on)]) ** exponent
        rows = torch.cat([buffer.offline_start[run] + torch.arange(n), buffer.online_start[run] + torch.arange(n_on)])
        counts = np.bincount(index[run].numpy(), minlength=len(buffer.rows))
        assert counts.sum() == counts[rows.numpy()].sum()  # nothing of the other run
        assert chisquare(counts[rows.numpy()], count * priority / priority.sum()).pvalue > 1e-4
        assert share[run] == pytest.approx(counts[rows.numpy()][n:].sum() / count)


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_row_without_weight_is_never_drawn(uniform: float) -> None:
    """Breaks if the least or the largest uniform there is meets a row of weight 0 beside the one that has some."""
    buffer, weights = filled([5], 5), torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])
    mix = Mixture(0.5, weights, weights)
    index, _ = draw(buffer, [mix], torch.tensor([[[0.0, 0.9]], [[uniform, uniform]]], dtype=torch.float64))
    assert index.tolist() == [[5 + 2, 2]]


@settings(deadline=None)
@given(st.data())
def test_weights_inside_a_part(data: st.DataObject) -> None:
    """Breaks if weights count for other rows than their own, held-out rows train, or the holdout is not uniform.

    A grid of as many uniforms as the weights sum to gives counts that equal the weights.
    """
    n_off, n_on = data.draw(st.tuples(st.integers(20, 50), st.integers(2, 40)))
    ratio, limit, part = data.draw(
        st.tuples(st.floats(0.05, 0.5), st.integers(1, 10), st.sampled_from(["all", "train", "holdout"]))
    )
    weights = [
        np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), dtype=float) for n in (n_off, n_on)
    ]
    split, buffer = Split(part, ratio, limit), filled([25, n_off], n_on)  # the run in question is the second one
    held = (
        [n_off - 1 - i for i in range(min(int(ratio * n_off), limit))],
        [i for i in range(n_on) if i % split.online_every == split.online_every - 1][-limit:],
    )
    for source, (n, w, first) in enumerate(
        zip((n_off, n_on), weights, (int(buffer.offline_start[1]), int(buffer.online_start[1])), strict=True)
    ):
        is_held = np.isin(np.arange(n), held[source])
        inside = {"all": np.ones(n, dtype=bool), "train": ~is_held, "holdout": is_held}[part]
        expected = np.where(inside, 1.0 if part == "holdout" else w, 0.0).astype(int)
        total = int(expected.sum())
        if total == 0:
            continue
        grid = torch.stack([torch.full((total,), 0.5), (torch.arange(total) + 0.5) / total]).double()
        mix = Mixture(float(source), torch.tensor(weights[0]), torch.tensor(weights[1]))
        index, _ = draw(buffer, [Mixture(1.0), mix], grid[:, None].expand(-1, 2, -1), split)
        assert np.bincount(index[1] - first, minlength=n).tolist() == expected.tolist()


@given(st.integers(0, 60), st.integers(1, 8))
def test_the_newest_are_held_out_and_nothing_comes_back(n_on: int, more: int) -> None:
    """Breaks if rows that trained are held out later, or the holdout stays with the first transitions."""

    def rows(part: str, n: int) -> set[int]:
        split = Split(part, 0.2, 5)
        return set(split.online_row(torch.arange(split.online_size(n)), n).tolist())

    assert rows("train", n_on) <= rows("train", n_on + more)
    assert rows("holdout", n_on) == set(range(4, n_on, 5)[-5:])
