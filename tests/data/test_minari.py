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
from minari.data_collector import EpisodeBuffer

from moore.cli.main import main
from moore.data.check import check_dataset, replay_error
from moore.data.export import minari_name
from moore.data.hdf5 import dataset_hash
from moore.data.ids import resolve
from moore.data.load import load_dataset
from moore.data.minari import GYM_IDS
from moore.envs.spec import ENVIRONMENTS
from tests.support.datasets import stored
from tests.support.minari_store import (
    ARRAYS,
    ID,
    NAME,
    Episode,
    create,
    data_folder,
    edit_metadata,
    one_line,
    roll_out,
)

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.parametrize(
    ("gym_id", "lengths", "options"),
    [
        ("Hopper-v5", [1000, 1000, 7], {}),
        ("Walker2d-v5", [1000, 1000], {}),
        ("InvertedDoublePendulum-v5", [1000, 1000], {}),
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
    if episodes[0].qpos is not None:
        expected |= {"qpos": rows(lambda e: stored(e.qpos)[:-1]), "qvel": rows(lambda e: stored(e.qvel)[:-1])}
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


def test_states_go_with_the_action_that_follows(entry: Path, tmp_path: Path) -> None:
    read = load_dataset(ID, tmp_path)
    assert read.metadata["algorithm"] == "uniform"
    replay = replay_error(read, "gymnasium")
    assert replay is not None
    assert replay.rows == len(read)
    assert replay.max < 2e-6
    assert replay.reward_max < 2e-6
    assert not check_dataset(read).faults


def test_without_states_in_every_episode_there_are_none(hopper: list[Episode], tmp_path: Path) -> None:
    buffers = [episode.buffer() for episode in hopper]
    buffers[1] = hopper[1].buffer(infos={"x_position": np.zeros(len(hopper[1].obs))})
    create(NAME, "Hopper-v5", buffers)
    read = load_dataset(ID, tmp_path)
    assert read.qpos is None
    assert read.qvel is None
    shorter = {"qpos": hopper[0].qpos[:-1], "qvel": hopper[0].qvel[:-1]}  # type: ignore[index]  # of T states: which?
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


def test_converted_once_and_again_when_the_dataset_changes(
    entry: Path, hopper: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    first = load_dataset(ID, tmp_path / "data", progress=lambda *done: seen.append(done))
    assert seen[-1] == (len(first), len(first))
    with monkeypatch.context() as patched:
        patched.setattr(minari, "load_dataset", None)  # not needed any more
        again = load_dataset(ID, tmp_path / "data", progress=lambda *done: pytest.fail("converted again"))
    assert dataset_hash(again) == dataset_hash(first)

    with h5py.File(data_folder(tmp_path / "store") / "main_data.hdf5", "a") as file:
        file["episode_1/rewards"][0] += 1
    changed = load_dataset(ID, tmp_path / "data")
    assert changed.reward[len(hopper[0].reward)] == np.float32(hopper[1].reward[0] + 1)
    assert len(list((tmp_path / "data").iterdir())) == 2


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


def test_id_that_the_store_lacks(store: Path, tmp_path: Path, hopper: list[Episode]) -> None:
    one_line(lambda: load_dataset(ID, tmp_path), str(store), "it has: nothing", "moore data download")
    create(NAME, "Hopper-v5", [hopper[0].buffer()])
    create("other-v1", "Hopper-v5", [hopper[0].buffer()])
    one_line(
        lambda: load_dataset("minari:test/hoper/few-v0", tmp_path), f"did you mean '{ID}'?", f"it has: other-v1, {NAME}"
    )
    create("folder-v0/set-v0", "Hopper-v5", [hopper[0].buffer()])
    one_line(lambda: load_dataset("minari:folder-v0", tmp_path), "minari:folder-v0: not in Minari's store")
    assert not (store / "test" / "hoper").exists()


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("minari:mujoco/hopper/medium", "did you mean 'minari:mujoco/hopper/medium-v0'?"),
        ("minari:../hopper-v0", "is no Minari id"),
        ("minari:a//b/hopper-v0", "is no Minari id"),
        ("minary:mujoco/hopper/medium-v0", "minari:NAMESPACE/NAME-vN"),
    ],
)
def test_malformed_ids(text: str, fragment: str) -> None:
    one_line(lambda: resolve(text), fragment)


def test_minari_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    for call in (lambda: load_dataset(ID, tmp_path), lambda: minari_name(resolve("self:hopper-medium"), None)):
        one_line(call, "needs the package minari", "pip install -e '.[minari]'")
    assert main(["data", "download", ID]) == 2


def test_store_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file" / "store"))
    one_line(lambda: load_dataset(ID, tmp_path), "MINARI_DATASETS_PATH")


def cut(folder: Path) -> None:
    path = folder / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write(name: str, text: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (folder / name).write_text(text)

    return edit


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut file": cut,
    "no file": lambda folder: (folder / "main_data.hdf5").unlink(),
    "metadata is not JSON": write("metadata.json", "{"),
    "future version": lambda folder: edit_metadata(folder.parents[3], minari_version="99.0"),
    "more episodes than there are": lambda folder: edit_metadata(folder.parents[3], total_episodes=9),
    "no episodes": lambda folder: edit_metadata(folder.parents[3], total_episodes=0, total_steps=0),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_entry(entry: Path, case: str, tmp_path: Path) -> None:
    DAMAGE[case](entry / "data")
    one_line(lambda: load_dataset(ID, tmp_path / "data"), ID, str(entry), "is damaged")
    assert entry.is_dir()
    assert not (tmp_path / "data").exists()


def changed(key: str, index: Any, value: Any) -> Callable[[h5py.Group], None]:
    def edit(episode: h5py.Group) -> None:
        episode[key][index] = value

    return edit


def replaced(key: str, values: Any) -> Callable[[h5py.Group], None]:
    def edit(episode: h5py.Group) -> None:
        del episode[key]
        if values is not None:
            episode[key] = values

    return edit


BAD_EPISODES: dict[str, tuple[Callable[[h5py.Group], None], list[str]]] = {
    "NaN observation": (changed("observations", (2, 4), np.nan), ["'observations' is NaN", "row {begin};"]),
    "NaN state": (changed("infos/qvel", (1, 2), np.nan), ["'infos/qvel' is NaN"]),
    "action out of bounds": (changed("actions", (0, 1), -1.5), ["'actions' has -1.5", "[-1, 1]"]),
    "no first observation": (replaced("observations", np.zeros((5, 11))), ["is damaged", "episode 3 has 5 rewards"]),
    "text": (replaced("rewards", np.array([b"a"] * 5)), ["is damaged"]),
    "a missing array": (replaced("actions", None), ["is damaged", "actions"]),
}


@pytest.mark.parametrize("case", BAD_EPISODES)
def test_bad_episode(entry: Path, hopper: list[Episode], case: str, tmp_path: Path) -> None:
    edit, fragments = BAD_EPISODES[case]
    begin = sum(len(episode.reward) for episode in hopper[:3])
    with h5py.File(entry / "data" / "main_data.hdf5", "a") as file:
        edit(file["episode_3"])
    one_line(lambda: load_dataset(ID, tmp_path / "data"), ID, *(part.format(begin=begin + 2) for part in fragments))
    assert not (tmp_path / "data").exists()  # nothing half-good is kept


def spec_with(**changes: Any) -> str:
    spec: GymSpec = gymnasium.spec("Hopper-v5")
    return json.dumps(json.loads(spec.to_json()) | changes)


SCALED = {"name": "RescaleAction", "entry_point": "gymnasium.wrappers:RescaleAction", "kwargs": {}}
COUNTED = {"name": "RecordEpisodeStatistics", "entry_point": "gymnasium.wrappers:RecordEpisodeStatistics", "kwargs": {}}
DISCRETE = json.dumps({"type": "MultiDiscrete", "dtype": "int64", "start": [0] * 3, "nvec": [2] * 3})
WIDE = json.dumps({"type": "Box", "dtype": "float64", "shape": [12], "low": [0.0] * 12, "high": [1.0] * 12})


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"env_spec": spec_with(id="Ant-v5")}, ["recorded with Ant-v5", "Hopper-v5", "Pendulum-v1"]),
        ({"env_spec": spec_with(id="Hopper-v2")}, ["recorded with Hopper-v2", "Hopper-v5"]),
        ({"env_spec": None}, ["recorded with no environment", "Hopper-v5"]),
        ({"env_spec": spec_with(kwargs={"healthy_reward": 2.0})}, ["Hopper-v5 changed by healthy_reward=2.0"]),
        ({"env_spec": spec_with(additional_wrappers=[SCALED])}, ["Hopper-v5 changed by RescaleAction"]),
        ({"action_space": DISCRETE}, ["action space is MultiDiscrete([2 2 2])", "Box of shape (3,)"]),
        ({"observation_space": WIDE}, ["observation space is Box", "(12,)", "Box of shape (11,)"]),
    ],
)
def test_other_environments(
    entry: Path, store: Path, changes: dict[str, Any], fragments: list[str], tmp_path: Path
) -> None:
    edit_metadata(store, **changes)
    one_line(lambda: load_dataset(ID, tmp_path), ID, *fragments)


def test_what_changes_no_number_is_accepted(entry: Path, store: Path, tmp_path: Path) -> None:
    spec = spec_with(kwargs={"render_mode": "rgb_array", "width": 64}, additional_wrappers=[COUNTED])
    edit_metadata(store, env_spec=spec)
    assert load_dataset(ID, tmp_path).env == "hopper"
