"""Datasets of the Minari store: read true to the step, fetched only when asked, and what is wrong is one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minari.data_collector import EpisodeBuffer

from moore.data.load import load_dataset
from moore.data.minari import GYM_IDS
from moore.envs.spec import ENVIRONMENTS, find_spec
from tests.support.minari_store import ARRAYS, ID, NAME, Episode, create, data_folder, roll_out

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.parametrize(
    ("gym_id", "lengths", "options"),
    [
        ("Hopper-v5", [1000, 1000, 7], {}),
        ("Walker2d-v5", [1000, 1000], {}),
        ("InvertedDoublePendulum-v5", [1000, 1000], {}),
        ("HalfCheetah-v5", [40, 7], {}),
        ("Ant-v5", [300, 7], {}),
        ("InvertedPendulum-v5", [1000, 1000], {}),
        ("Pendulum-v1", [200, 13, 200], {}),
        ("Hopper-v5", [1000], {"max_episode_steps": 4, "render_mode": None}),
    ],
)
def test_rows_are_the_rollout_bit_for_bit(
    gym_id: str, lengths: list[int], options: dict[str, Any], tmp_path: Path
) -> None:
    episodes = roll_out(gym_id, lengths, **options)
    env = gymnasium.make(gym_id, **options)
    create("rollouts-v3", env, [episode.buffer() for episode in episodes])
    read = load_dataset("minari:rollouts-v3", tmp_path)

    def rows(values: Callable[[Episode], Any]) -> np.ndarray:
        return np.concatenate([values(episode) for episode in episodes])

    ends = np.cumsum([len(episode.reward) for episode in episodes]) - 1
    expected = {"obs": rows(lambda e: e.obs[:-1]), "next_obs": rows(lambda e: e.obs[1:])}
    expected |= {"action": rows(lambda e: e.action), "reward": rows(lambda e: e.reward)}
    expected = {name: values.astype(np.float32) for name, values in expected.items()}
    expected["terminated"] = rows(lambda e: e.terminated)
    expected["truncated"] = np.isin(np.arange(len(read)), ends) & ~expected["terminated"]
    if episodes[0].qpos is not None and find_spec(read.env).state_dim:
        expected |= {"qpos": rows(lambda e: e.qpos[:-1]), "qvel": rows(lambda e: e.qvel[:-1])}
    assert read.env == GYM_IDS[gym_id]
    for name in ARRAYS:
        values = getattr(read, name)
        assert (values is None) == (name not in expected)
        if values is not None:
            assert values.dtype == expected[name].dtype
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
    assert read.metadata["physics"] == "gymnasium"
    assert read.metadata["gym_id"] == gym_id
    assert read.metadata["source"] == "minari:rollouts-v3"
    assert read.metadata["minari_version"] == minari.__version__


def test_without_states_in_every_episode_there_are_none(hopper: list[Episode], tmp_path: Path) -> None:
    buffers = [episode.buffer() for episode in hopper]
    buffers[1] = hopper[1].buffer(infos={"x_position": np.zeros(len(hopper[1].obs))})
    create(NAME, "Hopper-v5", buffers)
    read = load_dataset(ID, tmp_path)
    assert read.qpos is None
    assert read.qvel is None
    shorter = {"qpos": hopper[0].qpos[:-1], "qvel": hopper[0].qvel[:-1]}  # of T states: which?
    create("short-v0", "Hopper-v5", [hopper[0].buffer(infos=shorter)])
    assert load_dataset("minari:short-v0", tmp_path).qpos is None


@settings(max_examples=25, deadline=None)
@given(
    flags=st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4), min_size=1, max_size=4)
)
def test_flags(flags: list[list[tuple[bool, bool]]]) -> None:
    """Terminated wins, the last step has a flag, and what is behind a flag inside an episode is kept."""
    name = "flags-v0"
    shutil.rmtree("store", ignore_errors=True)
    buffers, expected = [], []
    for episode in flags:
        steps = len(episode)
        terminations, truncations = (np.array(column) for column in zip(*episode, strict=True))
        zeros = {"observations": np.zeros((steps + 1, 3), np.float32), "actions": np.zeros((steps, 1), np.float32)}
        buffers.append(
            EpisodeBuffer(
                **zeros, rewards=[0.0] * steps, terminations=list(terminations), truncations=list(truncations), infos={}
            )
        )
        for t, (terminated, truncated) in enumerate(episode):
            if terminated:
                expected.append((True, False))
            else:
                expected.append((False, truncated or t == steps - 1))
    create(name, "Pendulum-v1", buffers)
    read = load_dataset(f"minari:{name}", Path("data"))
    assert list(zip(read.terminated.tolist(), read.truncated.tolist(), strict=True)) == expected


@pytest.mark.parametrize(("gym_id", "physics"), [("HalfCheetah-v4", "gymnasium"), ("Hopper-v4", "Hopper-v4")])
def test_older_environments(hopper: list[Episode], gym_id: str, physics: str, tmp_path: Path) -> None:
    """Hopper-v4 pays the alive bonus on a fall too, HalfCheetah-v4 is v5."""
    spec = ENVIRONMENTS[GYM_IDS[gym_id]]
    spaces: dict[str, Any] = {
        "observation_space": gymnasium.spaces.Box(-np.inf, np.inf, (spec.obs_dim,), np.float64),
        "action_space": gymnasium.spaces.Box(-1, 1, (spec.action_dim,), np.float32),
    }
    steps = len(hopper[0].reward)
    buffer = hopper[0].buffer(
        observations=np.zeros((steps + 1, spec.obs_dim)), actions=np.zeros((steps, spec.action_dim), np.float32)
    )
    create("old-v0", None, [buffer], **spaces)
    path = data_folder(tmp_path / "store", "old-v0") / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"env_spec": gymnasium.spec(gym_id).to_json()}))
    read = load_dataset("minari:old-v0", tmp_path)
    assert (read.env, read.metadata["gym_id"], read.metadata["physics"]) == (spec.name, gym_id, physics)
