"""`env: gymnasium:<Id>`, which goes on from checkpoints, and `env: module:name`, a user's own EnvSpec."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.data.hdf5 import Dataset, read_dataset, write_dataset
from moore.data.ids import resolve
from moore.data.scores import normalized_score
from moore.envs.spec import ENVIRONMENTS, find_spec, gymnasium_spec, terminated_fn
from moore.envs.vector_env import VectorEnv, make_env
from tests.envs.test_gymnasium import IDS
from tests.envs.test_vector import ALL_PHYSICS

OWN = """
from moore.envs.spec import gymnasium_spec

def fell(next_obs):
    return next_obs[..., 0] < 0.45

import gymnasium as gym
import numpy as np

class Noisy(gym.Env):
    observation_space = gym.spaces.Box(-9.0, 9.0, (2,), np.float32)
    action_space = gym.spaces.Box(np.array([0.0, -1.0], np.float32), np.array([4.0, 1.0], np.float32))

    def __init__(self, unsaveable=False):
        self.position = np.zeros(2)
        if unsaveable:
            self.handle = (x for x in ())

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.normal(size=2)
        return self.position.astype(np.float32), {}

    def step(self, action):
        self.position = self.position + 0.1 * action + 0.01 * self.np_random.normal(size=2)
        return self.position.astype(np.float32), float(action[0]), False, bool(self.position[0] > 3), {}

gym.register("Noisy-v0", Noisy, max_episode_steps=30)
gym.register("Unsaveable-v0", lambda: Noisy(True), max_episode_steps=30)
gym.register("Endless-v0", Noisy)
sloped = gymnasium_spec("MountainCarContinuous-v0", terminated=fell, reference_scores=(-50, 90))
noisy = gymnasium_spec("Noisy-v0")
number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a user's module in the working directory."""
    module = "own_environments"
    (tmp_path / f"{module}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield module
    sys.modules.pop(module, None)
    for name in ("Noisy-v0", "Unsaveable-v0", "Endless-v0"):
        gym.registry.pop(name, None)


def play(env: VectorEnv, steps: range) -> list[np.ndarray]:
    """Steps of random actions; episodes that end are begun anew."""
    seen = []
    for t in steps:
        action = np.random.default_rng(t).uniform(-1, 1, (env.num_envs, env.spec.action_dim)).astype(np.float32)
        obs, reward, terminated, truncated = env.step(action)
        over = np.flatnonzero(terminated | truncated)
        seen += [obs, reward, terminated, truncated]
        if len(over):
            seen.append(env.reset(over))
    return seen


OTHERS = [*(f"gymnasium:{gym_id}" for gym_id in IDS), "{own}:sloped", "{own}:noisy"]


@pytest.mark.parametrize(("name", "physics"), [*ALL_PHYSICS, *((name, "gymnasium") for name in OTHERS)])
def test_goes_on_from_a_checkpoint_in_mid_episode(name: str, physics: str, own: str) -> None:
    name = name.format(own=own)
    env = make_env(name, [1, 2], physics)
    env.reset()
    play(env, range(17))
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    expected = play(env, range(100, 1120))
    resumed = make_env(name, [8, 9], physics)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    got = play(resumed, range(100, 1120))
    assert len(got) == len(expected) > 4 * 1020  # an episode ended and another began
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if name in ENVIRONMENTS:  # Pendulum observes in lower precision than it moves
        np.testing.assert_array_equal([resumed.qpos, resumed.qvel], [env.qpos, env.qvel])


def test_a_checkpoint_before_the_first_reset_keeps_the_seeds() -> None:
    env, other = (make_env("gymnasium:Pendulum-v1", seeds, "gymnasium") for seeds in ([5, 6], [7, 8]))
    other.load_state_dict(env.state_dict())
    np.testing.assert_array_equal(other.reset(), env.reset())
    assert not np.array_equal(env.reset(seeds=[5, 7])[1], other.reset(seeds=[5, 6])[1])


def test_a_subset_leaves_the_others_untouched() -> None:
    env, same = (make_env("gymnasium:Pendulum-v1", [1, 2], "gymnasium") for _ in range(2))
    env.reset(), same.reset()
    env.step(np.ones((1, 1)), np.array([1]))
    np.testing.assert_array_equal(env.step(np.ones((1, 1)), np.array([0]))[0], same.step(np.ones((2, 1)))[0][:1])


def test_actions_reach_the_corners_of_the_box(own: str) -> None:
    """Breaks if a Box that is not symmetric is not filled: the reward is the first action, in [0, 4]."""
    env = make_env(f"{own}:noisy", [0], "gymnasium")
    env.reset()
    assert [env.step(np.array([[a, 0.0]]))[1][0] for a in (-1.0, 0.0, 1.0)] == [0.0, 2.0, 4.0]
    env.reset()
    assert any(env.step(np.array([[1.0, 0.0]]))[3][0] for _ in range(10))  # truncated by the environment itself


def test_what_cannot_be_saved_says_so(own: str) -> None:
    env = make_env(f"gymnasium:{own}:Unsaveable-v0", [0], "gymnasium")
    env.reset()
    with pytest.raises(UserError, match=r"Unsaveable-v0 cannot be checkpointed \(.*generator"):
        env.state_dict()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gymnasium:Swimer-v5", "Swimer"),
        ("gymnasium:CartPole-v1", r"its actions are Discrete\(2\); accepted: .*Box"),
        ("gymnasium:{own}:Endless-v0", "it has no max_episode_steps"),
        ("{own}:number", "is of type int; accepted: an EnvSpec"),
        ("{own}:missing", "cannot be imported"),
    ],
)
def test_what_is_no_environment_says_so(name: str, message: str, own: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        find_spec(name.format(own=own))
    assert "\n" not in str(error.value)


def test_facts_of_a_users_environment(own: str) -> None:
    spec, plain = find_spec(f"{own}:sloped"), find_spec("gymnasium:MountainCarContinuous-v0")
    assert (spec.name, spec.label) == (f"{own}:sloped", f"{own}_sloped")
    assert plain.label == "gymnasium_MountainCarContinuous_v0"
    assert all(ours.label == name for name, ours in ENVIRONMENTS.items())
    assert (spec.obs_dim, spec.action_dim, spec.action_high, spec.max_episode_steps) == (2, 1, 1.0, 999)
    assert normalized_score(spec.name, 20.0) == 50.0
    assert normalized_score(plain.name, 20.0) == 20.0  # no references: the return
    assert terminated_fn(spec.name)(torch.tensor([[0.4, 0.0], [0.5, 0.0]])).tolist() == [True, False]
    assert gymnasium_spec("Pendulum-v1").action_high == 2.0


def test_the_example_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(__file__).parents[2] / "moore" / "envs" / "README.md"
    (tmp_path / "slope.py").write_text(readme.read_text().split("```python\n")[1].split("```")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    RunConfig("slope:slope", dataset=None)
    assert make_env("slope:slope", [0], "gymnasium").reset().shape == (1, 2)
    assert normalized_score("slope:slope", 30.0) == 50.0
    sys.modules.pop("slope")


def test_a_model_needs_a_termination_function(own: str) -> None:
    RunConfig(f"{own}:sloped", dataset=None)
    for algorithm in ("iql", "cql"):
        RunConfig("gymnasium:MountainCarContinuous-v0", dataset=None, algorithm=algorithm)
    with pytest.raises(UserError, match=r"MountainCarContinuous-v0 has no termination function.*`terminated`"):
        RunConfig("gymnasium:MountainCarContinuous-v0", dataset=None)


@pytest.mark.parametrize("env", ["gymnasium:Swimmer-v5", "{own}:sloped"])
def test_files_of_such_an_environment_are_read(env: str, own: str, tmp_path: Path) -> None:
    spec = find_spec(env.format(own=own))
    rng, path = np.random.default_rng(0), tmp_path / "some.hdf5"
    data = Dataset(
        env=spec.name,
        obs=rng.normal(size=(5, spec.obs_dim)).astype(np.float32),
        action=rng.uniform(-1, 1, (5, spec.action_dim)).astype(np.float32),
        reward=np.ones(5, np.float32),
        terminated=np.zeros(5, bool),
        truncated=np.zeros(5, bool),
        metadata={"env": spec.name},
    )
    write_dataset(path, data)
    dataset_id = resolve(f"local:{spec.name}:{path}")
    assert (dataset_id.env, dataset_id.path) == (spec.name, path)
    assert len(read_dataset(path, spec.name)) == 5
    if spec.name.startswith("gymnasium:"):
        assert read_dataset(path).env == spec.name
    else:  # a file does not choose what is imported
        with pytest.raises(UserError, match="'metadata/env' is 'own_environments:sloped'; accepted: pendulum"):
            read_dataset(path)
