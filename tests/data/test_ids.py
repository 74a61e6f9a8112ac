"""Dataset ids, D4RL's folder, scores, and the files of behaviour policies."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moore.base.errors import UserError
from moore.data.behaviours import load_behaviours, save_behaviours
from moore.data.collect import actor_network
from moore.data.hdf5 import Dataset, write_dataset
from moore.data.ids import resolve
from moore.data.load import load_dataset
from moore.data.scores import normalized_score, normalized_std
from moore.envs.spec import ENVIRONMENTS
from moore.envs.vector_env import make_env


def hopper_set(env: str | None) -> Dataset:
    n = 5
    return Dataset(
        env="hopper",
        obs=np.zeros((n, 11), np.float32),
        action=np.zeros((n, 3), np.float32),
        reward=np.zeros(n, np.float32),
        terminated=np.zeros(n, bool),
        truncated=np.zeros(n, bool),
        metadata={} if env is None else {"env": env},
    )


def test_resolve() -> None:
    own = resolve("self:hopper-medium-replay")
    assert (own.source, own.env, own.quality, own.path) == ("self", "hopper", "medium-replay", None)
    assert resolve("self:inverted_double_pendulum-medium").env == "inverted_double_pendulum"
    assert resolve("self:pendulum-low").quality == "low"
    d4rl = resolve("d4rl:walker2d-medium-expert-v2")
    assert (d4rl.source, d4rl.env, d4rl.quality) == ("d4rl", "walker2d", "medium-expert")
    local = resolve("local:a/b:c.hdf5")
    assert (local.source, local.env, local.path) == ("local", None, Path("a/b:c.hdf5"))
    named = resolve("local:hopper:x.hdf5")
    assert (named.env, named.path) == ("hopper", Path("x.hdf5"))
    assert str(own) == "self:hopper-medium-replay"


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("self:hoper-medium", "did you mean 'self:hopper-medium'"),
        ("self:hopper-low", "accepted"),  # only pendulum has it
        ("locl:set.hdf5", "did you mean 'local:set.hdf5'?"),
        ("local:hoper:set.hdf5", "did you mean 'local:hopper:set.hdf5'?"),
        ("local:Hopper-v2:set.hdf5", "did you mean 'local:hopper:set.hdf5'?"),
        ("hopper-medium-v2", "did you mean 'd4rl:hopper-medium-v2'"),
        ("d4rl:hopper_full_replay-v2", "did you mean 'd4rl:hopper-full-replay-v2'"),
        ("hopper_full_replay-v2.hdf5", "did you mean 'd4rl:hopper-full-replay-v2'"),  # the file's name
        ("D4RL:HALFCHEETAH-RANDOM-V2", "did you mean 'd4rl:halfcheetah-random-v2'"),
        ("d4rl:pendulum-medium-v2", "accepted"),
        ("none:hopper", "without a dataset"),
        ("local:", "names no file"),
        ("local:hopper:", "names no file"),
        ("local", "unknown dataset id"),
        ("", "accepted"),
    ],
)
def test_bad_ids(text: str, fragment: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(text)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_local_files(tmp_path: Path) -> None:
    path = tmp_path / "set.hdf5"
    write_dataset(path, hopper_set(None))
    assert load_dataset(f"local:hopper:{path}").env == "hopper"
    with pytest.raises(UserError, match="local:hopper:"):
        load_dataset(f"local:{path}")
    write_dataset(path, hopper_set("hopper"))
    assert load_dataset(f"local:{path}").env == "hopper"
    with pytest.raises(UserError, match="self: ids only"):
        load_dataset(f"local:{path}", transitions=3)
    with pytest.raises(UserError, match=r"~nobody-of-this-name/set\.hdf5: no such file"):
        load_dataset("local:~nobody-of-this-name/set.hdf5")


def test_scores() -> None:
    assert normalized_score("hopper", -20.272305) == 0.0
    assert normalized_score("hopper", 3234.3) == pytest.approx(100.0)
    assert normalized_score("walker2d", 2852.0) == pytest.approx(62.1, abs=0.05)  # D4RL's walker2d-medium-v2
    assert normalized_std("halfcheetah", 356.0) == pytest.approx(2.87, abs=0.01)
    assert normalized_std("hopper", 0.0) == 0.0
    with pytest.raises(UserError, match="did you mean 'hopper'"):
        normalized_score("hoper", 1.0)


def test_facts_load_no_torch() -> None:
    """Breaks if reading tables of results loads what trains."""
    modules = ("envs.spec", "data.scores", "data.ids", "data.behaviours", "data.d4rl", "data.mismatch", "data.hdf5")
    program = "".join(f"import moore.{module}\n" for module in modules)
    program += "moore.data.behaviours.load_behaviours('hopper'); import sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("env", ["pendulum", "inverted_double_pendulum"])
def test_random_reference_is_the_return_of_uniform_actions(env: str) -> None:
    n = 400
    sims = make_env(env, range(5000, 5000 + n), "gymnasium")
    sims.reset()
    rng = np.random.default_rng(1)
    returns, alive = np.zeros(n), np.arange(n)
    while len(alive):
        action = rng.uniform(-1, 1, (len(alive), 1)).astype(np.float32)
        _, reward, terminated, truncated = sims.step(action, alive)
        returns[alive] += reward
        alive = alive[~(terminated | truncated)]
    standard_error = returns.std(ddof=1) / np.sqrt(n)
    random, _ = ENVIRONMENTS[env].reference_scores or (np.nan, np.nan)
    assert abs(returns.mean() - random) < 5 * standard_error


PROVENANCE: dict[str, Any] = {
    "command": "train hopper",
    "config": {"width": 8},
    "git_commit": "abc",
    "packages": {"torch": "2"},
    "wall_seconds": 1.0,
    "curve": [[10, 1.0, 0.5], [20, 2.0, 1.0]],
    "physics": "d4rl",
    "medium": 1,
}


def hopper_params(count: int) -> np.ndarray:
    size = actor_network(ENVIRONMENTS["hopper"], (8,)).num_params
    return np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)


def test_behaviours_round_trip(tmp_path: Path) -> None:
    params = hopper_params(2)
    save_behaviours("hopper", params, (8,), [10, 20], [1.0, 2.0], [0.5, 1.0], PROVENANCE, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"hopper.npz", "hopper.json"}
    loaded = load_behaviours("hopper", tmp_path)
    np.testing.assert_array_equal(loaded.params, params)
    assert loaded.hidden == (8,)
    assert loaded.env_steps.tolist() == [10, 20]
    assert loaded.scores.tolist() == [0.5, 1.0]
    assert (loaded.medium, loaded.physics) == (1, "d4rl")

    save_behaviours("hopper", params, (8,), [10, 20], [1.0, 2.0], [0.5, 1.0], PROVENANCE, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    save_behaviours("hopper", params + 1, (8,), [10, 20], [1.0, 2.0], [0.5, 1.0], PROVENANCE, tmp_path)
    assert load_behaviours("hopper", tmp_path).sha256 != loaded.sha256


def test_missing_behaviours_say_which_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="existing: none"):
        load_behaviours("hopper", tmp_path)
    save_behaviours("hopper", hopper_params(2), (8,), [10, 20], [1.0, 2.0], [0.5, 1.0], PROVENANCE, tmp_path)
    with pytest.raises(UserError, match=r"no behaviour policies for walker2d.*existing: hopper"):
        load_behaviours("walker2d", tmp_path)


def test_damaged_behaviours(tmp_path: Path) -> None:
    save_behaviours("hopper", hopper_params(2), (8,), [10, 20], [1.0, 2.0], [0.5, 1.0], PROVENANCE, tmp_path)
    archive = tmp_path / "hopper.npz"
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        load_behaviours("hopper", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": hopper_params(3)}, "params has shape"),
        ({"params": np.full_like(hopper_params(2), np.nan)}, "NaN"),
        ({"env_steps": [20, 10]}, "must increase"),
        ({"scores": [1.0]}, "scores must have shape"),
        ({"provenance": PROVENANCE | {"medium": 2}}, "medium is 2"),
        ({"provenance": {k: v for k, v in PROVENANCE.items() if k != "curve"}}, "lacks curve"),
    ],
)
def test_behaviours_that_do_not_fit_are_not_written(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "params": hopper_params(2),
        "hidden": (8,),
        "env_steps": [10, 20],
        "returns": [1.0, 2.0],
        "scores": [0.5, 1.0],
        "provenance": PROVENANCE,
    }
    with pytest.raises(ValueError, match=message):
        save_behaviours("hopper", **(arguments | change), directory=tmp_path)
    assert not list(tmp_path.iterdir())
