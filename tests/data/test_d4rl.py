"""D4RL's files and rules, against the package d4rl itself, and files that are not the published ones."""

import hashlib
import importlib
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.data.d4rl import FILES, PublishedFile, expected_path
from moore.data.download import file_url
from moore.data.hdf5 import dataset_hash, read_dataset, write_dataset
from moore.data.load import load_dataset
from moore.data.scores import normalized_score
from moore.data.transitions import to_transitions
from moore.envs.spec import ENVIRONMENTS
from moore.run.local import check_datasets
from moore.studies.study import ABLATIONS_DIR, load_study
from tests.support.datasets import BOTH, NONE, TERMINAL, TIMEOUT, Flags, random_dataset
from tests.support.errors import one_line

HOPPER = "d4rl:hopper-medium-v2"


@pytest.fixture(scope="module")
def d4rl(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The package itself, with stubs for gym and tqdm and no environments; sys.modules is then as before."""
    gym, utils, tqdm = ModuleType("gym"), ModuleType("gym.utils"), ModuleType("tqdm")
    vars(gym).update(Env=type("Env", (), {}), Wrapper=type("Wrapper", (), {}), utils=utils)
    vars(utils).update(colorize=lambda text, color: text)
    vars(tqdm).update(tqdm=lambda values, desc: values)
    stubs: dict[str, ModuleType | None] = {"gym": gym, "gym.utils": utils, "tqdm": tqdm, "mujoco_py": None}
    # None: an ImportError, which d4rl expects of its environments
    stubs |= dict.fromkeys(f"d4rl.{name}" for name in ("locomotion", "flow", "kitchen", "carla", "gym_bullet"))
    folder = str(tmp_path_factory.mktemp("d4rl"))  # made at import, by default in the home directory
    with (
        patch.dict("sys.modules", stubs),
        patch.dict(os.environ, {"D4RL_DATASET_DIR": folder, "D4RL_SUPPRESS_IMPORT_ERROR": "1"}),
    ):
        return importlib.import_module("d4rl")


def test_ids_and_urls_are_d4rls(d4rl: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("D4RL_DATASET_URL", raising=False)
    envs = ("hopper-", "halfcheetah-", "walker2d-")
    theirs = {f"d4rl:{name}": url for name, url in d4rl.infos.DATASET_URLS.items() if name.startswith(envs)}
    assert {id: file_url(id) for id in FILES} == {id: url for id, url in theirs.items() if id.endswith("-v2")}
    assert len({file.sha256 for file in FILES.values()}) == len(FILES) == 18
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in FILES.values())


def test_places_are_d4rls(d4rl: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4RL_DATASET_DIR", d4rl.offline_env.DATASET_PATH)
    for id in FILES:
        assert str(expected_path(id)) == d4rl.offline_env.filepath_from_url(file_url(id))
    for unset in (lambda: monkeypatch.setenv("D4RL_DATASET_DIR", ""), lambda: monkeypatch.delenv("D4RL_DATASET_DIR")):
        unset()
        assert str(expected_path(HOPPER).parent) == os.path.expanduser("~/.d4rl/datasets")


def test_scores_are_d4rls(d4rl: ModuleType) -> None:
    for id in FILES:
        name = id.removeprefix("d4rl:")
        env = name.partition("-")[0]
        assert ENVIRONMENTS[env].reference_scores == (d4rl.infos.REF_MIN_SCORE[name], d4rl.infos.REF_MAX_SCORE[name])
        for value in (-50.0, 0.0, 1234.5):
            assert normalized_score(env, value) == pytest.approx(100 * d4rl.get_normalized_score(name, value))


ROWS = st.lists(st.sampled_from([NONE, NONE, NONE, TERMINAL, TIMEOUT, BOTH]), min_size=2, max_size=40)


@settings(max_examples=150, deadline=None)
@given(env=st.sampled_from(["hopper", "halfcheetah", "walker2d"]), flags=ROWS)
def test_transitions_are_d4rls(d4rl: ModuleType, env: str, flags: Flags) -> None:
    dataset = random_dataset(env, flags)
    arrays = {"observations": dataset.obs, "actions": dataset.action, "rewards": dataset.reward}
    theirs = d4rl.qlearning_dataset(None, arrays | {"terminals": dataset.terminated, "timeouts": dataset.truncated})
    if len(theirs["rewards"]) == 0:
        with pytest.raises(UserError, match="no transition"):
            to_transitions(dataset)
        return
    ours = to_transitions(dataset)
    names = {"obs": "observations", "action": "actions", "reward": "rewards"}
    for name, key in (names | {"next_obs": "next_observations", "terminated": "terminals"}).items():
        assert getattr(ours, name).dtype == theirs[key].dtype, name
        np.testing.assert_array_equal(getattr(ours, name), theirs[key], err_msg=name)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hopper file in D4RL's folder, which counts as the published one."""
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    path = expected_path(HOPPER)
    dataset = random_dataset("hopper", [NONE, TERMINAL, NONE, NONE, TIMEOUT, NONE] * 5)
    write_dataset(path, replace(dataset, metadata={}))  # D4RL's do not name theirs
    content = path.read_bytes()
    published = PublishedFile(FILES[HOPPER].name, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(FILES, HOPPER, published)
    return path


@pytest.mark.parametrize("shorter", [True, False])
def test_damaged_file_is_refused_and_kept(path: Path, shorter: bool) -> None:
    """Breaks if another size, or another content of the same size, is read."""
    content, published = path.read_bytes(), FILES[HOPPER]
    damaged = content[:-1] if shorter else content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes(damaged)
    expected = [f"{published.size} bytes, sha256 {published.sha256}"]
    expected += [f"{len(damaged)} bytes, sha256 {hashlib.sha256(damaged).hexdigest()}"]
    message = one_line(lambda: load_dataset(HOPPER), "accepted: ", f"local:hopper:{path}")
    assert f"{path} is not D4RL's file: expected {expected[0]}, got {expected[1]}" in message
    assert f"`moore data download {HOPPER}`" in message
    assert path.read_bytes() == damaged


def test_published_file(path: Path) -> None:
    dataset = load_dataset(HOPPER)
    assert dataset.metadata["physics"] == "d4rl"
    assert dataset_hash(dataset) == dataset_hash(read_dataset(path, "hopper"))


def test_a_study_is_refused_before_it_starts(path: Path, tmp_path: Path) -> None:
    scale = tmp_path / "small.yaml"
    scale.write_text(
        "scale: small\nseeds: [0]\ndefaults: {}\ntasks:\n"
        f"  - {{env: hopper, dataset: {HOPPER!r}, dataset_transitions: null, physics: d4rl}}\n"
    )
    study = load_study(ABLATIONS_DIR / "sampling.yaml", scale)
    check_datasets(study)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not D4RL's file"):
        check_datasets(study)
    path.unlink()
    with pytest.raises(UserError, match=f"moore data download {HOPPER}"):
        check_datasets(study)
