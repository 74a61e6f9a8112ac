"""Where episodes end: any pattern of the two flags, against loops that a reader can check by eye, and flipped flags."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.data.check import broken_rows, episode_bounds, long_episodes, wrong_ends
from moore.data.describe import whole_returns
from moore.data.hdf5 import Dataset, dataset_hash
from moore.data.transitions import to_transitions
from moore.envs.spec import ENVIRONMENTS
from tests.support.datasets import BOTH, NONE, TERMINAL, TIMEOUT, Flags, laid_out, recorded

ENDS = st.sampled_from([NONE, NONE, NONE, TERMINAL, TIMEOUT, BOTH])
LAYOUTS = st.lists(ENDS, min_size=1, max_size=4) | st.lists(ENDS, min_size=1, max_size=30)  # the edges are short ones


@settings(max_examples=200, deadline=None)
@given(flags=LAYOUTS)
def test_with_timeouts_every_row_counts_with_its_own_next_observation(flags: Flags) -> None:
    """The other rule is d4rl's: test_d4rl.py."""
    dataset, untouched = laid_out(flags), laid_out(flags)
    made = to_transitions(dataset, keep_timeouts=True)
    assert dataset_hash(dataset) == dataset_hash(untouched)  # the arrays may be views of the file's
    for name in ("obs", "next_obs", "reward", "terminated"):
        np.testing.assert_array_equal(getattr(made, name), getattr(untouched, name), err_msg=name)


def literal_episodes(flags: Flags) -> list[list[int]]:
    """The rows of every episode, one after the other; the last one may have no end."""
    episodes: list[list[int]] = [[]]
    for row, ends in enumerate(flags):
        episodes[-1].append(row)
        if any(ends):
            episodes.append([])
    return [rows for rows in episodes if rows]


@settings(max_examples=100, deadline=None)
@given(flags=LAYOUTS, limit=st.integers(1, 4))
@example(flags=[NONE, TIMEOUT, NONE, NONE, TIMEOUT, NONE], limit=2)
def test_whole_episodes_equal_a_loop(flags: Flags, limit: int) -> None:
    """Whole episodes terminated or reached the limit; the others were cut, and their returns do not count."""
    dataset, whole = laid_out(flags), []
    starts, ends = episode_bounds(dataset)
    assert [list(range(a, b)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)] == literal_episodes(flags)
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


def test_types_action_scale_and_limit() -> None:
    dataset = laid_out([NONE] * 4 + [TIMEOUT])
    result = to_transitions(dataset, keep_timeouts=True)
    for name in ("obs", "action", "reward", "next_obs", "episode_return"):
        assert getattr(result, name).dtype == np.float32, name
    assert result.terminated.dtype == bool
    np.testing.assert_allclose(result.action[:, 0], np.linspace(-1, 1, 5), rtol=1e-6)  # torques of +-2 in the file
    assert [len(to_transitions(dataset, True, limit)) for limit in (1, 4, 9)] == [1, 4, 5]


def test_keep_timeouts_needs_stored_next_observations() -> None:
    bare = replace(laid_out([NONE, NONE, TIMEOUT]), next_obs=None)
    assert len(to_transitions(bare)) == 2
    with pytest.raises(UserError, match="next_observations"):
        to_transitions(bare, keep_timeouts=True)


def at(env: str, terminated: bool, **components: float) -> Dataset:
    """One step of `env` that ends in a healthy observation with some components replaced."""
    dataset = recorded(env, "gymnasium")
    next_obs = dataset.obs[:1].copy()
    for index, value in components.items():
        next_obs[0, int(index[1:])] = value
    ends, no = np.array([terminated]), np.zeros(1, bool)
    return Dataset(env, dataset.obs[:1], dataset.action[:1], dataset.reward[:1], ends, no, next_obs)


STRAIGHT = {"c1": 0.5, "c2": 0.0, "c4": 1.0}  # the tip of the double pendulum is at 1.2 m times c3


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (at("hopper", True, c0=0.7 + 1e-6), 0),  # at Hopper's edge
        (at("hopper", True, c0=0.7 + 1e-4), 1),
        (at("hopper", False, c0=0.7 - 1e-6), 0),
        (at("hopper", False, c0=0.7 - 1e-4), 1),
        (at("hopper", True, c8=-10.0), 0),  # clipped: the true velocity may be beyond the 100 of the rule
        (at("walker2d", True, c10=-10.0), 1),  # which has no such rule
        (at("inverted_double_pendulum", True, c3=1.0005 / 1.2, **STRAIGHT), 0),  # the simulator looks a little earlier
        (at("inverted_double_pendulum", True, c3=1.01 / 1.2, **STRAIGHT), 1),
        (at("walker2d", False, c0=0.5), 1),
        # on the last step D4RL records the time limit alone
        (replace(at("walker2d", False, c0=0.5), truncated=np.ones(1, bool)), 0),
    ],
)
def test_an_end_that_cannot_be_told_is_no_fault(step: Dataset, told: int) -> None:
    assert len(wrong_ends(step)) == told
