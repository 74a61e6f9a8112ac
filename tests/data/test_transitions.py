"""Which rows become transitions, against a literal copy of D4RL's loop."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.data.hdf5 import Dataset
from moore.data.transitions import to_transitions
from tests.support.datasets import counted_dataset

EPISODES = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["terminal", "timeout"])), min_size=1, max_size=6)


def qlearning_dataset(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """d4rl.qlearning_dataset of d4rl 1.1 with terminate_on_end=False, line by line, on our field names."""
    result: dict[str, list[np.ndarray]] = {"obs": [], "action": [], "reward": [], "next_obs": [], "terminated": []}
    for i in range(len(dataset) - 1):
        if dataset.truncated[i]:
            continue
        result["obs"].append(dataset.obs[i])
        result["next_obs"].append(dataset.obs[i + 1])
        result["action"].append(dataset.action[i])
        result["reward"].append(dataset.reward[i])
        result["terminated"].append(dataset.terminated[i])
    return result


@settings(max_examples=150, deadline=None)
@given(episodes=EPISODES, partial=st.integers(0, 4))
def test_equals_d4rl_loop(episodes: list[tuple[int, str]], partial: int) -> None:
    dataset = counted_dataset(episodes, partial)
    expected = qlearning_dataset(dataset)
    if not expected["obs"]:
        with pytest.raises(UserError, match="no transition"):
            to_transitions(dataset)
        return
    result = to_transitions(dataset)
    assert len(result) == len(expected["obs"])
    for name in ("obs", "reward", "next_obs", "terminated"):
        np.testing.assert_array_equal(getattr(result, name), np.array(expected[name]), err_msg=name)
    np.testing.assert_allclose(result.action * 2, np.array(expected["action"]), rtol=1e-6)


@settings(max_examples=150, deadline=None)
@given(episodes=EPISODES, partial=st.integers(0, 4), keep_timeouts=st.booleans())
def test_no_bootstrap_from_another_episode(episodes: list[tuple[int, str]], partial: int, keep_timeouts: bool) -> None:
    dataset = counted_dataset(episodes, partial)
    try:
        result = to_transitions(dataset, keep_timeouts)
    except UserError:
        assert not keep_timeouts
        return
    inside = ~result.terminated
    np.testing.assert_array_equal(result.next_obs[inside, 0], result.obs[inside, 0])  # the same episode
    np.testing.assert_array_equal(result.next_obs[inside, 1], result.obs[inside, 1] + 1)  # one step later
    if keep_timeouts:
        assert len(result) == len(dataset)
        np.testing.assert_array_equal(result.next_obs[:, 0], result.obs[:, 0])  # where terminated, too
        np.testing.assert_array_equal(result.terminated, dataset.terminated)


@settings(max_examples=150, deadline=None)
@given(
    episodes=EPISODES,
    partial=st.integers(0, 4),
    keep_timeouts=st.booleans(),
    limit=st.none() | st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_episode_return(
    episodes: list[tuple[int, str]], partial: int, keep_timeouts: bool, limit: int | None, seed: int
) -> None:
    """Breaks if a row has another episode's return, only the kept rows count, or a subset loses its order."""
    dataset = counted_dataset(episodes, partial)
    reward = np.random.default_rng(seed).normal(size=len(dataset)).astype(np.float32)
    dataset = dataclasses.replace(dataset, reward=reward)
    try:
        result = to_transitions(dataset, keep_timeouts, limit)
    except UserError:
        assert not keep_timeouts
        return
    returns: dict[float, float] = {}
    for row in range(len(dataset)):  # of the whole file, dropped rows too
        episode = float(dataset.obs[row, 0])
        returns[episode] = returns.get(episode, 0.0) + float(reward[row])
    assert result.episode_return is not None
    assert result.episode_return.dtype == np.float32
    assert len(result) == min(len(to_transitions(dataset, keep_timeouts)), limit or len(dataset))
    np.testing.assert_allclose(result.episode_return, [returns[float(e)] for e in result.obs[:, 0]], rtol=1e-5)


def test_types_and_action_scale() -> None:
    result = to_transitions(counted_dataset([(5, "timeout")], 3), keep_timeouts=True)
    for name in ("obs", "action", "reward", "next_obs"):
        assert getattr(result, name).dtype == np.float32, name
    assert result.terminated.dtype == bool
    assert result.action.min() == -1.0  # torques of +-2 in the file
    assert result.action.max() == 1.0


def test_keep_timeouts_needs_stored_next_observations() -> None:
    dataset = counted_dataset([(3, "timeout")], 0)
    bare = Dataset("pendulum", dataset.obs, dataset.action, dataset.reward, dataset.terminated, dataset.truncated)
    assert len(to_transitions(bare)) == 2
    with pytest.raises(UserError, match="next_observations"):
        to_transitions(bare, keep_timeouts=True)
