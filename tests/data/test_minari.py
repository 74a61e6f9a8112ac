"""Datasets of the Minari store: read true to the step, fetched only when asked, and what is wrong is one line."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec as GymSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.data.load import load_dataset
from moore.data.minari import GYM_IDS
from moore.envs.spec import ENVIRONMENTS, find_spec
from tests.support.errors import one_line
from tests.support.harm import Edit, put, set_value
from tests.support.minari_store import ARRAYS, ID, NAME, Episode, create, edit_metadata, roll_out


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Minari store, and a working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="module")
def hopper() -> list[Episode]:
    """Three falls, and an episode cut after five steps."""
    return roll_out("Hopper-v5", [1000, 1000, 1000, 5])


@pytest.fixture
def entry(hopper: list[Episode], store: Path) -> Path:
    create(NAME, "Hopper-v5", [episode.buffer() for episode in hopper], algorithm_name="uniform")
    return store / NAME


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
        obs, action = np.zeros((steps + 1, 3), np.float32), np.zeros((steps, 1), np.float32)
        buffers.append(Episode(obs, action, np.zeros(steps), terminations, truncations).buffer())
        for t, (terminated, truncated) in enumerate(episode):
            expected.append((terminated, not terminated and (truncated or t == steps - 1)))
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
    edit_metadata(tmp_path / "store", "old-v0", env_spec=gymnasium.spec(gym_id).to_json())
    read = load_dataset("minari:old-v0", tmp_path)
    assert (read.env, read.metadata["gym_id"], read.metadata["physics"]) == (spec.name, gym_id, physics)


def refused(id: str, *fragments: str) -> None:
    """The dataset is answered with one line, and nothing half-good is kept."""
    said = one_line(lambda: load_dataset(id, Path("data")), *fragments)
    assert "accepted" in said or "install" in said
    assert not Path("data").exists()


def test_id_that_the_store_lacks(store: Path, hopper: list[Episode]) -> None:
    refused(ID, str(store), "it has: nothing", "minari download")
    create(NAME, "Hopper-v5", [hopper[0].buffer()])
    create("other-v1", "Hopper-v5", [hopper[0].buffer()])
    refused("minari:test/hoper/few-v0", f"did you mean '{ID}'?", f"it has: other-v1, {NAME}")
    create("folder-v0/set-v0", "Hopper-v5", [hopper[0].buffer()])
    refused("minari:folder-v0", "minari:folder-v0: not in Minari's store")
    assert not (store / "test" / "hoper").exists()


def test_minari_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    refused(ID, "needs the package minari", "pip install -e '.[minari]'")


def cut(folder: Path) -> None:
    path = folder / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut file": cut,
    "no file": lambda folder: (folder / "main_data.hdf5").unlink(),
    "metadata is not JSON": lambda folder: (folder / "metadata.json").write_text("{"),
    "future version": lambda folder: edit_metadata(folder.parents[3], minari_version="99.0"),
    "more episodes than there are": lambda folder: edit_metadata(folder.parents[3], total_episodes=9),
    "no episodes": lambda folder: edit_metadata(folder.parents[3], total_episodes=0, total_steps=0),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_entry(entry: Path, case: str) -> None:
    DAMAGE[case](entry / "data")
    refused(ID, ID, str(entry), "is damaged")
    assert entry.is_dir()


BAD_EPISODES: dict[str, tuple[Edit, list[str]]] = {
    "NaN observation": (set_value("observations", 2, np.nan), ["'observations' is NaN", "row {begin};"]),
    "no first observation": (put("observations", np.zeros((5, 11))), ["is damaged", "episode 3 has 5 rewards"]),
    "text": (put("rewards", np.array([b"a"] * 5)), ["is damaged"]),
    "a missing array": (put("actions", None), ["is damaged", "actions"]),
}


@pytest.mark.parametrize("case", BAD_EPISODES)
def test_bad_episode(entry: Path, hopper: list[Episode], case: str) -> None:
    edit, fragments = BAD_EPISODES[case]
    begin = sum(len(episode.reward) for episode in hopper[:3])
    with h5py.File(entry / "data" / "main_data.hdf5", "a") as file:
        edit(file["episode_3"])
    refused(ID, ID, *(part.format(begin=begin + 2) for part in fragments))


def spec_with(**changes: Any) -> str:
    spec: GymSpec = gymnasium.spec("Hopper-v5")
    return json.dumps(json.loads(spec.to_json()) | changes)


SCALED = {"name": "RescaleAction", "entry_point": "gymnasium.wrappers:RescaleAction", "kwargs": {}}
COUNTED = {"name": "RecordEpisodeStatistics", "entry_point": "gymnasium.wrappers:RecordEpisodeStatistics", "kwargs": {}}


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"env_spec": spec_with(id="Acrobot-v1")}, ["recorded with Acrobot-v1", "Hopper-v5", "Pendulum-v1"]),
        ({"env_spec": spec_with(id="Ant-v5")}, ["'observations' has shape", "105], as many", "for gymnasium:Ant-v5"]),
        ({"env_spec": spec_with(id="Hopper-v2")}, ["recorded with Hopper-v2", "Hopper-v5"]),
        ({"env_spec": None}, ["recorded with no environment", "Hopper-v5"]),
        ({"env_spec": spec_with(kwargs={"healthy_reward": 2.0})}, ["Hopper-v5 changed by healthy_reward=2.0"]),
        ({"env_spec": spec_with(additional_wrappers=[SCALED])}, ["Hopper-v5 changed by RescaleAction"]),
    ],
)
def test_other_environments(entry: Path, store: Path, changes: dict[str, Any], fragments: list[str]) -> None:
    edit_metadata(store, **changes)
    refused(ID, ID, *fragments)


def test_what_changes_no_number_is_accepted(entry: Path, store: Path) -> None:
    spec = spec_with(kwargs={"render_mode": "rgb_array", "width": 64}, additional_wrappers=[COUNTED])
    edit_metadata(store, env_spec=spec)
    assert load_dataset(ID, Path("data")).env == "hopper"
