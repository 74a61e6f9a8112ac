"""Whether a row's end is the environment's: flipped flags are found, what cannot be told is no fault."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.data.check import wrong_ends
from moore.data.hdf5 import Dataset
from moore.envs.spec import ENVIRONMENTS
from tests.support.datasets import recorded


def at_the_edge(env: str, next_obs: np.ndarray) -> bool:
    """Whether a next observation is so near to a threshold of its environment that its end need not be told."""
    if env == "inverted_double_pendulum":
        sin1, sin2, cos1, cos2 = next_obs[1:5]
        return bool(abs(0.6 * (cos1 + cos1 * cos2 - sin1 * sin2) - 1.0) < 6e-3)
    heights, angle = ((0.7,), 0.2) if env == "hopper" else ((0.8, 2.0), 1.0)
    gaps = [abs(next_obs[0] - height) for height in heights] + [abs(abs(next_obs[1]) - angle)]
    clipped = env == "hopper" and bool((np.abs(next_obs) >= 10).any())
    return bool(min(gaps) < 1.1e-5) or clipped


@settings(max_examples=25, deadline=None)
@given(flips=st.sets(st.integers(0, 599)), env=st.sampled_from(["hopper", "walker2d", "inverted_double_pendulum"]))
def test_wrong_ends_are_exactly_the_flipped_rows(flips: set[int], env: str) -> None:
    dataset = recorded(env, ENVIRONMENTS[env].physics[0])
    flipped = dataset.terminated.copy()
    flipped[list(flips)] ^= True
    found = set(wrong_ends(replace(dataset, terminated=flipped)).tolist())
    clear = {row for row in range(600) if not at_the_edge(env, dataset.next_obs[row])}
    assert len(clear) >= 590
    assert flips & clear <= found <= flips


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
