"""Where episodes end: any pattern of the two flags, against loops that a reader can check by eye."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.data.check import broken_rows, episode_bounds, long_episodes
from moore.data.describe import whole_returns
from moore.data.hdf5 import Dataset, dataset_hash
from moore.data.transitions import to_transitions
from moore.envs.spec import ENVIRONMENTS
from tests.support.datasets import BOTH, NONE, TERMINAL, TIMEOUT, Flags, laid_out

ENDS = st.sampled_from([NONE, NONE, NONE, TERMINAL, TIMEOUT, BOTH])
LAYOUTS = st.lists(ENDS, min_size=1, max_size=4) | st.lists(ENDS, min_size=1, max_size=30)  # the edges are short ones


def literal_transitions(dataset: Dataset, keep_timeouts: bool) -> list[tuple[list[float], list[float], float, bool]]:
    """(obs, next_obs, reward, terminated) by the words of the two rules, row by row."""
    kept = []
    for i in range(len(dataset)):
        if keep_timeouts:  # every row, with the observation that the file stores for it
            next_obs = dataset.next_obs[i]
        elif i == len(dataset) - 1 or dataset.truncated[i]:  # d4rl.qlearning_dataset skips both
            continue
        else:
            next_obs = dataset.obs[i + 1]
        kept.append((dataset.obs[i].tolist(), next_obs.tolist(), float(dataset.reward[i]), bool(dataset.terminated[i])))
    return kept


@settings(max_examples=200, deadline=None)
@given(flags=LAYOUTS, keep_timeouts=st.booleans())
def test_transitions_equal_the_literal_rules(flags: Flags, keep_timeouts: bool) -> None:
    dataset, untouched = laid_out(flags), laid_out(flags)
    expected = literal_transitions(dataset, keep_timeouts)
    if not expected:
        with pytest.raises(UserError, match="no transition in"):
            to_transitions(dataset, keep_timeouts)
        return
    made = to_transitions(dataset, keep_timeouts)
    assert dataset_hash(dataset) == dataset_hash(untouched)  # the arrays may be views of the file's
    columns = (made.obs, made.next_obs, made.reward, made.terminated)
    assert [tuple(column[i].tolist() for column in columns) for i in range(len(made))] == expected
    # whatever the rule: what bootstraps continues its own episode, one step on
    for obs, next_obs, terminated in zip(made.obs, made.next_obs, made.terminated, strict=True):
        if not terminated:
            assert (next_obs[0], next_obs[1]) == (obs[0], obs[1] + 1)


def literal_episodes(flags: Flags) -> list[list[int]]:
    """The rows of every episode, one after the other; the last one may have no end."""
    episodes: list[list[int]] = [[]]
    for row, ends in enumerate(flags):
        episodes[-1].append(row)
        if any(ends):
            episodes.append([])
    return [rows for rows in episodes if rows]


@settings(max_examples=200, deadline=None)
@given(flags=LAYOUTS)
def test_bounds_equal_a_loop(flags: Flags) -> None:
    starts, ends = episode_bounds(laid_out(flags))
    assert [list(range(a, b)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)] == literal_episodes(flags)


@settings(max_examples=100, deadline=None)
@given(flags=LAYOUTS, limit=st.integers(1, 4))
@example(flags=[NONE, TIMEOUT, NONE, NONE, TIMEOUT, NONE], limit=2)
def test_whole_episodes_equal_a_loop(flags: Flags, limit: int) -> None:
    """Whole episodes terminated or reached the limit; the others were cut, and their returns do not count."""
    dataset = laid_out(flags)
    whole = []
    for rows in literal_episodes(flags):
        terminated, truncated = flags[rows[-1]]
        if terminated or (truncated and len(rows) >= limit):
            whole.append(sum(float(dataset.reward[row]) for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENVIRONMENTS, "pendulum", replace(ENVIRONMENTS["pendulum"], max_episode_steps=limit))
        np.testing.assert_allclose(whole_returns(dataset), whole, rtol=1e-6)
        assert long_episodes(dataset).tolist() == [rows[0] for rows in literal_episodes(flags) if len(rows) > limit]


@settings(max_examples=100, deadline=None)
@given(flags=LAYOUTS, spoilt=st.sets(st.integers(0, 29)))
def test_broken_rows_are_those_inside_episodes(flags: Flags, spoilt: set[int]) -> None:
    """A wrong next observation shows only where the next row continues the episode."""
    dataset = laid_out(flags)
    rows = [row for row in sorted(spoilt) if row < len(flags)]
    dataset.next_obs[rows, 1] += 0.5
    found = broken_rows(dataset)
    assert found.tolist() == [row for row in rows if row < len(flags) - 1 and not any(flags[row])]
    assert broken_rows(replace(dataset, next_obs=None)) is None


@settings(max_examples=150, deadline=None)
@given(flags=LAYOUTS, keep_timeouts=st.booleans(), limit=st.none() | st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_episode_return(flags: Flags, keep_timeouts: bool, limit: int | None, seed: int) -> None:
    """Breaks if a row has another episode's return, only the kept rows count, or a subset loses its order."""
    reward = np.random.default_rng(seed).normal(size=len(flags)).astype(np.float32)
    dataset = replace(laid_out(flags), reward=reward)
    try:
        result = to_transitions(dataset, keep_timeouts, limit)
    except UserError:
        assert not keep_timeouts
        return
    returns: dict[float, float] = {}
    for row in range(len(dataset)):  # of the whole file, dropped rows too
        episode = float(dataset.obs[row, 0])
        returns[episode] = returns.get(episode, 0.0) + float(reward[row])
    assert result.episode_return.dtype == np.float32
    assert len(result) == min(len(to_transitions(dataset, keep_timeouts)), limit or len(dataset))
    np.testing.assert_allclose(result.episode_return, [returns[float(e)] for e in result.obs[:, 0]], rtol=1e-5)


def test_types_and_action_scale() -> None:
    result = to_transitions(laid_out([NONE] * 4 + [TIMEOUT]), keep_timeouts=True)
    for name in ("obs", "action", "reward", "next_obs"):
        assert getattr(result, name).dtype == np.float32, name
    assert result.terminated.dtype == bool
    np.testing.assert_allclose(result.action[:, 0], np.linspace(-1, 1, 5), rtol=1e-6)  # torques of +-2 in the file


def test_keep_timeouts_needs_stored_next_observations() -> None:
    bare = replace(laid_out([NONE, NONE, TIMEOUT]), next_obs=None)
    assert len(to_transitions(bare)) == 2
    with pytest.raises(UserError, match="next_observations"):
        to_transitions(bare, keep_timeouts=True)
