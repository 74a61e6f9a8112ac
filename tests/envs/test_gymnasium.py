"""`physics="gymnasium"` is Gymnasium, to the last bit, and so is `env: gymnasium:<Id>`."""

from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch

from moore.envs.env_spec import EnvSpec
from moore.envs.gymnasium_rules import TERMINATED
from moore.envs.physics import ASSETS, build_model
from moore.envs.spec import ENVIRONMENTS, find_spec
from moore.envs.vector_env import make_env

# Ant and Swimmer: MuJoCo, what they read lags behind their state; Pendulum: actions up to 2, its own fields
IDS = (*TERMINATED, "MountainCarContinuous-v0", "Pendulum-v1")
FALL = ("inverted_double_pendulum", "hopper", "walker2d", "gymnasium:Ant-v5", "gymnasium:InvertedPendulum-v5")
SPECS = [spec for spec in ENVIRONMENTS.values() if "gymnasium" in spec.physics]
all_of_gymnasium = pytest.mark.parametrize("spec", SPECS, ids=[spec.name for spec in SPECS])


@pytest.fixture(autouse=True)
def _scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Gymnasium's own half_cheetah.xml makes MuJoCo write a log file


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*(spec.name for spec in SPECS), *(f"gymnasium:{gym_id}" for gym_id in IDS)])
def test_steps_and_resets_equal_gymnasium(name: str, dtype: type[np.floating]) -> None:
    """Breaks if a bit differs, or what a model imagines ends elsewhere than the environment does."""
    seeds, spec = [3, 11], find_spec(name)
    env = make_env(name, seeds, "gymnasium")
    references = [gym.make(spec.gym_id) for _ in seeds]
    rng = np.random.default_rng(0)

    obs = env.reset()
    assert obs.dtype == np.float64
    np.testing.assert_array_equal(obs, [ref.reset(seed=seed)[0] for ref, seed in zip(references, seeds, strict=True)])
    ended = np.zeros(2, dtype=int)
    for _ in range(1005):
        # beyond [-1, 1] too: Gymnasium's clipping rules are part of the contract
        action = rng.uniform(-1.3, 1.3, size=(2, spec.action_dim)).astype(dtype)
        obs, reward, terminated, truncated = env.step(action)
        for i, ref in enumerate(references):
            ref_obs, ref_reward, ref_terminated, ref_truncated, _ = ref.step(action[i] * spec.action_high)
            np.testing.assert_array_equal(obs[i], ref_obs)
            assert reward[i] == ref_reward
            assert terminated[i] == ref_terminated
            assert truncated[i] == ref_truncated
        if spec.terminated is not None:
            np.testing.assert_array_equal(spec.terminated(torch.from_numpy(obs)), terminated)
        ended += [terminated.sum(), truncated.sum()]
        over = np.flatnonzero(terminated | truncated)
        if over.size:
            np.testing.assert_array_equal(env.reset(over), [references[i].reset()[0] for i in over])
    assert ended.sum() >= 2, "no episode ended, so the resets were not compared"
    assert (ended[1] > 0) == (name not in FALL)


@all_of_gymnasium
def test_reset_with_seeds_restarts_the_streams(spec: EnvSpec) -> None:
    env = make_env(spec.name, [0, 1, 2], "gymnasium")
    env.reset()
    obs = env.reset(np.array([0, 2]), seeds=[5, 6])
    reference = gym.make(spec.gym_id)
    np.testing.assert_array_equal(obs, [reference.reset(seed=seed)[0] for seed in (5, 6)])


@all_of_gymnasium
def test_spec_matches_gymnasium(spec: EnvSpec) -> None:
    reference = gym.make(spec.gym_id)
    assert isinstance(reference.action_space, gym.spaces.Box)
    assert reference.observation_space.shape == (spec.obs_dim,)
    assert reference.action_space.shape == (spec.action_dim,)
    assert np.all(reference.action_space.high == spec.action_high)
    assert reference.spec.max_episode_steps == spec.max_episode_steps


@pytest.mark.parametrize("xml", ["half_cheetah.xml", "hopper.xml", "walker2d_v5.xml", "inverted_double_pendulum.xml"])
def test_model_equals_the_one_gymnasium_compiles(xml: str) -> None:
    """Every number of it, solver statistics included: a difference there would only show in rare steps."""
    ours, reference = build_model(xml, legacy=False), mujoco.MjModel.from_xml_path(str(ASSETS / xml))
    compared = 0
    for ours_part, reference_part in [(ours, reference), (ours.opt, reference.opt), (ours.stat, reference.stat)]:
        for field in dir(reference_part):
            value = getattr(reference_part, field)
            if not field.startswith("_") and isinstance(value, (int, float, np.ndarray)):
                np.testing.assert_array_equal(getattr(ours_part, field), value, err_msg=field)
                compared += 1
    assert compared > 300
