"""Our datasets in the Minari store: whole, truthful, readable elsewhere, and over nothing that is there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from minari.namespace import list_local_namespaces

from moore.base.errors import UserError
from moore.cli.main import main
from moore.data.export import export_minari, minari_name
from moore.data.hdf5 import Dataset, dataset_hash, write_dataset
from moore.data.ids import resolve
from moore.data.load import load_dataset
from moore.data.make import make_self_dataset
from moore.envs.spec import ENVIRONMENTS
from tests.support.minari_store import ARRAYS, ID, NAME, data_folder, one_line

pytestmark = pytest.mark.usefixtures("store")


def small(env: str, physics: str = "gymnasium", rows: int = 450) -> Dataset:
    """Some episodes of random actions, the last one cut by the end of the file."""
    return make_self_dataset(env, "random", rows, physics=physics)


def closed(dataset: Dataset) -> Dataset:
    """With the last row marked as the end of an episode, as Minari has it."""
    truncated = dataset.truncated.copy()
    truncated[-1] = not dataset.terminated[-1]
    return replace(dataset, truncated=truncated)


@pytest.mark.parametrize(
    ("env", "physics"), [(spec.name, p) for spec in ENVIRONMENTS.values() if spec.gym_id for p in spec.physics]
)
def test_exported_datasets_come_back_equal(env: str, physics: str, store: Path, tmp_path: Path) -> None:
    spec = ENVIRONMENTS[env]
    ours, dataset_id = small(env, physics), resolve(f"self:{env}-random")
    assert not ours.truncated[-1]  # or the test would not see the flag
    name = minari_name(dataset_id, None)
    seen: list[tuple[int, int]] = []
    assert export_minari(ours, dataset_id, name, lambda *done: seen.append(done)) == store / name
    assert seen[-1] == (len(ours), len(ours))

    back = load_dataset(f"minari:{name}", tmp_path)
    assert dataset_hash(back) == dataset_hash(closed(ours))
    assert back.metadata["physics"] == physics
    theirs = minari.load_dataset(name)
    assert theirs.total_steps == len(ours)
    assert sum(len(episode) for episode in theirs) == len(ours)
    assert all(episode.truncations[-1] != episode.terminations[-1] for episode in theirs)
    assert str(theirs[0]).startswith("EpisodeData(")
    assert minari.get_normalized_score(theirs, np.array(ENVIRONMENTS[env].reference_scores)).tolist() == [0.0, 1.0]
    recovered = theirs.recover_environment()
    assert recovered.spec is not None
    assert recovered.spec.id == spec.gym_id
    assert recovered.observation_space == theirs.observation_space
    assert recovered.action_space == theirs.action_space
    recovered.reset(seed=0)
    recovered.step(theirs[0].actions[0])
    assert list(minari.list_local_datasets()) == [name]
    assert list_local_namespaces() == ["moore", f"moore/{env}"]
    assert not list(store.glob(".*"))  # no scratch folder stays


def test_reading_and_writing_are_inverse(entry: Path, tmp_path: Path) -> None:
    """Of a dataset that Minari made: to ours, to Minari, to ours."""
    first = load_dataset(ID, tmp_path)
    write_dataset(tmp_path / "set.hdf5", first)
    local = resolve(f"local:{tmp_path / 'set.hdf5'}")
    export_minari(load_dataset(str(local)), local, "copy-v0")
    second = load_dataset("minari:copy-v0", tmp_path)
    assert dataset_hash(second) == dataset_hash(first)
    assert second.metadata["physics"] == "gymnasium"
    for left, right in zip(minari.load_dataset(NAME), minari.load_dataset("copy-v0"), strict=True):
        np.testing.assert_array_equal(left.observations.astype(np.float32), right.observations)
        np.testing.assert_array_equal(left.infos["qpos"][:-1], right.infos["qpos"][:-1])
        assert np.isnan(right.infos["qpos"][-1]).all()  # not stored here, so not made up


def test_rows_that_do_not_follow_each_other_are_separate_episodes(tmp_path: Path) -> None:
    ours = small("pendulum", rows=200)
    rows = np.delete(np.arange(200), [50, 51, 120])
    holes = replace(ours, **{name: getattr(ours, name)[rows] for name in ARRAYS})
    export_minari(holes, resolve("self:pendulum-random"), "holes-v0")
    lengths = [len(episode) for episode in minari.load_dataset("holes-v0")]
    assert lengths == [50, 68, 79]
    back = load_dataset("minari:holes-v0", tmp_path)
    np.testing.assert_array_equal(back.next_obs, holes.next_obs)
    assert np.flatnonzero(back.truncated).tolist() == [49, 117, 196]


def test_what_the_fields_say(store: Path, tmp_path: Path) -> None:
    def fields(dataset: Dataset, text: str, name: str) -> dict[str, Any]:
        export_minari(dataset, resolve(text), name)
        return json.loads((data_folder(store, name) / "metadata.json").read_text())

    ours = small("hopper", "d4rl", 60)
    own = fields(ours, "self:hopper-random", "own-v0")
    assert (own["author"], own["algorithm_name"]) == (["moore"], "uniform actions")
    assert str(ours.metadata["command"]) in own["description"]
    assert own["moore"] == {"source": "self:hopper-random", "sha256": dataset_hash(ours), "physics": "d4rl"}

    theirs = fields(ours, "d4rl:hopper-random-v2", "theirs-v0")
    assert theirs["author"] == ["D4RL"]
    assert "CC BY 4.0" in theirs["description"]

    secret = {"env": "hopper", "algorithm": "by jane", "command": "/home/jane/run"}
    local = fields(replace(ours, metadata={**secret}, qpos=None, qvel=None), "local:/home/jane/set.hdf5", "local-v0")
    assert "jane" not in json.dumps(local)
    assert "infos=dict" in str(minari.load_dataset("local-v0")[0])  # none, but Minari wants to print their names
    assert "physics" not in load_dataset("minari:local-v0", tmp_path).metadata


def test_nothing_is_overwritten(entry: Path, store: Path) -> None:
    before = {path: path.read_bytes() for path in entry.rglob("*") if path.is_file()}
    dataset_id = resolve("self:pendulum-random")
    one_line(lambda: minari_name(dataset_id, NAME), "--name", NAME, "nothing is overwritten")
    # nor if it appears while another is being written
    one_line(lambda: export_minari(small("pendulum", rows=20), dataset_id, NAME), "nothing is overwritten")
    assert {path: path.read_bytes() for path in entry.rglob("*") if path.is_file()} == before
    assert not list(store.glob(".*"))


def test_a_failure_leaves_nothing(store: Path) -> None:
    ours, dataset_id = small("pendulum", rows=450), resolve("self:pendulum-random")

    def full(rows: int, all_rows: int) -> None:
        if rows > 200:
            raise OSError(28, "No space left on device")

    one_line(lambda: export_minari(ours, dataset_id, "new/set-v0", full), "No space left on device")
    assert list(store.iterdir()) == []
    without = replace(ours, next_obs=None)
    one_line(lambda: export_minari(without, dataset_id, "new/set-v0"), "'next_observations'")
    (store / "taken").write_text("")
    one_line(lambda: export_minari(ours, dataset_id, "taken/set-v0"), "cannot be written")


def test_an_environment_that_gymnasium_lacks(store: Path) -> None:
    with pytest.raises(UserError, match="Gymnasium has no cartpole_swingup"):
        export_minari(small("cartpole_swingup", "closed-form"), resolve("self:cartpole_swingup-random"), "a-v0")
    assert not any(store.iterdir())


def test_names(store: Path) -> None:
    assert minari_name(resolve("self:hopper-medium-replay"), None) == "moore/hopper/medium-replay-v0"
    assert minari_name(resolve("d4rl:walker2d-medium-expert-v2"), None) == "moore/d4rl/walker2d/medium-expert-v2"
    one_line(lambda: minari_name(resolve("local:x.hdf5"), None), "--name", "needed for local:x.hdf5")
    one_line(lambda: minari_name(resolve(ID), "copy-v0"), "is in Minari's store")
    for name in ("hopper", "a//b-v0", "../up-v0", "-v0", "a b-v0", "a/b-v"):
        one_line(lambda name=name: minari_name(resolve("self:hopper-medium"), name), "NAMESPACE/NAME-vN")  # type: ignore[misc]


def test_export_command(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "export", "self:pendulum-random", "--to", "minari", "--transitions", "30"]
    assert main(words) == 0
    assert str(store / "moore" / "pendulum" / "random-v0") in capsys.readouterr().out
    assert main(words) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert main([*words, "--name", "mine/other-v4"]) == 0
    assert minari.load_dataset("mine/other-v4").total_steps == 30
    assert main(["data", "describe", "minari:mine/other-v4"]) == 0
    assert "minari:mine/other-v4" in capsys.readouterr().out
