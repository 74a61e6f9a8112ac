"""What no Minari dataset may be: each is one line that names it and what is accepted."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec as GymSpec

from moore.data.load import load_dataset
from tests.support.minari_store import ID, NAME, Episode, create, edit_metadata, one_line

pytestmark = pytest.mark.usefixtures("store")


def test_id_that_the_store_lacks(store: Path, tmp_path: Path, hopper: list[Episode]) -> None:
    one_line(lambda: load_dataset(ID, tmp_path), str(store), "it has: nothing", "minari download")
    create(NAME, "Hopper-v5", [hopper[0].buffer()])
    create("other-v1", "Hopper-v5", [hopper[0].buffer()])
    one_line(
        lambda: load_dataset("minari:test/hoper/few-v0", tmp_path), f"did you mean '{ID}'?", f"it has: other-v1, {NAME}"
    )
    create("folder-v0/set-v0", "Hopper-v5", [hopper[0].buffer()])
    one_line(lambda: load_dataset("minari:folder-v0", tmp_path), "minari:folder-v0: not in Minari's store")
    assert not (store / "test" / "hoper").exists()


def test_minari_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    one_line(lambda: load_dataset(ID, tmp_path), "needs the package minari", "pip install -e '.[minari]'")


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
def test_other_environments(
    entry: Path, store: Path, changes: dict[str, Any], fragments: list[str], tmp_path: Path
) -> None:
    edit_metadata(store, **changes)
    one_line(lambda: load_dataset(ID, tmp_path), ID, *fragments)


def test_what_changes_no_number_is_accepted(entry: Path, store: Path, tmp_path: Path) -> None:
    spec = spec_with(kwargs={"render_mode": "rgb_array", "width": 64}, additional_wrappers=[COUNTED])
    edit_metadata(store, env_spec=spec)
    assert load_dataset(ID, tmp_path).env == "hopper"
